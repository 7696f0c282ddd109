"""A fault of a stream is recognised on other connections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.causes.damage import explain_by_same_stall
from echosvc.probe.causes.registry import Cause
from echosvc.probe.engine.damage import Damage
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed
from tests.support.memory_network import MemoryServer, NetworkTestCase

LOST = Fault(FaultKind.LOST, 99_990, 700, sent=99_991, came=100_000)
KNOWN = Damage("sizes", LOST)


@given(st.integers(-16, 16), st.integers(0, 10**9), st.booleans())
def test_the_same_place_of_either_direction_is_enough(shift, other, upstream):
    """A prefix before each reply moves the place in one direction, and no other one."""
    changed = {"sent": LOST.sent + shift, "came": other}
    if not upstream:
        changed = {"sent": other, "came": LOST.came + shift}
    assert KNOWN.is_same(replace(LOST, **changed), "")


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": FaultKind.REPEATED},
        {"length": 600},
        {"sent": 50_000, "came": 50_009},
    ],
    ids=["kind", "length", "place"],
)
def test_another_kind_length_or_place_is_another_fault(changed):
    assert not KNOWN.is_same(replace(LOST, **changed), "")


def test_a_cut_is_the_same_where_it_ends_in_the_same_way_at_the_same_place():
    cut = replace(LOST, kind=FaultKind.CUT)
    known = Damage("sizes", cut, "RST")
    assert known.is_same(replace(cut, length=5), "RST")
    assert not known.is_same(cut, "FIN")
    assert known.is_alike(replace(cut, came=5, sent=5), "RST")
    assert not known.is_alike(cut, "silence")


class StallTests(NetworkTestCase):
    def explain(self, known: str, now: str) -> Cause | None:
        """The cause of a stream that stopped for a reason, where one had stopped for another."""
        cut = replace(LOST, kind=FaultKind.CUT)
        path = self.path(MemoryServer())
        path.context.knowledge.damages.append(Damage("sizes", cut, "silence", known))
        failed = Failed("it stopped", "", replace(cut, sent=5, came=5), end="silence")
        failed.facts["tcp"] = {"stall": now}
        return self.result(explain_by_same_stall(path, failed))

    def test_what_drops_packets_stops_each_stream_at_another_place(self) -> None:
        found = self.explain("dropped", "dropped")
        assert found is not None
        self.assertEqual((found.name, found.finding), ("sizes", "it stopped"))

    def test_a_stream_that_stops_for_another_reason_is_another_fault(self) -> None:
        for known, now in (("taken", "dropped"), ("dropped", "taken"), ("taken", "taken")):
            self.assertIsNone(self.explain(known, now))


def test_a_stream_that_is_cut_at_its_beginning_may_be_cut_for_any_reason():
    cut = Fault(FaultKind.CUT, 0, 5000, sent=1, came=10)
    assert not Damage("sizes", cut, "FIN").is_same(cut, "FIN")
