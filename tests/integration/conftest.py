"""Where the servers of these tests listen."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory whose name is short enough for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="echo") as directory:
        yield Path(directory)


@pytest.fixture(params=["tcp", "unix"])
def where(request: pytest.FixtureRequest, sockets: Path) -> str:
    return "tcp:0:interface=127.0.0.1" if request.param == "tcp" else f"unix:{sockets}/s"
