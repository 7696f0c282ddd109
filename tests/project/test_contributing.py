"""CONTRIBUTING.md shows how a probe and a cause are added: what it shows is one."""

from __future__ import annotations

import ast
import re
import select
import socketserver
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.packages import is_allowed, named_modules
from tests.support.process import ROOT, environment, running
from tests.support.sockets import reset
from tests.support.waiting import LIMIT

#: ``echosvc`` with a directory more in which modules of probes are looked for.
_ECHOSVC = """\
import sys
from importlib import import_module
import_module(f"echosvc.probe.{sys.argv.pop(1)}").__path__.append(sys.argv.pop(1))
from echosvc.__main__ import main
sys.exit(main())
"""


def shown_code(decorator: str) -> str:
    """The example that has a decorator."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    blocks = re.findall(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if f"@{decorator}(" in block]
    return textwrap.dedent(block)


def echosvc(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run echosvc with the modules of a directory, whose name is that of their package."""
    command = [sys.executable, "-c", _ECHOSVC, directory.name, str(directory), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment())


class _ResetAtFin(socketserver.BaseRequestHandler):
    """Echoes, and answers FIN by a reset."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)
        reset(self.request)


class _SlowStart(socketserver.BaseRequestHandler):
    """Echoes on connections that send nothing in their first second, and never on others."""

    def handle(self) -> None:
        at_once, _, _ = select.select([self.request], [], [], 1.0)
        while data := self.request.recv(65536):
            if not at_once:
                self.request.sendall(data)


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """A server; its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A directory with the module of the probe that is shown."""
    directory = tmp_path / "checks"
    directory.mkdir()
    (directory / "empty.py").write_text(shown_code("probe"))
    return directory


def test_the_probe_that_is_shown_passes_where_the_server_answers_fin_by_fin(shown: Path) -> None:
    with running() as server:
        done = echosvc(shown, "check", f"tcp:127.0.0.1:{server.port}", "--only", "empty")
    assert re.search(r"^PASS  empty +FIN was answered by FIN", done.stdout, re.MULTILINE), done
    assert done.returncode == 0


def test_the_probe_that_is_shown_fails_where_the_server_answers_fin_by_a_reset(shown: Path) -> None:
    with serving(_ResetAtFin) as port:
        done = echosvc(shown, "check", f"tcp:127.0.0.1:{port}", "--only", "empty")
    assert re.search(r"^FAIL  empty .* ended as reset", done.stdout, re.MULTILINE), done
    assert done.returncode == 1


def test_the_probe_that_is_shown_is_listed_by_its_module_alone(shown: Path) -> None:
    listed = echosvc(shown, "check", "--help").stdout
    assert re.search(r"^  empty +a connection that sends nothing but FIN gets FIN$", listed, re.M)


@pytest.mark.slow
def test_the_cause_that_is_shown_is_found_and_reported_once(tmp_path: Path) -> None:
    directory = tmp_path / "causes"
    directory.mkdir()
    (directory / "slow_start.py").write_text(shown_code("cause"))
    with serving(_SlowStart) as port:
        done = echosvc(
            directory, "check", f"tcp:127.0.0.1:{port}", "--timeout", "2", "--only", "echo,order"
        )
    found = re.findall(r"^FAIL  (\S+)", done.stdout, re.MULTILINE)
    assert found == ["slow-start"], done
    assert done.stdout.count("see slow-start") >= 2, done
    assert done.returncode == 1


@pytest.mark.parametrize("decorator", ["probe", "cause"])
def test_what_is_shown_imports_only_what_the_table_of_imports_allows(decorator: str) -> None:
    named = [*named_modules(shown_code(decorator))]
    assert len(named) >= 3
    assert [target for target in named if not is_allowed("probe", target)] == []


def test_the_checks_of_style_and_types_are_the_same_everywhere() -> None:
    """In CONTRIBUTING.md, in CI, before a commit, and in the environments of nox."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (row,) = re.findall(r"^\| check style and types \| `(.*)` \|$", text, re.MULTILINE)
    checks = [each.removeprefix(".venv/bin/") for each in row.split(" && ")]
    assert len(checks) == 4
    ci = [line.strip() for line in (ROOT / ".ci/run").read_text("utf-8").splitlines()]
    assert [each for each in checks if f".venv/bin/{each}" not in ci] == []
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    entries = [each.split() for each in re.findall(r"entry: \.venv/bin/(.*)", hooks)]
    before = [set(each) - {"--force-exclude"} for each in entries]
    assert [each for each in checks if set(each.split()) - {"."} not in before] == []
    nox = (ROOT / "noxfile.py").read_text("utf-8")
    calls = [ast.literal_eval(f"({each},)") for each in re.findall(r"run\((\".*\")\)", nox)]
    assert [each for each in checks if tuple(each.split()) not in calls] == []
