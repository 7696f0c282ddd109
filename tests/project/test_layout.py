"""How the tests are laid out: what several use is in ``tests/support``, and no file is too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ROOT

#: Lines that a file has at most.
LONGEST = 450
FILES = sorted((ROOT / "tests").rglob("*.py"))


def is_test_file(name: str) -> bool:
    """Whether a module's last part names a file that pytest collects, or a conftest."""
    last = name.rpartition(".")[2]
    return last.startswith("test_") or last == "conftest"


def imported(source: str) -> Iterator[str]:
    """Every module that a source may import: ``from a import b`` may mean ``a`` or ``a.b``."""
    for node in ast.walk(ast.parse(source)):
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_imports_a_test_file_or_is_too_long(path: Path) -> None:
    source = path.read_text("utf-8")
    assert of_tests(source) == []
    assert source.count("\n") <= LONGEST


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
