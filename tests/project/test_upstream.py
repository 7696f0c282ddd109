"""What this project works around in Twisted is still there, and is told truly."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.process import ROOT
from tests.support.waiting import LIMIT

UPSTREAM = ROOT / "docs" / "upstream"
SCRIPTS = sorted(UPSTREAM.glob("[!_]*.py"))
#: What a ticket's reader will read through: lines without the docstring and the imports.
LONGEST = 20
#: At once: each runs for 0.1 to 0.7 s, partly waiting.
WORKERS = 4

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


def rows() -> list[list[str]]:
    """The cells of the README's tables: script, what happens, …, where it is avoided."""
    lines = (UPSTREAM / "README.md").read_text().splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("| [")]
    return [[cell.strip() for cell in row] for row in cells]


def row_of(script: Path) -> list[str]:
    (row,) = [row for row in rows() if row[0] == f"[{script.name}]({script.name})"]
    return row


def run(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[Path, Future[subprocess.CompletedProcess[str]]]]:
    """All scripts, started together."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield {script: pool.submit(run, script) for script in SCRIPTS}
        pool.shutdown(cancel_futures=True)


def judge(done: subprocess.CompletedProcess[str], workaround: str) -> None:
    """Fail unless the one line that a script has printed says that the defect is there."""
    said = done.stdout
    if done.returncode or not re.fullmatch(r"(defect|mended): .+\n", said):
        pytest.fail(f"the script failed, status {done.returncode}:\n{said}{done.stderr}")
    if said.startswith("mended:"):
        pytest.fail(f"upstream has mended this: remove the workaround in {workaround}\n{said}")


@pytest.mark.slow
@each_script
def test_the_defect_is_still_there(
    script: Path, runs: dict[Path, Future[subprocess.CompletedProcess[str]]]
) -> None:
    judge(runs[script].result(), row_of(script)[-1])


@pytest.mark.parametrize(
    ("status", "said", "complaint"),
    [
        (0, "mended: 5 of 5\n", r"remove the workaround in echosvc/x.py\s+mended: 5 of 5"),
        (1, "", "the script failed, status 1:\nTraceback"),
        (-14, "defect: 0 of 5\n", "the script failed, status -14"),
        (0, "", "the script failed"),
        (0, "defect: 0 of 5\ndefect: 0 of 5\n", "the script failed"),
    ],
)
def test_a_script_that_does_not_show_the_defect_is_told(
    status: int, said: str, complaint: str
) -> None:
    done = subprocess.CompletedProcess([], status, said, "Traceback")
    with pytest.raises(pytest.fail.Exception, match=complaint):
        judge(done, "echosvc/x.py")


def test_the_table_has_every_script_once() -> None:
    named = [row[0] for row in rows()]
    assert sorted(named) == [f"[{script.name}]({script.name})" for script in SCRIPTS]


@each_script
def test_the_table_says_everything_and_names_modules_that_exist(script: Path) -> None:
    _, happens, should, ticket, where = row_of(script)
    assert happens
    assert should
    assert re.search(r"\b\d{4,5}\b|no ticket known", ticket), ticket
    rooms = re.findall(r"`(echosvc/[\w/]+\.py)`", where)
    assert rooms or where == "not used"
    for room in rooms:
        assert (ROOT / room).is_file(), room


@each_script
def test_a_script_is_short_and_needs_twisted_alone(script: Path) -> None:
    source = script.read_text()
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports for alias in node.names if isinstance(node, ast.Import)}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {
        *sys.stdlib_module_names, "twisted", "zope", "_certificate",
    }  # fmt: skip
    assert ast.get_docstring(tree)
    code = [line for line in source.splitlines()[imports[-1].end_lineno :] if line.strip()]
    assert len(code) <= LONGEST


@each_script
def test_a_script_that_may_wait_is_bounded(script: Path) -> None:
    source = script.read_text()
    assert "reactor.run()" not in source or "\nsignal.alarm(10)\n" in source
