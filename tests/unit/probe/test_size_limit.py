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
    likely = data.draw(st.lists(st.integers(-5, 150_000), max_size=20))
    assert run(find_largest(good, bad, likely, path.passes)) == path.limit
    assert all(good < size < bad for size in path.asked)
    assert len(path.asked) == len(set(path.asked))
    # It bisects what is likely, tries one more than that, and bisects what is between.
    assert len(path.asked) <= len(likely).bit_length() + 1 + (bad - good).bit_length()


def test_what_is_likely_is_found_soon_and_what_is_not_as_well() -> None:
    likely = (536, 1240, 1320, 1360, 1380, 1420, 1440, 1460)
    path = Path(1360)
    assert run(find_largest(256, 1460, likely, path.passes)) == 1360
    assert path.asked == [1360, 1420, 1380, 1361]
    path = Path(1348)
    assert run(find_largest(256, 1460, likely, path.passes)) == 1348
    assert path.asked[:4] == [1360, 1240, 1320, 1321]
