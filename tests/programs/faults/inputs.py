"""Any input: the parsers of what peers and users send, under hypothesis."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from tests.programs.faults.registry import Finding, fault
from tests.support.process import ROOT, environment

_FILES = (
    "wire/test_proxy_header",
    "wire/test_framing",
    "wire/test_utf8_decoder",
    "wire/test_template",
    "wire/test_reply_matching",
    "tls/test_records",
)
_SHORT, _LONG = 100, 20_000
#: How long the long form goes on, seconds.
_SECONDS = 600.0


@fault(
    "any bytes in PROXY headers, frames, lines, UTF-8, prefix templates, TLS records",
    "a message or an error in words, never a crash; nothing held beyond the limit",
)
def any_input(long: bool) -> Finding:
    began, rounds = time.monotonic(), 0
    examples = _LONG if long else _SHORT
    while not rounds or (long and time.monotonic() < began + _SECONDS):
        _try(examples)
        rounds += 1
    tried = f"{rounds} rounds of {examples:,} inputs for each of the tests in {len(_FILES)} files"
    return Finding(tried, 0)


def _try(examples: int) -> None:
    """One round, in a process of its own, with inputs that no round before had."""
    files = [f"tests/unit/{name}.py" for name in _FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    with tempfile.TemporaryDirectory() as directory:
        more = {"ECHOSVC_EXAMPLES": str(examples), "HYPOTHESIS_STORAGE_DIRECTORY": directory}
        environ = {**environment(), **more}
        done = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=3600
        )
    assert done.returncode == 0, done.stdout[-2000:]
