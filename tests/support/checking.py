"""A check against a path that breaks one thing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from echosvc import EchoFactory, check
from echosvc.endpoints import client_endpoint
from echosvc.faults.relay import Relay
from echosvc.faults.spec import FaultSpec
from echosvc.probe.check import Check
from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.probe.settings import MIB, CheckSettings
from echosvc.wire.template import Template
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT

#: Without what takes long by its nature.
FAST = ("late-answers", "server-fin", "reset", "idle", "find-idle")


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
        asked = CheckSettings(only=only, skip=(*skip, *(() if only else FAST)), **settings)
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


class Hostile(Protocol):
    """Does what its factory says."""

    def connectionMade(self) -> None:
        self.factory.live.append(self.transport)
        self.factory.met(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard(self.transport, data)


async def against(met: Any = None, heard: Any = None, **settings: Any) -> CheckResult:
    """Check a server that behaves like this."""
    factory: Any = Factory.forProtocol(Hostile)
    factory.live = []
    factory.met = met or (lambda transport: None)
    factory.heard = heard or (lambda transport, data: None)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        endpoint = f"tcp:127.0.0.1:{port.getHost().port}"
        settings = {"timeout": 1.0, "skip": FAST, "max_size": MIB, **settings}
        return await within(Deferred.fromCoroutine(check(endpoint, **settings)), 6 * LIMIT)
    finally:
        await within(port.stopListening())
        for transport in factory.live:  # one that is paused would never see its end
            transport.abortConnection()
