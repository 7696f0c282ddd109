"""The probe ``path`` reports what the kernel knows, and accuses nobody."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from echosvc import EchoFactory, check
from echosvc.faults.spec import FaultSpec
from tests.support.checking import checked, only
from tests.support.reactor import serving, within

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux alone")


@LINUX
@pytest_twisted.ensureDeferred
async def test_segments_options_rate_and_losses_are_reported():
    probe = only(await checked(None, "path"))
    assert probe.result == "info"
    facts = probe.facts
    assert 500 < facts["mss"] < facts["path_mtu"] <= 65536
    assert "SACK" in facts["options"]
    assert facts["rtt_us"] > 0
    assert facts["retransmits"] <= facts["segments_sent"]
    assert facts["bytes_per_second"] > 0
    assert probe.finding.startswith(f"to the next hop: MSS {facts['mss']}, MTU {facts['path_mtu']}")


@LINUX
@pytest.mark.parametrize("faults", [{"drop": (20_000, 50)}, {"cut": 30_000}, {"flip": 5000}])
@pytest_twisted.ensureDeferred
async def test_a_stream_that_is_wrong_is_left_to_other_probes(faults: dict[str, Any]):
    probe = only(await checked(FaultSpec(**faults), "path"))
    assert probe.result == "info", probe
    assert "bytes_per_second" not in probe.facts or probe.facts["bytes_per_second"] > 0


@LINUX
@pytest_twisted.ensureDeferred
async def test_no_stream_is_longer_than_was_asked_for():
    probe = only(await checked(None, "path", max_size=20_000))
    assert probe.result == "info"
    assert "20000 bytes come back at" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_has_no_packets(tmp_path):
    async with serving(EchoFactory(log="quiet"), f"unix:{tmp_path}/s"):
        run = check(f"unix:{tmp_path}/s", only=("path",))
        probe = only(await within(Deferred.fromCoroutine(run)))
    assert probe.result == "skip"
    assert probe.finding.startswith("no TCP")
