"""Which faults are possible, and what they do to a stream, however it is cut."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from itertools import combinations, pairwise
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


BLOCKS = ((-1, 1), (0, 0), (1.0, 1), (0, "1"), (True, 1), (0, True), (1,), (1, 2, 3), [1, 1], 5)
COUNTS = (-1, 1.5, "1", True, (1, 1))
SECONDS = (-0.1, math.nan, math.inf, "1", True, None)
#: Values of each field that are refused.
WRONG: dict[str, tuple[object, ...]] = {
    "upstream": ("x", 1, None),
    "drop": BLOCKS,
    "duplicate": BLOCKS,
    "swap": BLOCKS,
    "flip": COUNTS,
    "insert": ((-1, b"x"), (0, "s"), (0, b""), (0.5, b"x"), (0,), [0, b"x"], 5, b"x"),
    "cut": COUNTS,
    "on_fin": ("x", "", None, 1, []),
    "unbounded": (1, "yes", None),
    "idle_timeout": SECONDS,
    "on_idle": ("x", None, ["fin"]),
    "delay": SECONDS,
    "chunk_size": (*COUNTS, None),
    "on_reset": ("x", None),
}
#: Values of each field that are taken.
GOOD: dict[str, tuple[object, ...]] = {
    "upstream": (True,),
    "drop": (None, (0, 1)),
    "duplicate": (None, (3, 7)),
    "swap": (None, (0, 1)),
    "flip": (None, 0, 5),
    "insert": (None, (0, b"x")),
    "cut": (None, 0, 5),
    "on_fin": ("pass", "close", "drop"),
    "unbounded": (True,),
    "idle_timeout": (0, 0.5, 3),
    "on_idle": ("fin", "rst", "silence"),
    "delay": (0, 0.5),
    "chunk_size": (0, 1),
    "on_reset": ("rst", "fin", "drop"),
}


@pytest.mark.parametrize("table", [WRONG, GOOD], ids=["WRONG", "GOOD"])
def test_every_field_is_tried_here(table: dict[str, tuple[object, ...]]) -> None:
    names = {field.name for field in fields(FaultSpec)}
    assert names == set(table), "add each field of FaultSpec to WRONG and to GOOD above"


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, not {re.escape(repr(value))}$"):
        FaultSpec(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GOOD.items() for value in values]
)
def test_a_good_value_is_taken_as_it_is(name: str, value: object) -> None:
    assert getattr(FaultSpec(**{name: value}), name) == value


CHANGES: dict[str, Any] = {
    "drop": (1, 1), "duplicate": (1, 1), "swap": (1, 1), "flip": 0, "insert": (0, b"x"),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second"), [*combinations(CHANGES, 2)])
def test_only_one_fault_changes_the_bytes_of_a_stream(first: str, second: str) -> None:
    with pytest.raises(ValueError, match=f"only one of .* not {first} and {second}$"):
        FaultSpec(**{name: CHANGES[name] for name in (first, second)})


@pytest.mark.parametrize("change", CHANGES)
def test_a_fault_of_the_connection_may_be_added_to_one_of_the_bytes(change: str) -> None:
    FaultSpec(**{change: CHANGES[change]}, upstream=True, cut=5, on_fin="drop", delay=0.1)


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
