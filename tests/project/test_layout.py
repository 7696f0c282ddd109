"""How the code is laid out: no file or function is too long, and no test imports another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.packages import nodes_of
from tests.support.process import ROOT

#: Lines that a file has at most.
LONGEST = 450
#: Lines that the body of a function has at most, its docstring not counted.
LONGEST_BODY = 24
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PACKAGE = sorted((ROOT / "echosvc").rglob("*.py"))
OTHERS = sorted((ROOT / "benchmarks").rglob("*.py"))


def is_test_file(name: str) -> bool:
    """Return whether a module's last part names a file that pytest collects, or a conftest."""
    last = name.rpartition(".")[2]
    return last.startswith("test_") or last == "conftest"


def imported(source: str) -> Iterator[str]:
    """Every module that a source may import: ``from a import b`` may mean ``a`` or ``a.b``."""
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}.{each.name}" for each in node.names)


def of_tests(source: str) -> list[str]:
    return [
        name for name in imported(source) if name.startswith(("tests", ".")) and is_test_file(name)
    ]


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from the first statement behind the docstring to the last one."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def long_functions(source: str) -> list[str]:
    """Return the functions of a source that are too long, and by how many lines each."""
    return [
        f"{node.name}: {body_length(node)} lines"
        for node in nodes_of(source)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and body_length(node) > LONGEST_BODY
    ]


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n")
        for path in [*PACKAGE, *OTHERS, *TESTS]
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_no_function_is_too_long() -> None:
    """But for tests: what one of them tells may be long."""
    found = [
        f"{path.relative_to(ROOT)}: {each}"
        for path in [*PACKAGE, *OTHERS, *TESTS]
        for each in long_functions(path.read_text("utf-8"))
        if not each.startswith("test_")
    ]
    assert found == []


@pytest.mark.parametrize("lines", [LONGEST_BODY, LONGEST_BODY + 1])
def test_a_docstring_does_not_count_and_one_line_too_many_does(lines: int) -> None:
    body = "    x = (\n" + "        1 +\n" * (lines - 3) + "        1\n    )\n"
    source = f'async def f():\n    """Two\n    lines.\n    """\n{body}'
    assert bool(long_functions(source)) == (lines > LONGEST_BODY)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_imports_a_test_file(path: Path) -> None:
    assert of_tests(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from tests.unit.wire.test_framing import x",
        "from tests.unit.wire import test_framing",
        "import tests.unit.conftest",
        "def f():\n    from .test_framing import x",
    ],
)
def test_an_import_of_a_test_file_is_seen(source: str) -> None:
    assert of_tests(source)
