"""``check`` reports which servers answer, and whose address they see."""

from __future__ import annotations

import pytest_twisted
from twisted.internet.defer import Deferred

from echosvc import EchoFactory, check
from echosvc.faults.spec import FaultSpec
from tests.support.checking import checked, failure, failures, only
from tests.support.reactor import serving, within


@pytest_twisted.ensureDeferred
async def test_two_backends_are_told_apart():
    servers = [{"prefix": "web1: "}, {"prefix": "web2: "}]
    result = await checked(FaultSpec(), servers=servers, skip=("back-pressure",))
    assert failures(result) == []
    identity = next(probe for probe in result.probes if probe.name == "identity")
    assert identity.finding == "2 servers on 10 connections: 'web1: ' 5, 'web2: ' 5"
    assert identity.facts["servers"] == {"web1: ": 5, "web2: ": 5}


@pytest_twisted.ensureDeferred
async def test_counters_are_no_identity():
    prefix = "web1 {connection}/{message}: "
    probe = only(await checked(None, "identity", servers=[{"prefix": prefix}], prefix=prefix))
    assert probe.facts["servers"] == {"web1 /: ": 10}


@pytest_twisted.ensureDeferred
async def test_an_identity_can_be_demanded():
    probe = only(await checked(None, "identity", identity="S(end)ing"))
    assert probe.facts["servers"] == {"end": 10}
    probe = await failure(FaultSpec(), "identity", identity="blue")
    assert "does not match 'blue'" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_group_that_takes_no_part_is_an_empty_name():
    probe = only(await checked(None, "identity", identity="(Z)?S"))
    assert probe.facts["servers"] == {"": 10}


@pytest_twisted.ensureDeferred
async def test_an_identity_that_is_not_found_in_time_is_a_failure_and_the_rest_goes_on():
    """A regular expression that backtracks, and a prefix that makes it do so."""
    servers = [{"prefix": "a" * 40 + "!"}]
    asked = {"identity": "(a+)+$", "timeout": 1.0}
    result = await checked(None, "identity", "order", servers=servers, **asked)
    identity, order = result.probes
    assert identity.finding == "'(a+)+$' takes longer than 1 s to be found in a prefix"
    assert (identity.result, order.result) == ("fail", "pass")


@pytest_twisted.ensureDeferred
async def test_a_given_prefix_that_is_damaged_is_told_from_one_that_changes():
    probe = await failure(FaultSpec(drop=(3, 1)), "echo", prefix="Sending: ")
    assert probe.finding.startswith("the first prefix is 'Sening: ', which is not of the form")


@pytest_twisted.ensureDeferred
async def test_a_reply_without_a_message_is_found():
    probe = await failure(FaultSpec(insert=(100_000, b"Sending: Sending: ")), "order")
    assert "not sent by the client" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_relay_shows_its_own_address():
    prefix = "{peer} "
    probe = await failure(FaultSpec(), "proxy", servers=[{"prefix": prefix}], prefix=prefix)
    assert "the server sees 127.0.0.1:" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_prefix_without_an_address_is_no_fault_of_the_path():
    probe = await failure(FaultSpec(), "proxy", servers=[{}], prefix="{peer}: ")
    assert probe.finding == (
        "the server's prefix 'Sending: ' has no address where --prefix has {peer}"
    )
    assert probe.cause.startswith("--prefix does not fit the server's")
    assert "middlebox" not in probe.cause


@pytest_twisted.ensureDeferred
async def test_without_anything_between_the_server_sees_us():
    async with serving(EchoFactory(log="quiet", prefix="{peer}> ")) as (host, port):
        for prefix in (None, "{peer}> "):
            run = check(f"tcp:{host}:{port}", prefix=prefix, only=("proxy",))
            probe = only(await within(Deferred.fromCoroutine(run)))
            assert (probe.result, "the server sees us as we are" in probe.finding) == ("pass", True)


@pytest_twisted.ensureDeferred
async def test_without_a_prefix_nobody_says_who_it_is():
    probe = only(await checked(None, "identity", servers=[{"prefix": ""}]))
    assert (probe.result, "no prefix" in probe.finding) == ("skip", True)
