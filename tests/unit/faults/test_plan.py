"""Whom a fault concerns, when, and what a change does to what is open."""

from __future__ import annotations

import pytest

from echosvc.faults.engine import ConnectionFaults, FaultEvent
from echosvc.faults.plan import FaultPlan, named
from echosvc.faults.spec import FaultSpec
from tests.support.faults import Wire

#: A fault that shows at accept whom it concerns.
MARK = "accept=close"


def concerned(plan: FaultPlan, hosts: list[str], now: float = 0.0) -> list[int]:
    """The numbers of the connections of these hosts that a plan concerns."""
    made = [plan.accept(host, now) for host in hosts]
    return [number for number, each in enumerate(made, 1) if each.instead]


@pytest.mark.parametrize(
    ("whom", "numbers"),
    [
        ("", [1, 2, 3, 4, 5]),
        (",connection=3", [3]),
        (",first=2", [1, 2]),
        (",peers=192.0.2.0/24", [1, 4]),
        (",peers=192.0.2.0/24+2001:db8::/32", [1, 3, 4]),
        (",peers=192.0.2.0/24,first=3", [1]),
        (",connection=6", []),
    ],
)
def test_a_fault_concerns_whom_it_names(whom: str, numbers: list[int]) -> None:
    hosts = ["192.0.2.1", "198.51.100.1", "2001:db8::7", "::ffff:192.0.2.9", ""]
    assert concerned(FaultPlan(MARK + whom), hosts) == numbers


def test_a_share_is_drawn_by_the_seed_and_is_about_as_large_as_it_says() -> None:
    def drawn(seed: int) -> list[int]:
        return concerned(FaultPlan(f"{MARK},share=30%", seed), ["192.0.2.1"] * 2000)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 500 < len(drawn(1)) < 700


def test_connections_and_times_are_counted_from_when_the_fault_was_set() -> None:
    plan = FaultPlan()
    assert concerned(plan, ["192.0.2.1"] * 3) == []
    plan.set("late", FaultSpec(f"{MARK},first=1,start=5s,stop=9s"), 100.0)
    assert concerned(plan, ["192.0.2.1"], 104.9) == []
    plan.set("later", FaultSpec(f"{MARK},connection=2,start=5s,stop=9s"), 100.0)
    assert concerned(plan, ["192.0.2.1"] * 2, 105.0) == [2]
    plan.set("again", FaultSpec(f"{MARK},stop=9s"), 100.0)
    assert concerned(plan, ["192.0.2.1"], 108.9) == [1]
    assert concerned(plan, ["192.0.2.1"], 109.0) == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("drop=1,start=2s", b"abcd"),
        ("change=4,start=1s,stop=2s", b"`cbe"),
        ("change=4,stop=1s", b"abcd"),
    ],
)
def test_a_fault_of_bytes_happens_only_in_its_time(fault: str, expected: bytes) -> None:
    wire = Wire(fault)
    wire.send(b"abcd", 1.0)
    wire.run(1.0)
    assert wire.bytes() == expected
    assert bool(wire.events) is (expected != b"abcd")


def test_a_latency_ends_with_its_time_and_the_order_stays() -> None:
    wire = Wire("latency=10s,start=1s,stop=3s")
    for time in (0.5, 1.5, 3.5, 20.0):
        wire.send(b"x", time)
    wire.run(30.0)
    assert [time for time, _, _ in wire.left["down"]] == [0.5, 11.5, 11.5, 20.0]


def test_a_time_out_of_idle_connections_begins_anew_outside_of_its_time() -> None:
    wire = Wire("idle=2s,start=5s")
    wire.run(9.0)
    assert wire.timers == [(6.0, "close")]


