"""``check`` reports how it connects, how long that takes, and why it cannot."""

from __future__ import annotations

import errno
import re
import socket
import threading
from time import monotonic
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from echosvc import EchoFactory, check
from echosvc.endpoints import client_endpoint
from echosvc.faults.relay import Relay
from echosvc.net.resolver import DaemonResolver
from echosvc.probe.check import Check
from echosvc.probe.engine.client import ProbeClient
from echosvc.probe.settings import CheckSettings
from tests.support.checking import only
from tests.support.lateness import Lateness
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT


@pytest_twisted.ensureDeferred
async def test_every_address_of_a_name_is_tried():
    """IPv4 alone is served: a client that takes the other address meets nobody."""
    async with serving(EchoFactory(log="quiet")) as (_, port):
        run = check(f"tcp:localhost:{port}", only=("connect",))
        probe = only(await within(Deferred.fromCoroutine(run)))
    known = {each["address"]: each["error"] for each in probe.facts["addresses"]}
    assert known["127.0.0.1"] == ""
    assert 0 < probe.facts["connect_seconds"] < LIMIT
    assert all(each["seconds"] >= 0 for each in probe.facts["addresses"])
    for address, error in known.items():
        verb = {"ECONNREFUSED": "refuses", "": "-"}.get(error, "cannot be reached")
        assert bool(error) == (f"{address} {verb} ({error})" in probe.finding)


class Counting(Protocol):
    """Echoes, and counts the connections that were made, and those of them that said something."""

    made = used = 0

    def connectionMade(self) -> None:
        type(self).made += 1
        self._used = False

    def dataReceived(self, data: bytes) -> None:
        type(self).used += not self._used
        self._used = True
        self.transport.write(data)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
@pytest_twisted.ensureDeferred
async def test_no_second_connection_is_made_to_the_address_that_is_in_use(name):
    """Beside the one of `connect` there are those of `echo`, which say something."""

    class Server(Counting):
        made = used = 0

    port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")
    try:
        run = check(f"tcp:{name}:{port.getHost().port}", only=("connect",))
        probe = only(await within(Deferred.fromCoroutine(run)))
    finally:
        await within(port.stopListening())
    assert probe.result == "pass"
    assert Server.made - Server.used == 1


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
        began = monotonic()
        run = check(f"tcp:localhost:{port}", only=("connect",))
        probe = only(await within(Deferred.fromCoroutine(run)))
        passed = monotonic() - began
    # If the one had the other in it, both together would be longer than all that was done.
    assert 0.4 <= probe.facts["lookup_seconds"] < passed - probe.facts["connect_seconds"]
    assert probe.facts["connect_seconds"] > 0
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
    before, late = reactor.installNameResolver(DaemonResolver(reactor)), Lateness()
    try:
        run = check("tcp:localhost:9", only=("connect",), timeout=1.0)
        probe = only(await within(Deferred.fromCoroutine(run)))
    finally:
        reactor.installNameResolver(before)
        released.set()
    assert probe.finding == "no connection to localhost:9: the name is not resolved within 1 s"
    assert probe.cause == "the resolver (DNS) does not answer"
    assert asked == ["localhost"]
    assert 1.0 <= probe.seconds < 2.0 + late.seconds


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_connected_to_in_no_time(tmp_path):
    async with serving(EchoFactory(log="quiet"), f"unix:{tmp_path}/s"):
        run = check(f"unix:{tmp_path}/s", only=("connect", "rtt"))
        result = await within(Deferred.fromCoroutine(run))
    first, trips = result.probes
    assert 0 < first.facts["connect_seconds"] < LIMIT
    assert "Nagle" not in trips.finding  # there is no TCP
    assert "nagle_two_writes" not in trips.facts


@pytest_twisted.ensureDeferred
async def test_nobody_there():
    relay = Relay(reactor, [("127.0.0.1", 1)])
    port = relay.listen()
    await within(relay.stop())
    endpoint = f"tcp:127.0.0.1:{port}"
    check = Check(reactor, client_endpoint(reactor, endpoint), CheckSettings(), endpoint)
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
        check = Check(reactor, client_endpoint(reactor, endpoint), CheckSettings(), endpoint)
        result = await within(Deferred.fromCoroutine(check.run()))
    finally:
        await within(relay.stop())
    assert [probe.result for probe in result.probes[:2]] == ["pass", "fail"]
    assert "ended by RST" in result.probes[1].finding
