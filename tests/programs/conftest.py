"""A test is skipped where a program is not installed, which in CI all must be."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from tests.programs.faults.registry import Absent
from tests.programs.paths.catalogue.places import Unsupported


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    yield from skipping_the_absent()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    yield from skipping_the_absent()


def skipping_the_absent() -> Generator[None, None, None]:
    try:
        yield
    except Absent as absent:
        demanded = os.environ.get("CI") and not isinstance(absent, Unsupported)
        (pytest.fail if demanded else pytest.skip)(str(absent))
