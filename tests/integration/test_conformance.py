"""The promises of a stream, on every transport.

A new transport is one row of :data:`TRANSPORTS`: an endpoint, and the TLS layers of a peer.
"""

from __future__ import annotations

import itertools
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet.endpoints import (
    HostnameEndpoint,
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
)

from echosvc import TLSConnector, TLSListener, server_certificate
from echosvc.endpoints import client_endpoint, server_endpoint
from echosvc.faults.injector import FaultInjector
from echosvc.tls.context import client_options
from tests.support.certificates import issue
from tests.support.client import listening
from tests.support.conformance import PROMISES, Transport
from tests.support.stream_pair import Pair, client_pair, server_pair
from tests.support.tls_peer import context

Opening = Callable[..., AbstractAsyncContextManager[Pair]]
#: Makes one TLS layer of a peer from the directory of the certificate.
Layer = Callable[[Path], ssl.SSLContext]
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NUMBERS = itertools.count()


# -- the peers' TLS -----------------------------------------------------------


def client_layer(version: ssl.TLSVersion) -> Layer:
    return lambda _: context(minimum_version=version, maximum_version=version)


def server_layer(version: ssl.TLSVersion) -> Layer:
    def make(place: Path) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = made.maximum_version = version
        made.load_cert_chain(place / "pem")
        return made

    return make


# -- how a pair is opened -----------------------------------------------------


def served(endpoint: Callable[[Path], Any], *layers: Layer, answers_end: bool = False) -> Opening:
    """The server on ``endpoint``, and a client with these TLS layers."""

    def opened(place: Path, **settings: Any) -> AbstractAsyncContextManager[Pair]:
        contexts = [layer(place) for layer in layers]
        return server_pair(endpoint(place), contexts, answers_end, **settings)

    return opened


def injected(opening: Opening) -> Opening:
    """A server with a fault that concerns another connection."""

    def opened(place: Path, **settings: Any) -> AbstractAsyncContextManager[Pair]:
        injector = FaultInjector(reactor, "close,at=0,connection=1000000")
        return opening(place, injector=injector, **settings)

    return opened


def connected(endpoint: Callable[[Path, Any], Any], *layers: Layer, family: str = "tcp") -> Opening:
    """The client of ``endpoint``, and a server with these TLS layers."""

    def opened(place: Path, **settings: Any) -> AbstractAsyncContextManager[Pair]:
        listener = listening("tcp" if family == "tcp" else unix_path(place), 4096)
        to = endpoint(place, listener.getsockname())
        return client_pair(listener, to, [layer(place) for layer in layers], **settings)

    return opened


def unix_path(place: Path) -> str:
    return str(place / f"s{next(NUMBERS)}")


def tcp(_: Path) -> Any:
    return server_endpoint(reactor, "tcp:0:interface=127.0.0.1")


def unix(place: Path) -> Any:
    return server_endpoint(reactor, f"unix:{unix_path(place)}")


def tls(place: Path, below: Callable[[Path], Any] = tcp) -> Any:
    return TLSListener(below(place), server_certificate(str(place / "pem")))


def twisted_tcp(_: Path) -> Any:
    return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")


def twisted_tls(place: Path) -> Any:
    options = twisted_ssl.PrivateCertificate.loadPEM((place / "pem").read_bytes()).options()
    return SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1")


def to_tcp(_: Path, address: Any) -> Any:
    return client_endpoint(reactor, "tcp:{}:{}".format(*address)).endpoint


def to_unix(_: Path, address: Any) -> Any:
    return client_endpoint(reactor, f"unix:{address}").endpoint


def to_hostname(_: Path, address: Any) -> Any:
    return HostnameEndpoint(reactor, *address)


def to_tls(place: Path, address: Any, below: Callable[[Path, Any], Any] = to_tcp) -> Any:
    options = client_options("localhost", roots=str(place / "pem"))
    return TLSConnector(reactor, below(place, address), options)


C12, C13, S12, S13 = client_layer(V12), client_layer(V13), server_layer(V12), server_layer(V13)
tls_in_tls, to_tls_in_tls = partial(tls, below=tls), partial(to_tls, below=to_tls)
tls_on_twisted, to_tls_by_name = partial(tls, below=twisted_tcp), partial(to_tls, below=to_hostname)

TRANSPORTS = (
    Transport("TCP", served(tcp)),
    Transport("TCP with faults that never happen", injected(served(tcp))),
    Transport("TLS 1.3 with faults that never happen", injected(served(tls, C13))),
    Transport("UNIX", served(unix), resets=False),
    Transport("TLS 1.2", served(tls, C12)),
    Transport("TLS 1.3", served(tls, C13)),
    Transport("TLS in TLS", served(tls_in_tls, C13, C13)),
    Transport("TCP4ServerEndpoint", served(twisted_tcp)),
    Transport("TLS 1.3 on TCP4ServerEndpoint", served(tls_on_twisted, C13)),
    Transport("SSL4ServerEndpoint", served(twisted_tls, C13, answers_end=True), half_closes=False),
    Transport("client: TCP", connected(to_tcp), is_server=False),
    Transport("client: UNIX", connected(to_unix, family="unix"), resets=False, is_server=False),
    Transport("client: TLS 1.2", connected(to_tls, S12), is_server=False),
    Transport("client: TLS 1.3", connected(to_tls_by_name, S13), is_server=False),
    Transport("client: TLS in TLS", connected(to_tls_in_tls, S13, S13), is_server=False),
    Transport("client: HostnameEndpoint", connected(to_hostname), is_server=False),
)


CASES = [
    pytest.param(row, name, id=f"{row.name}-{name}")
    for row in TRANSPORTS
    for name, (_, given) in PROMISES.items()
    if given(row)
]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with a certificate for localhost, whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="echo") as directory:
        path = Path(directory)
        (path / "pem").write_bytes(issue("localhost").pem)
        yield path


# What Twisted passes to pyOpenSSL is not our concern.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest.mark.parametrize(("transport", "name"), CASES)
@pytest_twisted.ensureDeferred
async def test_every_transport_keeps_every_promise(
    transport: Transport, name: str, place: Path
) -> None:
    kept, _ = PROMISES[name]
    await kept(replace(transport, open=partial(transport.open, place)))