def test_a_change_concerns_open_connections_at_once_and_loses_nothing() -> None:
    wire = Wire("swap=4,at=2")
    wire.send(b"abcdef", 1.0)
    wire.plan.replace({"slow": FaultSpec("latency=5s")}, 2.0)
    wire.send(b"gh", 3.0)
    wire.run(4.0)
    assert wire.bytes() == b"abcdef"
    wire.plan.remove("slow", 4.0)
    wire.send(b"i", 5.0)
    wire.run(9.0)
    assert wire.bytes() == b"abcdefghi"
    assert wire.left["down"][-1][0] == 8.0, "what was on its way stays on its way"


def test_what_stays_goes_on_where_it_is() -> None:
    wire = Wire("drop=1,at=3", "close,at=7")
    wire.send(b"ab", 1.0)
    wire.plan.set("more", FaultSpec("insert=!,at=5"), 2.0)
    wire.send(b"cdefgh", 3.0)
    wire.run(3.0)
    assert wire.bytes() == b"abcefgh"[:7]
    assert [event.fault.name for event in wire.events] == ["drop", "close"]


def test_the_reply_that_is_held_comes_whole_where_the_fault_is_removed() -> None:
    wire = Wire("close,messages=1,reply=middle")
    wire.send(b"repl", 1.0)
    wire.plan.remove("close", 2.0)
    wire.send(b"y\n", 3.0)
    wire.run(3.0)
    assert wire.bytes() == b"reply\n"


def test_a_fault_that_was_set_later_counts_from_then_on_an_open_connection() -> None:
    wire = Wire()
    wire.send(b"abc", 1.0)
    wire.run(1.0)
    wire.plan.replace(named(["drop=1", "reset,after=5s", "reset,after=9s,first=1"]), 2.0)
    wire.send(b"def", 3.0)
    wire.run(20.0)
    assert wire.bytes() == b"abcef"
    assert wire.timers == [(7.0, "reset")]


def test_an_ended_connection_is_no_more_concerned() -> None:
    plan = FaultPlan()
    ended = plan.accept("192.0.2.1", 0.0)
    assert plan.connections == 1
    plan.end(ended)
    plan.end(ended)
    plan.set("slow", FaultSpec("latency=5s"), 1.0)
    assert (plan.connections, dict(ended.down.stages)) == (0, {})


def test_events_are_counted_by_kind_and_observed() -> None:
    seen: list[FaultEvent] = []
    plan = FaultPlan(["drop=1", "drop=1,at=5", "latency=1s"])
    plan.observer = seen.append
    for _ in range(2):
        connection: ConnectionFaults = plan.accept("192.0.2.1", 0.0)
        for _ in range(3):
            connection.received(connection.down, b"abcd", 0.0)
    assert plan.counts == {"drop": 4, "latency": 2}
    assert [(each.fault.name, each.connection, each.offset) for each in seen[:3]] == [
        ("drop", 1, 0), ("latency", 1, 0), ("drop-2", 1, 5)
    ]  # fmt: skip


def test_names_are_the_kinds_with_numbers() -> None:
    assert list(named(["drop=1", "rate=1k", "drop=2"])) == ["drop", "rate", "drop-2"]


def test_removing_what_is_not_there_is_an_error_and_changes_nothing() -> None:
    plan = FaultPlan("drop=1")
    with pytest.raises(KeyError, match="rate"):
        plan.remove("rate", 1.0)
    assert list(plan.faults) == ["drop"]


def test_a_listener_is_open_but_for_the_time_of_its_fault() -> None:
    plan = FaultPlan(["accept=never,start=2s,stop=4s", "accept=refuse,start=4s,stop=5s", MARK])
    found = [plan.listener_fault(now) for now in (0.0, 2.0, 3.9, 4.0, 5.0)]
    policies = [each.spec.values["how"] if each else "" for each in found]
    assert policies == ["", "never", "never", "refuse", ""]
    changes = [plan.next_policy_change(now) for now in (0.0, 2.0, 4.0, 5.0)]
    assert changes == [2.0, 4.0, 5.0, float("inf")]
