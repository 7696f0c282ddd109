"""The servers of the scenarios: ours, and Node's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.scenarios import Peer


@pytest.fixture(params=["echosvc", pytest.param("node", marks=pytest.mark.programs)])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    with ExitStack() as stack:
        yield Peer(request.param, stack)
