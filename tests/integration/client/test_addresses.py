"""Which addresses the client tries, and whom it asks for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
)
from twisted.internet.interfaces import IHostnameResolver
from zope.interface import implementer

from echosvc import EchoClientFactory, EchoFactory, Outcome, connect
from echosvc.endpoints import client_endpoint
from echosvc.net.connector import ATTEMPT_DELAY
from echosvc.net.errors import TLSError, describe_error
from tests.support.commands import echosvc, one_line
from tests.support.process import Server, environment
from tests.support.reactor import serving, turn, until, within
from tests.support.target import Asked, failed, fine, refusing, to
from tests.support.tls_files import Files
from tests.support.waiting import LIMIT


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows these names alone."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *_: Any
    ) -> None:
        for host in self.names.get(hostName, ()):
            kind = IPv6Address if ":" in host else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()


@contextmanager
def knowing(**names: list[str]) -> Iterator[None]:
    before = reactor.installNameResolver(Names(**names))
    try:
        yield
    finally:
        reactor.installNameResolver(before)


def descriptors() -> set[str]:
    """What this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def left_since(before: set[str]) -> set[str]:
    """What is left, in words: descriptors opened since then, and all timers."""
    return descriptors() - before | set(map(str, reactor.getDelayedCalls()))


#: Nobody answers there: it is of a network for documentation (RFC 5737).
SILENT = "192.0.2.1"


async def echoed(words: str, **more: Any) -> str:
    """Be a client of an echo server; the name of the server's address."""
    client = await within(connect(client_endpoint(reactor, words, **more).endpoint))
    client.write(b"hi")
    client.finish()
    assert await within(client.receive()) == b"> hi"
    assert await within(client.when_closed()) is Outcome.FINISHED
    return client.remote


def echo() -> EchoFactory:
    return EchoFactory(prefix=b"> ", log="quiet")


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_is_reported_at_once_and_with_its_address() -> None:
    port = refusing()
    with knowing(my_echo=["::1", "127.0.0.1"]):
        for host, where in (
            ("127.0.0.1", f"127.0.0.1:{port}"),
            ("[::1]", f"[::1]:{port}"),
            ("my_echo", f"127.0.0.1:{port}"),
        ):
            target, seconds = client_endpoint(reactor, f"{host}:{port}"), []
            for _ in range(5):
                began = time.monotonic()
                with pytest.raises(ConnectError) as caught:
                    await within(connect(target.endpoint))
                seconds.append(time.monotonic() - began)
                assert describe_error(caught.value) == "ECONNREFUSED"
                assert target.where(caught.value) == where
            assert min(seconds) < ATTEMPT_DELAY


@pytest_twisted.ensureDeferred
async def test_an_address_that_refuses_or_is_silent_does_not_keep_from_another() -> None:
    async with serving(echo()) as (host, port):
        with knowing(
            refusing=["::1", host], silent=[SILENT, host], last=[SILENT, "::1", SILENT, host]
        ):  # fmt: skip
            for name in ("refusing", "silent", "last"):
                assert await echoed(f"{name}:{port}") == f"{host}:{port}"


async def connect_in_every_way() -> None:
    """Connect, fail and cancel; fail where something is left. Needs a reactor of its own."""
    await turn()  # now the reactor runs, and has opened its own descriptors
    port, factory = refusing(), echo()
    async with serving(factory) as (host, served):
        with knowing(my_echo=["::1", host], nowhere=[], silent=[SILENT, host]):
            before = descriptors()
            await echoed(f"my_echo:{served}")
            for words in (f"my_echo:{port}", f"nowhere:{port}", f"tcp:[::1%nosuch0]:{port}"):
                with pytest.raises((ConnectError, DNSLookupError)):
                    await within(connect(client_endpoint(reactor, words).endpoint))
            for name in ("my_echo", "silent"):
                endpoint = client_endpoint(reactor, f"{name}:{served}").endpoint
                attempt = endpoint.connect(EchoClientFactory())
                attempt.cancel()
                with pytest.raises(ConnectingCancelledError):
                    await within(attempt)
            await within(factory.when_idle())
            with suppress(AssertionError):  # which does not say what is left
                await until(lambda: not left_since(before))
            assert not left_since(before), left_since(before)


