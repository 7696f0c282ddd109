"""What all tests of paths share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.programs.faults.registry import Absent


@pytest.fixture(autouse=True)
def _absent() -> Iterator[None]:
    """Skip where a program is not installed; in CI all must be."""
    try:
        yield
    except Absent as absent:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(absent))
