"""``check`` against paths that break one thing each, and against one that breaks nothing."""

from __future__ import annotations

import errno
import re
import socket
import threading
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import ProcessEndpoint, TCP4ClientEndpoint
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from zope.interface import directlyProvides, implementer

from echosvc import EchoFactory, check
from echosvc.endpoints import client_endpoint
from echosvc.faults.relay import Relay
from echosvc.faults.spec import FaultSpec
from echosvc.net.resolver import DaemonResolver
from echosvc.probe.check import Check
from echosvc.probe.checks.rtt import RoundTrips
from echosvc.probe.engine.client import ProbeClient
from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.probe.settings import MIB, Settings
from echosvc.tls.context import ClientTLS
from echosvc.wire.template import Template
from tests.support.process import LIMIT, no_faults, serving, within
from tests.unit.tls.test_context import issue

#: Without what takes long by its nature.
FAST = ("idle", "find-idle", "reset")
TIMEOUT = 5.0


async def checked(
    faults: FaultSpec | None = None,
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
        relay = Relay(reactor, addresses, faults)
        stack.push_async_callback(lambda: within(relay.stop()))
        endpoint = f"tcp:127.0.0.1:{relay.listen()}"
        target = client_endpoint(reactor, endpoint)
        asked = Settings(only=only, skip=(*skip, *(() if only else FAST)), **settings)
        checking = Deferred.fromCoroutine(Check(reactor, target, asked, endpoint).run())
        return await within(checking, 8 * LIMIT)
    raise AssertionError


def only(result: CheckResult) -> ProbeResult:
    (probe,) = result.probes
    return probe


async def failure(faults: FaultSpec, name: str, **settings: Any) -> ProbeResult:
    """The failure that a probe finds."""
    probe = only(await checked(faults, name, **settings))
    assert probe.result == "fail", probe
    return probe


def failures(result: CheckResult) -> list[ProbeResult]:
    return [probe for probe in result.probes if probe.result == "fail"]


# -- a clean path ---------------------------------------------------------------------------


@pytest.mark.parametrize("run", range(5))
@pytest_twisted.ensureDeferred
async def test_a_clean_path_is_never_accused(run):
    result = await checked(FaultSpec())
    assert failures(result) == []
    assert result.ok
    assert {probe.name for probe in result.probes if probe.result == "skip"} == {"tls", "proxy"}


@pytest.mark.parametrize(
    "faults",
    [FaultSpec(chunk_size=1), FaultSpec(chunk_size=7, upstream=True), FaultSpec(delay=0.2)],
    ids=["1-byte", "7-byte", "200-ms"],
)
@pytest_twisted.ensureDeferred
async def test_small_segments_and_long_ways_are_no_fault(faults):
    # One thread sends each byte by itself: few connections, so that none waits for the others.
    few = {"max_size": 20000, "connections": 2, "timeout": LIMIT}
    result = await checked(faults, skip=("back-pressure", "rtt", "sizes"), **few)
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
    probe = await failure(FaultSpec(upstream, drop=(100_000, 700)), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("lost", 700)
    if upstream:
        # Behind the token that was sent first; two stamps have most of their digits in common.
        assert 99_999 <= probe.facts["offset"] <= 99_999 + 8
    assert probe.finding.startswith(f"700 bytes lost at offset {probe.facts['offset']}: after ")


@BOTH
@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [("duplicate", "repeated", "came again"), ("swap", "reordered", "came before the")],
)
@pytest_twisted.ensureDeferred
async def test_bytes_that_come_twice_or_in_the_wrong_order(damage, kind, words, upstream):
    probe = await failure(FaultSpec(upstream, **{damage: (100_000, 700)}), "order")
    assert probe.facts["fault"] == kind
    assert words in probe.finding


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_changed_byte(upstream):
    probe = await failure(FaultSpec(upstream, flip=123_456), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("changed", 1)


@BOTH
@pytest_twisted.ensureDeferred
async def test_foreign_bytes(upstream):
    probe = await failure(FaultSpec(upstream, insert=(100_000, b"<html>")), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("inserted", 6)
    assert "not sent by the client" in probe.finding


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_path_that_cuts_at_64_kib(upstream):
    probe = await failure(FaultSpec(upstream, cut=65536), "sizes")
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
    probe = await failure(FaultSpec(insert=(70_000, b"x" * 5000)), "sizes")
    assert probe.facts["fault"] == "inserted"


# -- ends -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_path_that_closes_both_directions_at_a_fin():
    probe = await failure(FaultSpec(on_fin="close"), "half-close")
    assert "closed both directions at the FIN" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_path_that_drops_a_fin():
    probe = await failure(FaultSpec(on_fin="drop"), "half-close", timeout=1.0)
    assert "never passed the FIN on" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_path_that_buffers_without_bound():
    probe = await failure(FaultSpec(unbounded=True), "back-pressure")
    assert "buffers without bound" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_buffer_that_loses_bytes_while_nobody_reads():
    probe = await failure(FaultSpec(drop=(3_000_000, 5000)), "back-pressure")
    assert "the sender is stopped after" in probe.finding
    assert "5000 bytes lost" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_path_that_ends_who_does_not_read():
    probe = await failure(FaultSpec(upstream=True, cut=2_000_000), "back-pressure")
    assert "of which nothing was read" in probe.finding or "the stream stopped" in probe.finding


@pytest_twisted.ensureDeferred
async def test_unasked_bytes_on_an_idle_connection():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data)
        if data == b"~":
            reactor.callLater(0.1, lambda: transport.connected and transport.write(b"hello?"))

    probe = only(await against(heard=heard, only=("idle",), skip=(), idle=(1.0,)))
    assert probe.finding == "6 bytes came that were not requested, while idle"


@pytest_twisted.ensureDeferred
async def test_back_pressure_that_works_says_after_how_much():
    probe = only(await checked(FaultSpec(), "back-pressure"))
    assert probe.result == "pass"
    assert 0 < probe.facts["stopped_after"] < 64 * MIB


@pytest.mark.parametrize(("how", "says"), [("fin", "FIN"), ("rst", "RST"), ("silence", "silence")])
@pytest_twisted.ensureDeferred
async def test_idle_connections_that_die(how, says):
    faults = FaultSpec(idle_timeout=0.7, on_idle=how)
    probe = await failure(faults, "idle", idle=(0.2, 1.2), timeout=1.0)
    assert probe.facts["survived"] == [0.2]
    assert "1.2 s: " + says in probe.finding


@pytest.mark.parametrize("how", ["fin", "rst", "silence"])
@pytest_twisted.ensureDeferred
async def test_the_idle_time_out_is_found(how):
    faults = FaultSpec(idle_timeout=2.0, on_idle=how)
    probe = only(await checked(faults, "find-idle", find_idle=20.0, timeout=1.0))
    assert probe.result == "info", probe
    assert probe.facts["idle_seconds"] == pytest.approx(2.0, rel=0.1)
    assert probe.facts["how"] == {"fin": "FIN", "rst": "RST", "silence": "silence"}[how]
    assert probe.seconds < 5


@pytest_twisted.ensureDeferred
async def test_no_idle_time_out_is_found_where_there_is_none():
    probe = only(await checked(FaultSpec(), "find-idle", find_idle=1.0))
    assert (probe.facts["idle_seconds"], probe.finding) == (None, "none up to 1 s")


RESETTING = [{"idle_timeout": 0.3, "idle_action": "reset"}]


@pytest_twisted.ensureDeferred
async def test_a_reset_arrives():
    probe = only(await checked(FaultSpec(), "reset", servers=RESETTING))
    assert (probe.result, probe.facts["how"]) == ("pass", "RST")


@pytest_twisted.ensureDeferred
async def test_a_reset_that_becomes_a_fin():
    probe = await failure(FaultSpec(on_reset="fin"), "reset", servers=RESETTING)
    assert "an abort into a clean end" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_reset_that_is_dropped():
    probe = await failure(FaultSpec(on_reset="drop"), "reset", servers=RESETTING, timeout=1.0)
    assert "a middlebox drops it" in probe.cause


# -- who ------------------------------------------------------------------------------------


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


@pytest_twisted.ensureDeferred
async def test_every_address_of_a_name_is_tried():
    """IPv4 alone is served: a client that takes the other address meets nobody."""
    async with serving(EchoFactory(log="quiet")) as (_, port):
        run = check(f"tcp:localhost:{port}", only=("connect",))
        probe = only(await within(Deferred.fromCoroutine(run)))
    known = {each["address"]: each["error"] for each in probe.facts["addresses"]}
    assert known["127.0.0.1"] == ""
    assert probe.facts["connect_seconds"] < 0.2
    assert all(each["seconds"] >= 0 for each in probe.facts["addresses"])
    for address, error in known.items():
        verb = {"ECONNREFUSED": "refuses", "": "-"}.get(error, "cannot be reached")
        assert bool(error) == (f"{address} {verb} ({error})" in probe.finding)


@pytest_twisted.ensureDeferred
async def test_what_is_reported_is_the_time_of_connect_itself(monkeypatch):
    """Not the look-up's, which is slow here, nor the reactor's."""
    resolve = socket.getaddrinfo

    def slowly(host: Any, *words: Any, **more: Any) -> Any:
        if host == "localhost":
            threading.Event().wait(0.4)
        return resolve(host, *words, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    async with serving(EchoFactory(log="quiet")) as (_, port):
        run = check(f"tcp:localhost:{port}", only=("connect",))
        probe = only(await within(Deferred.fromCoroutine(run)))
    assert 0 < probe.facts["connect_seconds"] < 0.2
    assert 0.4 <= probe.facts["lookup_seconds"] < 5
    assert re.search(r" in [\d.]+ (µs|ms), name resolved in [\d.]+ (ms|s)", probe.finding)


@pytest_twisted.ensureDeferred
async def test_an_address_has_no_look_up():
    async with serving(EchoFactory(log="quiet")) as (host, port):
        run = check(f"tcp:{host}:{port}", only=("connect",))
        probe = only(await within(Deferred.fromCoroutine(run)))
    assert "lookup_seconds" not in probe.facts
    assert re.fullmatch(rf"to {host}:{port} in [\d.]+ (µs|ms)", probe.finding)


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_not_resolved_is_no_firewall(monkeypatch):
    """It is asked for once, and given up once."""
    released = threading.Event()
    asked = []

    def silent(host: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        released.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    before = reactor.installNameResolver(DaemonResolver(reactor))
    try:
        run = check("tcp:localhost:9", only=("connect",), timeout=0.3)
        probe = only(await within(Deferred.fromCoroutine(run)))
    finally:
        reactor.installNameResolver(before)
        released.set()
    assert probe.finding == "no connection to localhost:9: the name is not resolved within 0.3 s"
    assert probe.cause == "the resolver (DNS) does not answer"
    assert asked == ["localhost"]
    assert 0.3 <= probe.seconds < 0.6


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_connected_to_in_no_time(tmp_path):
    async with serving(EchoFactory(log="quiet"), f"unix:{tmp_path}/s"):
        run = check(f"unix:{tmp_path}/s", only=("connect", "rtt"))
        result = await within(Deferred.fromCoroutine(run))
    first, trips = result.probes
    assert 0 < first.facts["connect_seconds"] < 1
    assert "Nagle" not in trips.finding  # there is no TCP
    assert "nagle_two_writes" not in trips.facts


@pytest_twisted.ensureDeferred
async def test_the_sizes_and_a_digest_are_told():
    probe = only(await checked(None, "sizes", max_size=5000))
    assert (probe.facts["sizes"][0], probe.facts["sizes"][-1]) == (1, 4097)
    assert len(bytes.fromhex(probe.facts["sha256"])) == 32


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


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("missing", "there is no socket at that path"),
        ("left", "no server listens at that path"),
        ("file/s", "what should be a directory"),
        ("packets", "a socket of another kind"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_unix_socket_that_is_not_there_has_causes_of_its_own(tmp_path, name, cause):
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as packets:
        packets.bind(str(tmp_path / "packets"))
        run = check(f"unix:{tmp_path}/{name}", only=("connect",))
        probe = only(await within(Deferred.fromCoroutine(run)))
    assert probe.result == "fail"
    assert probe.cause.startswith(cause)


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EINVAL, "a route of this machine drops what goes there (blackhole)"),
        (errno.EACCES, "a route or a firewall of this machine forbids it"),
        (errno.EPERM, "a firewall of this machine forbids it"),
        (errno.ENETUNREACH, "no route to that network"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_the_own_machine_refuses_has_a_cause(number, cause):
    @implementer(IStreamClientEndpoint)
    class Failing:
        def connect(self, factory: Any) -> Deferred[Any]:
            return fail(getConnectError((number, "no")))

    probe = only(await within(Deferred.fromCoroutine(check(Failing(), only=("connect",)))))
    assert errno.errorcode[number] in probe.finding
    assert probe.cause.startswith(cause)


@pytest.mark.parametrize("where", ["connectionMade", "_transport_ready"])
@pytest_twisted.ensureDeferred
async def test_a_fault_of_our_own_is_no_firewall(monkeypatch, where):
    def wrong(_: object) -> None:
        raise ZeroDivisionError("it cannot be divided")

    monkeypatch.setattr(ProbeClient, where, wrong)
    async with serving(EchoFactory(log="quiet")) as (host, port):
        run = check(f"tcp:{host}:{port}", only=("connect",), timeout=LIMIT)
        probe = only(await within(Deferred.fromCoroutine(run)))
    assert probe.result == "fail"
    assert probe.finding.endswith("cannot be used: it cannot be divided")
    assert probe.cause.startswith("a fault of echosvc itself")
    assert probe.seconds < LIMIT / 2


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


# -- from Python, and over other transports -------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_it_can_be_asked_from_python():
    async with serving(EchoFactory(log="quiet", prefix="{message}> ")) as (host, port):
        endpoint = f"tcp:{host}:{port}"
        result = await within(
            Deferred.fromCoroutine(
                check(endpoint, prefix="{message}> ", only=("order", "half-close"), max_size=MIB)
            )
        )
        assert (result.endpoint, result.ok, result.interrupted) == (endpoint, True, False)
        assert [(probe.name, probe.result) for probe in result.probes] == [
            ("order", "pass"),
            ("half-close", "pass"),
        ]
        made = TCP4ClientEndpoint(reactor, host, port)
        refused = await within(
            Deferred.fromCoroutine(check(made, reactor=reactor, prefix=b"x", only=("bytes",)))
        )
        assert [probe.result for probe in refused.probes] == ["fail", "skip"]
        assert "not of the form that --prefix gives" in refused.probes[0].finding


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_a_path_too(tmp_path):
    async with serving(EchoFactory(log="quiet"), f"unix:{tmp_path}/s"):
        result = await within(
            Deferred.fromCoroutine(check(f"unix:{tmp_path}/s", skip=FAST, max_size=MIB)), 60
        )
    assert failures(result) == []


@pytest_twisted.ensureDeferred
async def test_a_process_is_a_path_without_addresses_and_half_close():
    """Such as ``ssh -W`` or ``kubectl exec``: pipes to it and from it."""
    endpoint = ProcessEndpoint(reactor, "/bin/cat", ("cat",))
    with no_faults():
        run = check(endpoint, timeout=TIMEOUT, max_size=MIB, idle=(0.2,), find_idle=0.3)
        result = await within(Deferred.fromCoroutine(run), 60)
    found = {probe.name: (probe.result, probe.finding) for probe in result.probes}
    assert result.endpoint == "ProcessEndpoint"
    assert re.fullmatch(r"connected in [\d.]+ \S+", found["connect"][1])
    assert found["half-close"] == ("skip", "this transport cannot end one direction alone")
    assert found["proxy"] == ("skip", "this transport has no addresses that a header could name")
    assert found["reset"] == ("skip", "this transport has no resets")
    assert {name for name, (how, _) in found.items() if how == "pass"} == {
        "connect", "echo", "bytes", "sizes", "order", "text", "back-pressure", "connections",
        "idle",
    }  # fmt: skip
    assert "Nagle" not in found["rtt"][1]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("exit 3", "the connection ended by an unclean end before an answer"),
        ("head -c 1 >/dev/null", "the connection ended by FIN before an answer"),
        ("sleep 60", "no answer to '~' within 0.5 s: nothing came back"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_process_that_does_not_answer_fails_in_words(program, words):
    endpoint = ProcessEndpoint(reactor, "/bin/sh", ("sh", "-c", f"exec 2>&-; {program}"))
    with no_faults():
        run = check(endpoint, timeout=0.5, only=("connect", "echo"))
        result = await within(Deferred.fromCoroutine(run))
    assert [probe.result for probe in result.probes] == ["pass", "fail"]
    assert result.probes[1].finding.startswith(words)


@pytest_twisted.ensureDeferred
async def test_a_process_that_cannot_be_started_is_no_connection():
    endpoint = ProcessEndpoint(reactor, "/bin/there/is/none", ("none",))
    result = await within(Deferred.fromCoroutine(check(endpoint, only=("order",))))
    first = result.probes[0]
    assert (first.result, first.finding) == ("fail", "no connection to ProcessEndpoint: ENOENT")


@pytest_twisted.ensureDeferred
async def test_tls_is_described_and_carries_everything(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost", days=30).pem)
    where = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    async with serving(EchoFactory(log="quiet"), where) as (_, port):
        endpoint = f"tls:localhost:{port}:trustRoots={pem}"
        result = await within(Deferred.fromCoroutine(check(endpoint, skip=FAST, max_size=MIB)), 60)
    assert failures(result) == []
    first, tls = (
        next(each for each in result.probes if each.name == n) for n in ("connect", "tls")
    )
    assert re.search(
        r" in [\d.]+ \S+, name resolved in .*, TLS handshake in [\d.]+ ", first.finding
    )
    assert first.facts["connect_seconds"] < first.facts["tls_seconds"]
    assert (tls.result, tls.facts["version"], tls.facts["days_left"]) == ("pass", "TLSv1.3", 29)
    assert tls.facts["chain"] == ["CN=localhost"]


# -- servers that are none ------------------------------------------------------------------


class Hostile(Protocol):
    """Does what its factory says."""

    def connectionMade(self) -> None:
        self.factory.met(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard(self.transport, data)


async def against(met: Any = None, heard: Any = None, **settings: Any) -> CheckResult:
    """Check a server that behaves like this."""
    factory = Factory.forProtocol(Hostile)
    factory.met = met or (lambda transport: None)
    factory.heard = heard or (lambda transport, data: None)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        endpoint = f"tcp:127.0.0.1:{port.getHost().port}"
        settings = {"timeout": 1.0, "skip": FAST, "max_size": MIB, **settings}
        return await within(Deferred.fromCoroutine(check(endpoint, **settings)), 60)
    finally:
        await within(port.stopListening())


def first_failure(result: CheckResult) -> ProbeResult:
    return failures(result)[0]


@pytest_twisted.ensureDeferred
async def test_a_server_that_says_nothing():
    probe = first_failure(await against())
    assert probe.finding == "no answer to '~' within 1 s: nothing came back"


@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_up():
    probe = first_failure(await against(met=lambda transport: transport.loseConnection()))
    assert "the connection ended by" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_that_talks_without_end():
    class Endless:
        def __init__(self, transport: Any) -> None:
            self._transport = transport
            transport.registerProducer(self, True)
            self.resumeProducing()

        def resumeProducing(self) -> None:
            self.paused = False
            while not self.paused:
                self._transport.write(b"x" * 65536)

        def pauseProducing(self) -> None:
            self.paused = True

        def stopProducing(self) -> None:
            self.paused = True

    probe = first_failure(await against(met=Endless))
    assert "and no answer to '~' in them" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_whose_first_prefix_fits_in_a_great_many_ways():
    replies = iter((b"-" * 4000, b"a-b-c: "))

    def heard(transport: Any, data: bytes) -> None:
        transport.write(next(replies, b"a-b-c: ") + data)

    probe = first_failure(await against(heard=heard, prefix="{hostname}-{peer}-{local}: "))
    assert "which is not of the form that --prefix gives" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_that_speaks_http():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        transport.loseConnection()

    probe = first_failure(await against(heard=heard))
    assert "HTTP" in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_server_that_sends_terminal_commands_in_its_prefix():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"\x1b[2J\x07: " + data)

    result = await against(heard=heard, only=("echo", "identity"))
    assert result.ok
    for probe in result.probes:
        assert probe.finding.isprintable()
        assert "\\x1b[2J\\x07: " in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_everything_twice():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data + data)

    assert failures(await against(heard=heard))


@pytest_twisted.ensureDeferred
async def test_7_bit_text_is_named():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(bytes(byte & 0x7F for byte in data))

    probe = first_failure(await against(heard=heard, only=("order",)))
    assert "the eighth bit of each byte is cleared" in probe.cause
    assert "rewritten from offset" in probe.finding


@pytest.mark.parametrize(
    ("change", "finding", "cause"),
    [
        (lambda data: bytes(byte & 0x7F for byte in data), "0x80 comes as 00, 0x81", "eighth bit"),
        (lambda data: data.replace(b"\n", b"\r\n"), "0x0a comes as 0d 0a", "line ends"),
        (lambda data: data.replace(b"\xff", b"\xff\xff"), "0xff comes as ff ff", "Telnet"),
        (lambda data: data.replace(b"\0", b""), "0x00 comes as nothing", "NUL"),
        (lambda data: data.translate(None, b"\x11\x13"), "0x11 comes as nothing", "XON"),
        (lambda data: data.decode("latin-1").encode(), "0x80 comes as c2 80", "Latin-1"),
        (lambda data: data.replace(b"\x1b", b"[ESC]"), "0x1b comes as 5b 45 53 43 5d", "commands"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_becomes_of_which_byte_is_told(change, finding, cause):
    def heard(transport: Any, data: bytes) -> None:
        transport.write(change(data))

    probe = first_failure(await against(heard=heard, only=("bytes",)))
    assert finding in probe.finding
    assert cause in probe.cause


@pytest_twisted.ensureDeferred
async def test_a_piece_that_is_lost_is_not_its_values_fault():
    probe = await failure(FaultSpec(drop=(40_000, 1)), "order")
    assert probe.cause == "a middlebox drops bytes where its buffer is full or when it fails over"
    assert "changed" not in probe.facts


@pytest_twisted.ensureDeferred
async def test_connections_that_are_mixed_up_are_named():
    kept: dict[Any, bytes] = {}

    def heard(transport: Any, data: bytes) -> None:
        others = [piece for other, piece in kept.items() if other is not transport]
        if len(data) > 1000 and transport not in kept:
            kept[transport] = data[:5000]
            data = (others[0] if others else b"") + data
        transport.write(data)

    probe = first_failure(await against(heard=heard, only=("connections",)))
    assert "another connection's" in probe.cause


@pytest_twisted.ensureDeferred
async def test_answers_that_come_twice_are_named():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"S: " + data + b"S: " + data)

    probe = first_failure(await against(heard=heard))
    assert probe.finding == "'~' was answered 2 times"


@pytest_twisted.ensureDeferred
async def test_a_prefix_without_end_is_not_looked_for():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(b"P" * 60_000 + data)

    probe = first_failure(await against(heard=heard))
    assert probe.finding == "a prefix of 60000 bytes; no more than 4096 are looked for"


@pytest_twisted.ensureDeferred
async def test_bytes_that_come_after_all_are_nobodys():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data + (b"!" if len(data) > 1 else b""))

    probe = first_failure(await against(heard=heard, only=("echo",)))
    assert "1 byte not sent by the client came in" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_trickle_has_an_end():
    """Something comes all the time, and the probe never gets on."""

    def met(transport: Any) -> None:
        loop = LoopingCall(transport.write, b"x")
        loop.clock = reactor
        transport.protocol.connectionLost = lambda reason: loop.stop()
        loop.start(0.2)

    probe = first_failure(await against(met=met, timeout=0.5))
    assert probe.finding == "not done within 3 s, though something came now and then"


# -- each probe, against a path that breaks just that ---------------------------------------


@pytest_twisted.ensureDeferred
async def test_text_that_is_decoded_segment_by_segment():
    def heard(transport: Any, data: bytes) -> None:
        transport.write(data.decode("utf-8", "replace").encode())

    result = await against(heard=heard, only=("echo", "text"))
    assert [probe.result for probe in result.probes] == ["pass", "fail"]
    assert "decoded as UTF-8" in result.probes[1].cause


@pytest_twisted.ensureDeferred
async def test_a_limit_of_connections():
    probe = only(await checked(None, "connections", servers=[{"max_per_peer": 5}], connections=8))
    assert probe.result == "fail"
    assert "of 8: the connection ended by" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_long_way_is_measured():
    probe = only(await checked(FaultSpec(delay=0.1), "rtt"))
    assert probe.result == "info"
    facts = probe.facts["nodelay"]
    assert 200_000 <= facts["min_us"] <= facts["p50_us"] < 300_000
    assert facts["p50_us"] <= facts["p90_us"] <= facts["p99_us"] <= facts["max_us"]
    assert probe.finding.startswith(f"{facts['trips']} trips: min 2")


def test_percentiles_are_of_times_that_were_measured():
    times = RoundTrips([float(number) for number in range(1, 201)])
    assert [times.percentile(place) for place in (0, 50, 90, 99, 100)] == [1, 100, 180, 198, 200]
    assert str(RoundTrips([0.001, 0.002, 0.004])) == (
        "3 trips: min 1 ms, median 2 ms, 90 % 4 ms, 99 % 4 ms, max 4 ms"
    )
    assert RoundTrips([0.5]).facts == {
        "trips": 1, "min_us": 500_000, "p50_us": 500_000, "p90_us": 500_000, "p99_us": 500_000,
        "max_us": 500_000,
    }  # fmt: skip


async def tls_check(pem: Any, words: ClientTLS, *names: str) -> CheckResult:
    where = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    async with serving(EchoFactory(log="quiet"), where) as (_, port):
        endpoint = f"tls:localhost:{port}"
        target = client_endpoint(reactor, endpoint, words)
        run = Check(reactor, target, Settings(only=names, timeout=TIMEOUT), endpoint).run()
        return await within(Deferred.fromCoroutine(run))


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_has_ended(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost", days=-0.5).pem)
    probe = only(await tls_check(pem, ClientTLS(insecure=True), "tls"))
    assert probe.result == "fail"
    assert "a certificate of 'CN=localhost' ended 1 days ago" in probe.finding


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_nobody_vouches_for(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost").pem)
    result = await tls_check(pem, ClientTLS(), "connect", "tls")
    assert [probe.result for probe in result.probes] == ["fail", "skip"]
    assert "TLS: certificate verify failed" in result.probes[0].finding


@pytest_twisted.ensureDeferred
async def test_a_slow_path_is_slow_and_not_broken():
    """It carries 20 kB a second, and all of them right."""

    class Slow:
        def __init__(self, transport: Any) -> None:
            self._transport, self._waiting = transport, b""
            self._loop = LoopingCall(self._send)
            self._loop.clock = reactor
            transport.protocol.connectionLost = lambda reason: self._loop.stop()
            transport.protocol.dataReceived = self._take
            self._loop.start(0.05)

        def _take(self, data: bytes) -> None:
            self._waiting += data

        def _send(self) -> None:
            self._transport.write(self._waiting[:1000])
            self._waiting = self._waiting[1000:]

    result = await against(met=Slow, only=("order",), timeout=0.5)
    probe = only(result)
    assert probe.result == "info"
    assert "came back as they were sent" in probe.finding
    assert result.ok


@pytest_twisted.ensureDeferred
async def test_what_is_changed_below_tls_is_said_in_its_words(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost").pem)
    where = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    async with serving(EchoFactory(log="quiet"), where) as address:
        relay = Relay(reactor, [address], FaultSpec(flip=40_000))
        endpoint = f"tls:localhost:{relay.listen()}:trustRoots={pem}"
        try:
            result = await within(Deferred.fromCoroutine(check(endpoint, only=("order",))))
        finally:
            await within(relay.stop())
    probe = only(result)
    assert "then TLS: " in probe.finding
    assert probe.cause == "what TLS protects was changed, lost or cut on the path"


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_wrong_is_no_silence():
    """The prefix changes while the connection is idle."""
    last: dict[Any, float] = {}

    def heard(transport: Any, data: bytes) -> None:
        rested = monotonic() - last.get(transport, monotonic()) > 0.15
        last[transport] = monotonic()
        transport.write((b"new> " if rested else b"old> ") + data)

    probe = only(await against(heard=heard, only=("idle",), skip=(), idle=(0.2,)))
    assert probe.result == "fail"
    assert "silence" not in probe.finding
    assert "new> " in probe.finding


@pytest_twisted.ensureDeferred
async def test_what_goes_on_after_the_fin_is_no_slow_path():
    class Talker:
        def __init__(self, transport: Any) -> None:
            self.loop = LoopingCall(transport.write, b"x" * 100)
            self.loop.clock = reactor
            directlyProvides(transport.protocol, IHalfCloseableProtocol)
            transport.protocol.readConnectionLost = lambda: self.loop.start(0.05)
            transport.protocol.writeConnectionLost = lambda: None
            transport.protocol.connectionLost = self._stop

        def _stop(self, reason: object) -> None:
            if self.loop.running:
                self.loop.stop()

    def heard(transport: Any, data: bytes) -> None:
        transport.write(data)

    probe = only(await against(met=Talker, heard=heard, only=("half-close",), timeout=2.0))
    assert probe.result == "fail"
    assert "not sent by the client" in probe.finding or "more bytes came" in probe.finding
    assert probe.seconds < 8
