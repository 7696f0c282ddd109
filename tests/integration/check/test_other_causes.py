"""``check`` blames the subject of a probe only where a control without it succeeds."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from echosvc.probe.settings import MIB
from tests.support.checking import against


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_server_that_discards_what_it_takes_buffers_nothing():
    taken: dict[Any, int] = {}

    def heard(transport: Any, data: bytes) -> None:
        taken[transport] = taken.get(transport, 0) + len(data)
        if taken[transport] < 5 * MIB:
            transport.write(data)

    result = await against(heard=heard, only=("back-pressure",), skip=())
    assert not any("buffers without bound" in probe.cause for probe in result.probes), result
    assert not result.ok


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_rest_is_not_blamed_for_what_is_not_answered_without_it():
    def heard(transport: Any, data: bytes) -> None:
        if len(data) <= 1:  # it answers the shortest messages only
            transport.write(data)

    result = await against(heard=heard, only=("idle",), skip=(), idle=(0.1,), timeout=0.4)
    assert not any("idle time-out" in probe.cause for probe in result.probes), result


@pytest_twisted.ensureDeferred
async def test_a_server_that_ends_after_some_messages_is_said_to_do_that():
    count: dict[Any, int] = {}

    def heard(transport: Any, data: bytes) -> None:
        count[transport] = count.get(transport, 0) + 1
        transport.write(data)
        if count[transport] == 4:
            transport.loseConnection()

    result = await against(heard=heard, only=("sizes", "text", "rtt"), skip=())
    assert [(probe.name, probe.result) for probe in result.probes] == [
        ("messages", "fail"), ("sizes", "skip"), ("text", "skip"), ("rtt", "skip"),
    ], result  # fmt: skip
    assert result.probes[0].finding.startswith("connections end by FIN after 4 messages")
