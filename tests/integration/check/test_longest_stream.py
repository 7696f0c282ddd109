"""``--max-size`` is the size of the longest stream of a check."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from echosvc.probe.checks.sizes import wanted_sizes
from echosvc.probe.settings import MIB
from tests.support.checking import against

#: Probes that send one stream on each connection.
_ONE_STREAM = ("echo", "sizes", "order", "text", "connections")
#: Bytes of the messages before it, which the prefix is detected with.
_TOKENS = 3


@pytest.mark.parametrize("size", [1, 10, 255, 5000])
@pytest_twisted.ensureDeferred
async def test_no_stream_is_longer(size):
    longest = 0

    def heard(transport: Any, data: bytes) -> None:
        nonlocal longest
        transport.count = getattr(transport, "count", 0) + len(data)
        longest = max(longest, transport.count)
        transport.write(data)

    result = await against(heard=heard, only=_ONE_STREAM, skip=(), max_size=size, connections=2)
    assert result.ok, result
    assert size <= longest <= size + _TOKENS
    sizes = next(probe for probe in result.probes if probe.name == "sizes")
    assert sizes.facts["sizes"][-1] == size


@pytest.mark.parametrize("size", [1, 2, 500, 4097, MIB, 8 * MIB, 64 * MIB, 200_000_000, 3 * 10**9])
def test_one_stream_has_exactly_this_size(size):
    wanted = wanted_sizes(size)
    assert wanted == sorted(set(wanted))
    assert (wanted[0], wanted[-1]) == (1, size)


@pytest_twisted.ensureDeferred
async def test_bytes_are_not_judged_where_not_all_may_be_sent():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data)

    for size, verdict in ((255, "skip"), (256, "pass")):
        result = await against(heard=heard, only=("bytes",), skip=(), max_size=size)
        assert [probe.result for probe in result.probes] == [verdict], result


@pytest_twisted.ensureDeferred
async def test_streams_that_would_take_too_long_are_not_sent_and_that_is_said():
    def answer_late(transport: Any, data: bytes) -> None:
        transport.pauseProducing()
        reactor.callLater(0.05, transport.write, data)
        reactor.callLater(0.05, transport.resumeProducing)

    result = await against(heard=answer_late, only=("sizes", "order"), skip=(), max_size=16 * MIB)
    sizes, order = result.probes
    assert (sizes.result, sizes.facts["sizes"][-1]) == ("info", MIB)
    assert "; 16 MiB would take " in sizes.finding
    assert order.result == "pass"  # with what passes within the time-out


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_stream_that_stops_is_a_failure_though_its_time_is_over():
    taken: dict[Any, int] = {}

    def heard(transport: Any, data: bytes) -> None:
        taken[transport] = taken.get(transport, 0) + len(data)
        if taken[transport] < 300_000:
            transport.write(data)

    result = await against(heard=heard, only=("sizes",), skip=(), timeout=0.4)
    assert "fail" in {probe.result for probe in result.probes}, result
