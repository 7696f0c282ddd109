"""``check`` blames the subject of a probe only where a control without it succeeds."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from echosvc.probe.checks import back_pressure
from echosvc.probe.settings import MIB
from tests.support.checking import against


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_server_that_discards_what_it_takes_buffers_nothing(monkeypatch):
    monkeypatch.setattr(back_pressure, "MAX_UNREAD", 16 * MIB)
    monkeypatch.setattr(back_pressure, "MAX_KERNELS", 8 * MIB)
    taken: dict[Any, int] = {}

    def heard(transport: Any, data: bytes) -> None:
        taken[transport] = taken.get(transport, 0) + len(data)
        if taken[transport] < MIB:
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


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_one_connection_that_ends_while_nobody_reads_proves_nothing():
    taken: dict[Any, int] = {}
    ended = False

    def heard(transport: Any, data: bytes) -> None:
        nonlocal ended
        taken[transport] = taken.get(transport, 0) + len(data)
        transport.write(data)
        if taken[transport] > 2 * MIB and not ended:
            ended = True
            transport.abortConnection()

    def met(transport: Any) -> None:
        transport.registerProducer(transport, True)  # it reads only what it can send back

    result = await against(met=met, heard=heard, only=("back-pressure",), skip=(), timeout=4.0)
    (probe,) = result.probes
    assert probe.result == "info", probe
    assert "1 of " in probe.finding
    assert "the connection ended" in probe.finding
