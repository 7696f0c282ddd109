"""The server that the command is run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.process import Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--log", "quiet", "--listen", "tcp:0:interface=127.0.0.1") as it:
        yield it


@pytest.fixture
def to(server: Server) -> str:
    return f"tcp:127.0.0.1:{server.port}"
