"""The largest size that passes is found by bisection."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.engine.size_limit import find_largest


def run(work: Coroutine[Any, Any, int]) -> int:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as stop:
        return int(stop.value)
    raise AssertionError("it waits")


class Path:
    def __init__(self, limit: int) -> None:
        self.limit, self.asked = limit, list[int]()

    async def passes(self, size: int) -> bool:
        self.asked.append(size)
        return size <= self.limit


@given(st.data())
def test_the_largest_size_that_passes_is_found(data: st.DataObject) -> None:
    good = data.draw(st.integers(1, 70_000))
    bad = good + data.draw(st.integers(1, 70_000))
    path = Path(data.draw(st.integers(good, bad - 1)))
    likely = data.draw(st.lists(st.integers(-5, 150_000), max_size=3))
    assert run(find_largest(good, bad, likely, path.passes)) == path.limit
    assert all(good < size < bad for size in path.asked)
    assert len(path.asked) == len(set(path.asked))
    assert len(path.asked) <= len(likely) + (bad - good).bit_length()


def test_what_is_likely_is_tried_first() -> None:
    path = Path(1348)
    assert run(find_largest(256, 1460, (1200, 1500), path.passes)) == 1348
    assert path.asked[:2] == [1200, 1330]
