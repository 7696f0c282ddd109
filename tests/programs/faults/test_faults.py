"""Every fault, in its short form."""

from __future__ import annotations

import pytest

from tests.programs.faults.registry import load
from tests.programs.faults.soak import MIB, grown


@pytest.mark.slow
@pytest.mark.parametrize("name", load())
def test_a_fault_breaks_no_promise(name: str) -> None:
    finding = load()[name].attempt(False)
    assert finding.lost == 0, finding


def test_a_soak_tells_a_leak_from_a_step():
    assert grown([60 * MIB, 64 * MIB])  # too few to tell
    assert grown([60 * MIB, 60 * MIB, 68 * MIB])
    assert not grown([60 * MIB, 68 * MIB, 69 * MIB, 69 * MIB])
    assert grown([size * MIB for size in range(60, 100, 4)])
    assert not grown([60 * MIB, 50 * MIB, 62 * MIB], warm=1)
    assert grown([60 * MIB, 60 * MIB, 64 * MIB], warm=1)
