"""Through the relay each fault has exactly its count, and a clean path has none."""

from __future__ import annotations

import pytest
import pytest_twisted

from echosvc.faults.spec import FaultSpec
from tests.integration.load.paths import loaded, relayed, wrong
from tests.support.stream_faults import stream_faults

SIZE = 64
#: The stream before the message that a fault hits.
BEFORE = 50 * SIZE


@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize(("fault", "kind"), stream_faults(BEFORE, SIZE))
@pytest_twisted.ensureDeferred
async def test_each_fault_has_exactly_its_count(fault, kind, upstream):
    async with relayed(FaultSpec(upstream=upstream, **fault), prefix="") as endpoint:
        result = await loaded(endpoint, prefix="")
    assert wrong(result) == {kind: 1}
    assert result.tally.sent == 100
    assert result.tally.answered == 100 - (kind in ("lost", "damaged"))
    assert (result.verdict.word, result.verdict.exit_status) == ("FAIL", 1)
    assert dict(result.tally.errors) == {"mismatch": 1}


@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
@pytest_twisted.ensureDeferred
async def test_a_clean_path_has_no_fault(framing):
    async with relayed(FaultSpec(chunk_size=50), framing=framing) as endpoint:
        result = await loaded(
            endpoint, framing=framing, connections=3, size=20, max_size=300, arrivals="poisson"
        )
    assert wrong(result) == {}
    assert str(result.verdict) == "OK"
    assert result.tally.connections == 3
    assert result.tally.sent == result.tally.answered > 50


@pytest_twisted.ensureDeferred
async def test_a_cut_connection_is_a_fin_and_is_opened_again():
    async with relayed(FaultSpec(cut=BEFORE), prefix="") as endpoint:
        result = await loaded(endpoint, prefix="")
    assert result.tally.errors["fin"] >= 1
    assert result.tally.connections >= 2
    assert "ended by the peer (FIN)" in result.verdict.why


@pytest_twisted.ensureDeferred
async def test_a_path_that_falls_silent_loses_what_it_owes():
    faults = FaultSpec(idle_timeout=0.2, on_idle="silence")
    async with relayed(faults, prefix="") as endpoint:
        result = await loaded(endpoint, prefix="", rate=2.0, duration=1.0, grace=0.5)
    assert wrong(result).keys() == {"lost"}  # the first one may have been answered
    assert 1 <= result.tally.unanswered == result.tally.lost <= 2
    assert dict(result.tally.errors) == {"timeout": 1}


@pytest_twisted.ensureDeferred
async def test_a_reset_is_named():
    faults = FaultSpec(idle_timeout=0.05, on_idle="rst")
    async with relayed(faults, prefix="") as endpoint:
        result = await loaded(endpoint, prefix="", rate=2.0, duration=1.0)
    assert result.tally.errors["reset"] >= 1
    assert result.verdict.word == "FAIL"


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_clean_path_has_no_fault_in_many_runs():
    async with relayed() as endpoint:
        for _ in range(50):
            result = await loaded(endpoint, connections=4, rate=0.0, depth=4, duration=0.1)
            assert wrong(result) == {}
            assert str(result.verdict) == "OK"
