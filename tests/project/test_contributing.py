"""CONTRIBUTING.md shows how a probe is added: what it shows is a probe."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.process import ROOT, environment, running
from tests.support.waiting import LIMIT

_IMPORTS = """\
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Finding
from echosvc.probe.engine.path import Path

"""
#: ``echosvc`` with a directory more in which modules of probes are looked for.
_ECHOSVC = """\
import sys
from echosvc.probe import checks
checks.__path__.append(sys.argv.pop(1))
from echosvc.__main__ import main
sys.exit(main())
"""


def shown_probe() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (block,) = re.findall(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return textwrap.dedent(block)


def echosvc(directory: Path, *words: str) -> str:
    command = [sys.executable, "-c", _ECHOSVC, str(directory), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, env=environment(), check=True
    )
    return done.stdout


def test_the_probe_that_is_shown_is_run_and_listed_by_its_module_alone(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text(_IMPORTS + shown_probe())
    with running() as server:
        to = f"tcp:127.0.0.1:{server.port}"
        printed = echosvc(tmp_path, "check", to, "--only", "empty")
    assert re.search(r"^PASS  empty +FIN was answered by FIN", printed, re.MULTILINE), printed
    listed = echosvc(tmp_path, "check", "--help")
    assert re.search(r"^  empty +a connection that sends nothing but FIN gets FIN$", listed, re.M)
