"""What holds on real sockets holds for other reactors too."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.process import ROOT, environment

#: Seconds; it takes well under two minutes.
BOUND = 400

FILES = (
    "server/test_server.py",
    "client/test_client.py",
    "tls/test_server.py",
    "server/test_limits.py",
)


@pytest.mark.slow
@pytest.mark.parametrize("reactor", ["asyncio", "lean"])
def test_another_reactor_keeps_every_promise(reactor: str) -> None:
    """Those of the sockets in this process; ``.ci/run`` tries the other files, too."""
    plugin = ["-p", "tests.support.lean"] if reactor == "lean" else []
    command = [sys.executable, "-m", "pytest", *plugin, f"--reactor={reactor}", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *(f"tests/integration/{name}" for name in FILES)],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        timeout=BOUND,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 200, done.stdout
