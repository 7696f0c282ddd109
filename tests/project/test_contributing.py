"""CONTRIBUTING.md shows how a probe is added: what it shows is a probe."""

from __future__ import annotations

import re
import socketserver
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import ROOT, environment, running
from tests.support.sockets import reset
from tests.support.waiting import LIMIT

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


def echosvc(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _ECHOSVC, str(directory), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment())


class _ResetAtFin(socketserver.BaseRequestHandler):
    """Echoes, and answers FIN by a reset."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)
        reset(self.request)


@contextmanager
def resetting_server() -> Iterator[int]:
    """An echo server that answers FIN by a reset; its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _ResetAtFin) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A directory with the module that is shown."""
    (tmp_path / "empty.py").write_text(shown_probe())
    return tmp_path


def test_the_probe_that_is_shown_passes_where_the_server_answers_fin_by_fin(shown: Path) -> None:
    with running() as server:
        done = echosvc(shown, "check", f"tcp:127.0.0.1:{server.port}", "--only", "empty")
    assert re.search(r"^PASS  empty +FIN was answered by FIN", done.stdout, re.MULTILINE), done
    assert done.returncode == 0


def test_the_probe_that_is_shown_fails_where_the_server_answers_fin_by_a_reset(shown: Path) -> None:
    with resetting_server() as port:
        done = echosvc(shown, "check", f"tcp:127.0.0.1:{port}", "--only", "empty")
    assert re.search(r"^FAIL  empty .* ended as reset", done.stdout, re.MULTILINE), done
    assert done.returncode == 1


def test_the_probe_that_is_shown_is_listed_by_its_module_alone(shown: Path) -> None:
    listed = echosvc(shown, "check", "--help").stdout
    assert re.search(r"^  empty +a connection that sends nothing but FIN gets FIN$", listed, re.M)