#: A process has no timers and no descriptors of other tests.
ALONE = """
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from tests.integration.client.test_addresses import connect_in_every_way
react(lambda reactor: Deferred.fromCoroutine(connect_in_every_way()))
"""


def test_nothing_is_left_behind_whatever_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True, text=True, timeout=3 * LIMIT, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest_twisted.ensureDeferred
async def test_names_that_the_resolver_knows_are_good_enough() -> None:
    names = {each: ["127.0.0.1"] for each in ("my_echo", "_echo._tcp", "xn--bcher-kva.test")}
    async with serving(echo()) as (_, port):
        with knowing(**names):
            for name in ("my_echo", "_echo._tcp", "bücher.test", "BÜCHER.test"):
                assert await echoed(f"tcp:{name}:{port}") == f"127.0.0.1:{port}"


@pytest_twisted.ensureDeferred
async def test_a_zone_is_passed_on_to_the_kernel() -> None:
    need_ipv6()
    _, name = socket.if_nameindex()[0]
    async with serving(echo(), f"[::1%{name}]:0") as (_, port):
        for zone in (name, str(socket.if_nametoindex(name))):
            assert (await echoed(f"tcp:[::1%{zone}]:{port}")).startswith("[::1")


def need_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


#: The console script on a machine whose DNS servers do not answer.
WITHOUT_DNS = """
import socket, sys, threading
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
from echosvc.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["send", "demo"])
def test_a_name_that_is_not_resolved_in_time_does_not_keep_the_process(command: str) -> None:
    words = [command, "--to", "some.example:9000"]
    if command == "send":
        words += ["--deadline", "0.3", "hi"]
    else:
        words[-1] = "tcp:some.example:9000:timeout=1"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DNS, *words],
        capture_output=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert one_line(done.stderr) == (
        "Socket Error: some.example:9000: the name was not resolved in time"
    )
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_zone_that_is_not_there_is_one_line() -> None:
    said = failed("--to", "tcp:[fe80::1%nosuch0]:9000")
    assert said == (
        "Socket Error: connect ENODEV (there is no network interface 'nosuch0')"
        " [fe80::1%nosuch0]:9000\n"
    )


def test_a_final_dot_is_neither_asked_for_nor_verified(server: Server, files: Files) -> None:
    ca = "--ca", f"{files.place}/root.pem"
    fine(*to(server, "127.0.0.1"), *ca, "--server-name", "localhost.")
    with Asked() as asked:
        for name, sent in (
            ("other.example.", "other.example"),
            ("my_echo.", "my_echo"),
            ("BÜCHER.test.", "xn--bcher-kva.test"),
            ("127.0.0.1", None),
            ("fe80::1%lo", None),
        ):
            words = "--insecure", "--server-name", name
            echosvc("send", "--to", f"tls:localhost:{asked.port}", *words, "hi")
            assert asked.names.pop() == sent


@pytest_twisted.ensureDeferred
async def test_the_names_of_an_endpoint_are_verified_as_certificates_have_them(
    files: Files,
) -> None:
    hosts = ["localhost", "my_echo", "xn--bcher-kva.test", "::1"]
    pem = files.write("hosts.pem", files.of_server(*hosts))
    more = f"trustRoots={files.place}/root.pem"
    others = "localhost.", "xn--bcher-kva.test.", "my_other_echo"
    names = {each: ["127.0.0.1"] for each in (*hosts[1:3], *others)}
    async with serving(echo(), f"ssl:0:privateKey={pem}") as (_, port):
        with knowing(**names):
            for host in ("localhost.", "my_echo", "bücher.test", "BÜCHER.test.", "[::1%lo]"):
                await echoed(f"tls:{host}:{port}:{more}")
            with pytest.raises(TLSError):
                await echoed(f"tls:my_other_echo:{port}:{more}")
