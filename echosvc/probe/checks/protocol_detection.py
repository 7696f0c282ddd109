"""Which protocol a server, or a middlebox, waits for that does not answer a first message.

Each one is spoken over a connection of its own. A protocol is named only if its answer came.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from OpenSSL import SSL

from echosvc._text import quote
from echosvc.net.addresses import address_to_header
from echosvc.net.hosts import split_host_port
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection, frame_message
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.protocols import TERMINAL_EDITED, TERMINAL_LINE, speaks_tls
from echosvc.probe.engine.receiving import MAX_ANSWER, receive_answer
from echosvc.wire.proxy_header import encode_header

_REQUEST = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
#: A line that is nothing but the first one.
_LINE = b"HELLO\r\n"


@dataclass(frozen=True)
class Protocol:
    """A protocol that a server may wait for.

    :ivar name: what was sent, in words.
    :ivar cause: what an answer proves.
    :ivar encode: returns what is sent over a connection.
    :ivar is_answer: whether something answers it.
    :ivar facts: the same for programs.
    """

    name: str
    cause: str
    encode: Callable[[ProbeConnection], bytes]
    is_answer: Callable[[bytes], bool]
    facts: dict[str, str] = field(default_factory=dict)


def protocols(path: Path) -> list[Protocol]:
    """Return those that a server behind this path may wait for; the first one that answers is it.

    A TLS server may answer HTTP, too: by HTTP.
    """
    known = [_http(path), _terminal()]
    if not path.context.encrypted:
        known.insert(0, _tls(path))
        if not isinstance(path.target.endpoint, ProxyingEndpoint):
            known += [_any_line(path), _proxy(path, 1), _proxy(path, 2)]
    return known


def _tls(path: Path) -> Protocol:
    cause = "TLS is expected: use an endpoint of the kind tls:"
    host = _host(path)
    return Protocol("a TLS ClientHello", cause, lambda _: client_hello(host), speaks_tls)


def _http(path: Path) -> Protocol:
    cause = "a server, or a middlebox, speaks HTTP and waits for a request"
    data = _REQUEST % _host(path).encode("ascii", "replace")
    return Protocol(
        "a request of HTTP", cause, lambda _: data, lambda came: came.startswith(b"HTTP/")
    )


def _terminal() -> Protocol:
    return Protocol(
        quote(TERMINAL_LINE),
        "a terminal (tty) is in the path: it waits for lines and edits them (socat: raw,echo=0)",
        lambda _: TERMINAL_LINE,
        lambda came: came.endswith(TERMINAL_EDITED),
    )


def _any_line(path: Path) -> Protocol:
    """Return a line that is no header: what takes any line first would take a header, too."""
    token, message = _first_message(path)
    return Protocol(
        f"{quote(_LINE)} and {quote(token)}",
        "the server, or a middlebox, takes the first line of each connection for something else: a"
        " login, a handshake or a header",
        lambda _: _LINE + message,
        lambda came: came.endswith(token) and _LINE.strip() not in came,
    )


def _first_message(path: Path) -> tuple[bytes, bytes]:
    """Return the first message, and the same as it is sent."""
    token = path.context.token + b"\n" * (path.settings.framing == "line")
    return token, frame_message(path.settings.framing, token)


def _proxy(path: Path, version: int) -> Protocol:
    token, message = _first_message(path)

    def encode(connection: ProbeConnection) -> bytes:
        transport = connection.client.transport
        source = address_to_header(transport.getHost())
        return encode_header(version, source, address_to_header(transport.getPeer())) + message

    def is_answer(came: bytes) -> bool:
        return came.endswith(token) and b"PROXY" not in came and b"QUIT" not in came

    name = f"a PROXY header (v{version})"
    cause = f"a server, or a middlebox, expects a PROXY header (--send-proxy v{version})"
    return Protocol(
        f"{name} and {quote(token)}", cause, encode, is_answer, {"proxy": f"v{version}"}
    )


def _host(path: Path) -> str:
    parts = split_host_port(path.target.name)
    return parts[0] if parts else "localhost"


def client_hello(host: str) -> bytes:
    """Return the first bytes of a TLS client that asks for ``host``."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    with suppress(UnicodeError):
        connection.set_tlsext_host_name(host.encode("idna"))
    connection.set_connect_state()
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(MAX_ANSWER)


class ProtocolTrial:
    """One protocol, spoken over its own connection.

    :ivar came: what came.
    :ivar answered: it was answered as the protocol demands.
    """

    def __init__(self, path: Path, protocol: Protocol) -> None:
        self._path, self.protocol = path, protocol
        self.came, self.answered = b"", False

    async def run(self) -> bool:
        """Speak, until there is an answer, or the connection ends; return whether there is one."""
        with suppress(Failed, ConnectionEnded):
            connection = await self._path.connect()
            connection.client.write(self.protocol.encode(connection)).addErrback(lambda _: None)
            self.came = await receive_answer(connection, self.protocol.is_answer)
            self.answered = self.protocol.is_answer(self.came)
        return self.answered

    def explain(self, failed: Failed) -> Failed:
        """Return a failure with the protocol that was answered as its cause."""
        answer = f"{self.protocol.name} was answered by {quote(self.came)}"
        facts = {**failed.facts, **self.protocol.facts}
        return Failed(f"{failed.finding}; {answer}", self.protocol.cause, facts=facts)
