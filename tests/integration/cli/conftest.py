"""A server for the console script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.process import Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as it:
        yield it


@pytest.fixture
def to(server: Server) -> tuple[str, str]:
    return "--to", f"tcp:127.0.0.1:{server.port}"
