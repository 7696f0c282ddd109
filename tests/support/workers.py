"""What the processes of a parallel run do first, so that they do nothing twice."""

from __future__ import annotations

import compileall
import gc
import importlib
import importlib.metadata
import multiprocessing
import os
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import text

from tests.support.process import ROOT

#: The modules that pytest compiles, which Python need not.
_TEST = re.compile(r"/test_\w+\.py$")


def prepare_controller(config: pytest.Config) -> None:
    """Compile what each worker imports. Stop measuring the process that only hands out tests."""
    measuring = "coverage" in sys.modules and sys.modules["coverage"].Coverage.current()
    if measuring:
        measuring.stop()
    for name in ("echosvc", "tests", "benchmarks"):
        compileall.compile_dir(ROOT / name, quiet=1, rx=_TEST)
    if config.args == config.getini("testpaths"):
        compile_tests()


def compile_tests() -> None:
    """Import the test modules that are not compiled, in as many processes as processors.

    Pytest rewrites and compiles a test module when it is first imported. All workers begin with
    the same module, so that each would compile them all, and so it is with what hypothesis keeps.
    """
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if not is_compiled(path)]
    count = os.cpu_count() or 1
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=import_all, args=(paths[at::count],)) for at in range(count)]
    for process in processes if paths else ():
        process.start()
    for process in processes if paths else ():
        process.join()


def is_compiled(path: Path) -> bool:
    """Return whether pytest has compiled a test module since it was last changed."""
    found = (path.parent / "__pycache__").glob(f"{path.stem}.*-pytest-{pytest.__version__}.pyc")
    return any(each.stat().st_mtime >= path.stat().st_mtime for each in found)


def import_all(paths: list[Path]) -> None:
    """Import modules. What is wrong with one, or why it is skipped, says the collection."""
    for path in paths:
        with suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    draw_text()


@settings(max_examples=1, database=None)
@given(text())
def draw_text(_: str) -> None:
    """Let hypothesis write what it keeps: all characters, and the constants of these modules."""


def prepare_process() -> None:
    """Read the version of Twisted once: pytest asks for it before each test."""
    importlib.metadata.version = cache(importlib.metadata.version)


def keep_collected() -> None:
    """Exempt all objects so far from garbage collection.

    What pytest collected stays until the process ends. Each full collection would look at it again:
    that takes a third of the time of the tests in memory.
    """
    gc.freeze()
