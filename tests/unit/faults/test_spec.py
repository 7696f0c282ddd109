"""Which faults are possible, and what they do to a stream, however it is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.faults.spec import FaultSpec, StreamMutator

STREAM = bytes(range(10))
FAULTS: tuple[tuple[dict[str, Any], bytes], ...] = (
    ({}, STREAM),
    ({"drop": (2, 3)}, STREAM[:2] + STREAM[5:]),
    ({"drop": (8, 30)}, STREAM[:8]),
    ({"duplicate": (2, 3)}, STREAM[:5] + STREAM[2:]),
    ({"swap": (2, 3)}, STREAM[:2] + STREAM[5:8] + STREAM[2:5] + STREAM[8:]),
    ({"flip": 4}, STREAM[:4] + bytes([STREAM[4] ^ 1]) + STREAM[5:]),
    ({"insert": (4, b"new")}, STREAM[:4] + b"new" + STREAM[4:]),
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_fin": "x"}, {"on_idle": "x"}, {"on_reset": "x"}, {"drop": (-1, 1)}, {"swap": (0, 0)},
        {"duplicate": (1, 0)}, {"flip": -1}, {"cut": -1}, {"delay": -0.1}, {"idle_timeout": -1},
        {"chunk_size": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_fault_that_is_impossible_is_refused_by_its_name(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        FaultSpec(**wrong)


@given(st.sampled_from(FAULTS), st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_a_fault_changes_a_stream_alike_however_it_is_cut(
    fault: tuple[dict[str, Any], bytes], cuts: list[int]
) -> None:
    spec, expected = fault
    mutator = StreamMutator(FaultSpec(**spec))
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[low:high] for low, high in pairwise(edges)]
    assert b"".join(map(mutator.feed, pieces)) + mutator.flush() == expected


def test_a_block_that_the_end_of_the_stream_cuts_is_passed_on_as_it_is() -> None:
    mutator = StreamMutator(FaultSpec(swap=(0, 8)))
    assert mutator.feed(STREAM) == b""
    assert mutator.flush() == STREAM
    assert mutator.flush() == b""
