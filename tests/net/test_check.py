"""``check`` against paths that break one thing each, and against one that breaks nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoFactory
from echosvc.endpoints import client_endpoint
from echosvc.prefix import Template
from echosvc.probe.check import Check, CheckResult, ProbeResult
from echosvc.probe.path import MIB, Settings
from echosvc.relay import Mischief, Relay
from tests.harness import serving, within

#: Without what takes long by its nature.
FAST = ("idle", "find-idle", "reset")
TIMEOUT = 5.0


async def checked(
    mischief: Mischief | None = None,
    *only: str,
    skip: tuple[str, ...] = (),
    servers: list[dict[str, Any]] | None = None,
    **settings: Any,
) -> CheckResult:
    """Check a path with a relay, to servers of these settings."""
    settings = {"timeout": TIMEOUT, "max_size": MIB, **settings}
    if "prefix" in settings:
        settings["prefix"] = Template.parse(settings["prefix"])
    async with AsyncExitStack() as stack:
        addresses = [
            await stack.enter_async_context(serving(EchoFactory(log="quiet", **server)))
            for server in servers or [{}]
        ]
        relay = Relay(reactor, addresses, mischief)
        stack.push_async_callback(lambda: within(relay.stop()))
        endpoint = f"tcp:127.0.0.1:{relay.listen()}"
        target = client_endpoint(reactor, endpoint)
        asked = Settings(only=only, skip=(*skip, *(() if only else FAST)), **settings)
        return await within(
            Deferred.fromCoroutine(Check(reactor, target, asked, endpoint).run()), 60
        )
    raise AssertionError


def only(result: CheckResult) -> ProbeResult:
    (probe,) = result.probes
    return probe


async def failure(mischief: Mischief, name: str, **settings: Any) -> ProbeResult:
    """The failure that a probe finds."""
    probe = only(await checked(mischief, name, **settings))
    assert probe.result == "fail", probe
    return probe


def failures(result: CheckResult) -> list[ProbeResult]:
    return [probe for probe in result.probes if probe.result == "fail"]


# -- a clean path ---------------------------------------------------------------------------


@pytest.mark.parametrize("run", range(5))
@pytest_twisted.ensureDeferred
async def test_a_clean_path_is_never_accused(run):
    result = await checked(Mischief())
    assert failures(result) == []
    assert result.ok
    assert {probe.name for probe in result.probes if probe.result == "skip"} == {"tls", "proxy"}


@pytest.mark.parametrize(
    "mischief",
    [Mischief(piece=1), Mischief(piece=7, upstream=True), Mischief(delay=0.2)],
    ids=["1-byte", "7-byte", "200-ms"],
)
@pytest_twisted.ensureDeferred
async def test_small_segments_and_long_ways_are_no_fault(mischief):
    result = await checked(mischief, max_size=20000, skip=("back-pressure", "rtt"))
    assert failures(result) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"prefix": ""},
        {"prefix": "S"},
        {"prefix": "\\xff\\x00"},
        {"greeting": "Welcome!\\n"},
        {"greeting": "you are {connection}\\n"},
        {"prefix": "~"},
        {"framing": "line"},
        {"framing": "length"},
        {"framing": "length", "prefix": "", "greeting": "hello"},
    ],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_servers_of_all_kinds_are_no_fault(settings):
    framing = settings.get("framing", "chunk")
    skip = () if "framing" in settings and len(settings) == 1 else ("back-pressure",)
    result = await checked(None, servers=[settings], framing=framing, skip=skip)
    assert failures(result) == []


@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
@pytest.mark.parametrize("prefix", ["{message}: ", "{hostname} {connection}/{message}", "<{peer}>"])
@pytest_twisted.ensureDeferred
async def test_prefixes_that_change_are_no_fault_where_they_are_given(prefix, framing):
    server = {"prefix": prefix, "framing": framing}
    result = await checked(
        None, servers=[server], prefix=prefix, framing=framing, skip=("back-pressure",)
    )
    assert {probe.name for probe in failures(result)} <= {"proxy"}  # the relay has its own address


@pytest_twisted.ensureDeferred
async def test_a_prefix_that_changes_is_to_be_given():
    result = await checked(None, "bytes", servers=[{"prefix": "{message}: "}])
    (echo, values) = result.probes
    assert (echo.name, echo.result, values.result) == ("echo", "fail", "skip")
    assert "changes from reply to reply: '1: ', then '2: '" in echo.finding
    assert "--prefix" in echo.cause


# -- streams --------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("upstream", [False, True], ids=["down", "up"])


@BOTH
@pytest_twisted.ensureDeferred
async def test_lost_bytes(upstream):
    probe = await failure(Mischief(upstream, drop=(100_000, 700)), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("lost", 700)
    if upstream:
        # Behind the token that was sent first; two stamps have most of their digits in common.
        assert 99_999 <= probe.facts["offset"] <= 99_999 + 8
    assert probe.finding.startswith(f"700 bytes lost at offset {probe.facts['offset']}: expected ")


@BOTH
@pytest_twisted.ensureDeferred
async def test_repeated_bytes(upstream):
    probe = await failure(Mischief(upstream, duplicate=(100_000, 700)), "order")
    assert probe.facts["fault"] == "repeated"
    assert "came again" in probe.finding


@BOTH
@pytest_twisted.ensureDeferred
async def test_reordered_bytes(upstream):
    probe = await failure(Mischief(upstream, swap=(100_000, 700)), "order")
    assert probe.facts["fault"] == "reordered"
    assert "before" in probe.finding


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_changed_byte(upstream):
    probe = await failure(Mischief(upstream, flip=123_456), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("changed", 1)


@BOTH
@pytest_twisted.ensureDeferred
async def test_foreign_bytes(upstream):
    probe = await failure(Mischief(upstream, insert=(100_000, b"<html>")), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("inserted", 6)
    assert "nobody sent" in probe.finding


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_path_that_cuts_at_64_kib(upstream):
    probe = await failure(Mischief(upstream, cut=65536), "sizes")
    assert probe.facts["fault"] == "cut"
    assert "then came" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_that_decodes_text():
    result = await checked(None, "text", "bytes", servers=[{"encoding": "utf-8"}])
    values, text = sorted(result.probes, key=lambda probe: probe.name)
    assert (values.result, text.result) == ("fail", "pass")
    assert "UTF-8" in values.cause


@pytest_twisted.ensureDeferred
async def test_a_path_that_mixes_connections_up_is_found():
    """The relay repeats what another connection sent: nothing that this one did."""
    probe = await failure(Mischief(insert=(70_000, b"x" * 5000)), "sizes")
    assert probe.facts["fault"] == "inserted"


# -- ends -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_path_that_closes_both_directions_at_fin():
    probe = await failure(Mischief(at_fin="close"), "half-close")
    assert "closed both directions at the FIN" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_path_that_swallows_fin():
    probe = await failure(Mischief(at_fin="swallow"), "half-close", timeout=1.0)
    assert "never passed the FIN on" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_path_that_buffers_without_bound():
    probe = await failure(Mischief(unbounded=True), "back-pressure")
    assert "buffers without bound" in probe.cause


@pytest_twisted.ensureDeferred
async def test_back_pressure_that_works_says_after_how_much():
    probe = only(await checked(Mischief(), "back-pressure"))
    assert probe.result == "pass"
    assert 0 < probe.facts["stopped_after"] < 64 * MIB


@pytest.mark.parametrize(("how", "says"), [("fin", "FIN"), ("rst", "RST"), ("silence", "silence")])
@pytest_twisted.ensureDeferred
async def test_idle_connections_that_die(how, says):
    mischief = Mischief(idle=0.7, idle_end=how)
    probe = await failure(mischief, "idle", idle=(0.2, 1.2), timeout=1.0)
    assert probe.facts["survived"] == [0.2]
    assert "1.2 s: " + says in probe.finding


@pytest.mark.parametrize("how", ["fin", "rst", "silence"])
@pytest_twisted.ensureDeferred
async def test_the_idle_time_out_is_found(how):
    mischief = Mischief(idle=2.0, idle_end=how)
    probe = only(await checked(mischief, "find-idle", find_idle=20.0, timeout=1.0))
    assert probe.result == "info", probe
    assert probe.facts["idle_seconds"] == pytest.approx(2.0, rel=0.1)
    assert probe.facts["how"] == {"fin": "FIN", "rst": "RST", "silence": "silence"}[how]
    assert probe.seconds < 5


@pytest_twisted.ensureDeferred
async def test_no_idle_time_out_is_found_where_there_is_none():
    probe = only(await checked(Mischief(), "find-idle", find_idle=1.0))
    assert (probe.facts["idle_seconds"], probe.finding) == (None, "none up to 1 s")


RESETTING = [{"idle_timeout": 0.3, "idle_action": "reset"}]


@pytest_twisted.ensureDeferred
async def test_a_reset_arrives():
    probe = only(await checked(Mischief(), "reset", servers=RESETTING))
    assert (probe.result, probe.facts["how"]) == ("pass", "RST")


@pytest_twisted.ensureDeferred
async def test_a_reset_that_becomes_a_fin():
    probe = await failure(Mischief(reset="fin"), "reset", servers=RESETTING)
    assert "clean end of an abort" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_reset_that_is_swallowed():
    probe = await failure(Mischief(reset="swallow"), "reset", servers=RESETTING, timeout=1.0)
    assert "swallows" in probe.cause


# -- who ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_two_backends_are_told_apart():
    servers = [{"prefix": "web1: "}, {"prefix": "web2: "}]
    result = await checked(Mischief(), servers=servers, skip=("back-pressure",))
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
    probe = await failure(Mischief(), "identity", identity="blue")
    assert "does not match 'blue'" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_relay_shows_its_own_address():
    prefix = "{peer} "
    probe = await failure(Mischief(), "proxy", servers=[{"prefix": prefix}], prefix=prefix)
    assert "the server sees 127.0.0.1:" in probe.finding


@pytest_twisted.ensureDeferred
async def test_nobody_there():
    relay = Relay(reactor, [("127.0.0.1", 1)])
    port = relay.listen()
    await within(relay.stop())
    endpoint = f"tcp:127.0.0.1:{port}"
    check = Check(reactor, client_endpoint(reactor, endpoint), Settings(), endpoint)
    result = await within(Deferred.fromCoroutine(check.run()))
    first, *others = result.probes
    assert (first.name, first.result) == ("connect", "fail")
    assert "ECONNREFUSED" in first.finding
    assert {probe.result for probe in others} == {"skip"}
    assert not result.ok


@pytest_twisted.ensureDeferred
async def test_a_relay_whose_server_is_gone():
    relay = Relay(reactor, [("127.0.0.1", 1)])
    endpoint = f"tcp:127.0.0.1:{relay.listen()}"
    try:
        check = Check(reactor, client_endpoint(reactor, endpoint), Settings(), endpoint)
        result = await within(Deferred.fromCoroutine(check.run()))
    finally:
        await within(relay.stop())
    assert [probe.result for probe in result.probes[:2]] == ["pass", "fail"]
    assert "ended by RST" in result.probes[1].finding
