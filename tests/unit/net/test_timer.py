"""Timers that are precise: when they call, and that they call once."""

from __future__ import annotations

from time import monotonic

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from echosvc.net.timer import ReactorTimer, make_timer
from tests.support.reactor import turn, within


@pytest_twisted.ensureDeferred
async def test_it_calls_at_its_time_and_not_before():
    called: list[float] = []
    done = Deferred()

    def call() -> None:
        called.append(monotonic())
        done.callback(None)

    timer = make_timer(reactor, call)
    when = monotonic() + 0.0105
    timer.set(when)
    try:
        await within(done)
        assert called[0] >= when
    finally:
        timer.close()


@pytest_twisted.ensureDeferred
async def test_a_time_that_is_past_is_now_and_it_may_be_set_by_what_it_calls():
    times, done = [-5.0, 0.0, 0.001], Deferred()

    def call() -> None:
        if times:
            timer.set(monotonic() + times.pop())
        else:
            done.callback(None)

    timer = make_timer(reactor, call)
    timer.set(monotonic() - 1)
    try:
        await within(done)
    finally:
        timer.close()


@pytest_twisted.ensureDeferred
async def test_another_time_replaces_the_one_before_and_a_closed_timer_calls_no_more():
    called: list[str] = []
    timer, other = (make_timer(reactor, lambda name=name: called.append(name)) for name in "ab")
    timer.set(monotonic() + 0.001)
    timer.set(monotonic() + 1000)
    other.set(monotonic() + 0.001)
    other.close()
    await turn(0.02)
    timer.close()
    timer.close()
    timer.set(monotonic())
    await turn()
    assert called == []


def test_where_the_system_has_none_it_is_the_reactors():
    clock, called = Clock(), []
    timer = ReactorTimer(clock, lambda: called.append(clock.seconds()), clock.seconds)
    timer.set(2.0)
    timer.set(1.0)
    clock.advance(0.5)
    assert called == []
    clock.advance(0.5)
    assert called == [1.0]
    timer.set(3.0)
    timer.close()
    assert clock.getDelayedCalls() == []
