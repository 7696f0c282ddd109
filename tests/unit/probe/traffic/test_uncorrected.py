"""The uncorrected latency is that of a client that waits for each reply."""

from __future__ import annotations

import math

from echosvc.probe.traffic.exchange import Exchange
from echosvc.probe.traffic.schedule import ClosedLoop, OpenLoop, Schedule
from tests.unit.probe.traffic.model import Model


def test_a_stall_is_in_the_corrected_latencies_and_in_one_uncorrected_latency():
    """The server answers after 1 ms, but stands still for a second."""
    model = Model("chunk", "")
    pace = OpenLoop(Schedule.at_rate(128, 4.0), start=0.0)
    exchange = Exchange(model.messages, model.format, pace, model.tally)
    held = b""
    while exchange.next_time < math.inf:
        now = exchange.next_time
        held += exchange.due(now)  # at its intended time, exactly
        if not 1.0 <= now < 2.0:
            exchange.received(held, now + 0.001)
            held = b""
    tally = model.tally
    assert (tally.answered, tally.corrected.total, tally.uncorrected.total) == (512, 512, 512 - 128)
    assert tally.corrected.percentiles([99.0])[99.0] > 900_000
    assert tally.uncorrected.percentiles([99.0])[99.0] == 1000
    assert tally.uncorrected.largest == 1_001_000


def test_in_a_closed_loop_every_message_has_both_latencies():
    model = Model("chunk", "", depth=4)
    exchange = Exchange(model.messages, model.format, ClosedLoop(4), model.tally)
    for now in (1.0, 1.25):
        exchange.received(exchange.due(now), now + 0.125)
    tally = model.tally
    assert tally.corrected.total == tally.uncorrected.total == 8
    assert tally.uncorrected.largest == 125_000
