"""What the processes of a parallel run do first, so that they do nothing twice."""

from __future__ import annotations

import compileall
import gc
import importlib
import importlib.metadata
import sys
from contextlib import suppress
from functools import cache

import pytest

from tests.support.process import ROOT


def prepare_controller() -> None:
    """Compile what each worker imports. Stop measuring the process that only hands out tests."""
    for name in ("echosvc", "tests/support", "benchmarks"):
        compileall.compile_dir(ROOT / name, quiet=1)
    measuring = "coverage" in sys.modules and sys.modules["coverage"].Coverage.current()
    if measuring:
        measuring.stop()


def prepare_worker(config: pytest.Config) -> None:
    """Import a share of the test modules, if all are to be collected.

    Pytest rewrites and compiles a test module when it is first imported. If all workers began with
    the same module, each would compile them all.
    """
    tests = config.getini("testpaths")
    if config.args != tests:
        return
    number = int(config.workerinput["workerid"].removeprefix("gw"))
    paths = sorted(path for each in tests for path in (ROOT / each).rglob("test_*.py"))
    for path in paths[number :: config.workerinput["workercount"]]:
        # What is wrong, or why it is skipped, says the collection.
        with suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def prepare_process() -> None:
    """Read the version of Twisted once: pytest asks for it before each test."""
    importlib.metadata.version = cache(importlib.metadata.version)


def keep_collected() -> None:
    """Exempt all objects so far from garbage collection.

    What pytest collected stays until the process ends. Each full collection would look at it again:
    that takes a third of the time of the tests in memory.
    """
    gc.freeze()
