"""The path that is looked at: connections over it, and what they carry."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from echosvc.client import EchoClient, EchoClientFactory
from echosvc.config import FRAMINGS
from echosvc.endpoints import Target
from echosvc.listeners import error_name
from echosvc.prefix import Template
from echosvc.probe.findings import Failed, shown, told
from echosvc.probe.marks import Mark, bound
from echosvc.probe.payload import Payload, Source
from echosvc.probe.verify import Verifier

MIB = 1024 * 1024
#: Sent at once, bytes; with ``length`` framing, in messages of :data:`FRAME`.
PIECE = 65536
FRAME = 16384
#: What the prefix is learned with: one byte, which no path can cut.
TOKEN = b"~"
#: How PROXY headers begin, of both versions.
_HEADERS = (b"PROXY TCP", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n")
#: Longest greeting and prefix that are waited for, bytes.
_LONGEST = 65536
#: Nothing that a client does may end a connection before the probe does.
_FOR_EVER = 1e9


@dataclass(frozen=True)
class Settings:
    """What is asked of a path.

    :ivar prefix: the server's, where it need not be learned.
    :ivar framing: the server's.
    :ivar only: the probes to be made; none = all.
    :ivar skip: those that are not.
    :ivar idle: seconds for which a connection is to survive without a byte.
    :ivar find_idle: search for the path's idle time-out up to so many seconds; 0 = do not.
    :ivar connections: how many at once.
    :ivar timeout: seconds without any progress after which a probe has failed.
    :ivar max_size: of the longest stream, bytes.
    :ivar identity: the part of a prefix that says who answers, a regular expression.
    """

    prefix: Template | None = None
    framing: str = FRAMINGS[0]
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    idle: tuple[float, ...] = (1.0, 5.0, 30.0)
    find_idle: float = 0.0
    connections: int = 10
    timeout: float = 10.0
    max_size: int = 64 * MIB
    identity: str | None = None


class Ended(Exception):
    """The connection ended; how: ``FIN``, ``RST`` or ``silence``."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


@dataclass
class Path:
    """The path, and what is known of the server at its end.

    :ivar greeting: what the server says first.
    :ivar template: what stands before its replies; ``None``: not known yet.
    :ivar encrypted: TLS is spoken on it.
    """

    reactor: Any
    target: Target
    settings: Settings
    encrypted: bool = False
    greeting: bytes = b""
    template: Template | None = None
    seed: int = field(default_factory=lambda: random.getrandbits(30))
    _live: list[Line] = field(default_factory=list)

    async def connect(self, nagle: bool = False) -> Line:
        """Open a connection.

        :raises Failed: there is none.
        """
        factory = EchoClientFactory(
            clock=self.reactor, linger=_FOR_EVER, nagle=nagle, allow_half_open=True
        )
        attempt = self.target.endpoint.connect(factory)
        attempt.addTimeout(self.settings.timeout, self.reactor)
        try:
            client = cast(EchoClient, await attempt)
        except CancelledError:
            raise
        except Exception as error:
            raise Failed(*self._unreachable(error)) from None
        line = Line(self, client)
        self._live.append(line)
        return line

    async def open(self, nagle: bool = False) -> Line:
        """Open a connection and learn its prefix by a first exchange."""
        line = await self.connect(nagle)
        await line.greet()
        return line

    def payload(self, size: int, line: Line, stamped: bool = False) -> Payload:
        """Make something new to send, in which no prefix occurs."""
        self.seed += 1
        lines = self.settings.framing == "line"
        return Payload(size, self.seed, line.mark.first, lines, stamped)

    def close(self) -> None:
        """End all connections."""
        live, self._live = self._live, []
        for line in live:
            line.client.abort()

    @contextmanager
    def lines(self) -> Iterator[None]:
        """End what was opened within."""
        try:
            yield
        finally:
            self.close()

    def _unreachable(self, error: Exception) -> tuple[str, str]:
        where = self.target.name
        if isinstance(error, defer.TimeoutError):
            seconds = f"{self.settings.timeout:g} s"
            return (
                f"no connection to {where} within {seconds}",
                "a firewall that drops, or a full queue",
            )
        name = error_name(error)
        return f"no connection to {where}: {name}", _REASONS.get(name, "")


_REASONS = {
    "ECONNREFUSED": "nobody listens there, or a firewall refuses",
    "ECONNRESET": "something between takes connections and has nobody to pass them to",
    "EHOSTUNREACH": "no route, or a firewall refuses",
    "ENETUNREACH": "no route to that network",
    "ENOTFOUND": "no such name",
}


class Line:
    """One connection over the path.

    :ivar mark: what stands before replies on it.
    :ivar prefix: the first reply's.
    :ivar heard: bytes that came.
    :ivar said: bytes that went out before the stream that is verified.
    :ivar trip: seconds that the last question and its answer took.
    """

    def __init__(self, path: Path, client: EchoClient) -> None:
        self._path = path
        self.client = client
        self.mark = Mark(Template.literal(b""))
        self.prefix = b""
        self.template = Template.literal(b"")
        self.heard = self.said = 0
        self.trip = 0.0

    # -- raw ------------------------------------------------------------------

    async def receive(self, seconds: float | None = None) -> bytes:
        """Give what comes next.

        :raises Ended: nothing did for so long (default: the time-out), or an end came.
        """
        limit = self._path.settings.timeout if seconds is None else seconds
        waiting = self.client.receive().addTimeout(limit, self._path.reactor)
        try:
            data = await waiting
        except defer.TimeoutError:
            raise Ended("silence") from None
        except CancelledError:
            raise
        except Exception:
            raise Ended("RST") from None
        if not data:
            raise Ended("FIN")
        self.heard += len(data)
        return data

    def write(self, message: bytes) -> Deferred[None]:
        """Send one message, framed; fires when more may be sent."""
        return self.client.write(framed(self._path.settings.framing, message))

    # -- learning -------------------------------------------------------------

    async def ask(self, token: bytes = TOKEN) -> bytes:
        """Send a token; give what comes before it.

        :raises Failed: it does not come back.
        """
        token += b"\n" * (self._path.settings.framing == "line")
        self.write(token).addErrback(_ignored)
        self.said += len(framed(self._path.settings.framing, token))
        came, began = b"", monotonic()
        try:
            while not came.endswith(token):
                came += await self.receive()
                if len(came) > _LONGEST:
                    raise Failed(f"{len(came)} bytes came, and no answer to {shown(token)} in them")
        except Ended as end:
            raise Failed(*_no_answer(end.how, came, token, self._path.settings)) from None
        self.trip = monotonic() - began
        return came[: -len(token)]

    async def greet(self) -> None:
        """Learn this connection's prefix.

        :raises Failed: there is no answer, or it is not of the form that was given.
        """
        before = await self.ask()
        path = self._path
        if path.template is None:
            again = _without_header(await self.ask(), path.settings.framing)
            path.template, path.greeting = learned(path.settings, before, again)
        self.template, self.prefix = recognized(path, before)
        self.use(frozenset())

    def use(self, sizes: frozenset[int]) -> None:
        """Expect replies to messages of these sizes."""
        headers = sizes if self._path.settings.framing == "length" else frozenset()
        self.mark = Mark(self.template, headers)

    # -- streams --------------------------------------------------------------

    async def exchange(self, payload: Source, finish: bool = False) -> Verifier:
        """Send a payload, and verify it as it comes back.

        :param finish: send FIN right behind it.
        :raises Failed: what came is wrong, or not all of it came.
        """
        verifier = self.verifier(payload)
        sending = self.send(payload, finish)
        try:
            await self.verify(verifier)
        finally:
            sending.addErrback(_ignored)
            sending.cancel()
        return verifier

    def verifier(self, payload: Source) -> Verifier:
        """What verifies it, given how it is cut into messages."""
        self.use(frozenset(map(len, pieces(payload, self._path.settings.framing, sample=True))))
        return Verifier(payload, self.mark)

    def send(self, payload: Source, finish: bool = False) -> Deferred[None]:
        """Send it as fast as the path takes it."""
        return Deferred.fromCoroutine(self._send(payload, finish))

    async def _send(self, payload: Source, finish: bool) -> None:
        for piece in pieces(payload, self._path.settings.framing):
            await self.write(piece)
        if finish:
            self.client.finish()

    async def verify(self, verifier: Verifier) -> None:
        """Take what comes until all is there.

        :raises Failed: something is wrong with it.
        """
        how = ""
        while not (verifier.complete or verifier.fault):
            try:
                verifier.feed(await self.receive(1.0 if verifier.wrong else None))
            except Ended as end:
                how = end.how
                verifier.end()
        if verifier.fault is not None:
            totals = self.heard, self.said + verifier.offset
            words = told(verifier.fault, how, self.prefix, totals)
            raise Failed(*words, fault=verifier.fault)

    async def nothing_more(self, verifier: Verifier, seconds: float = 0.05) -> None:
        """Take note of what comes though everything has come already.

        :raises Failed: something does.
        """
        try:
            while True:
                verifier.feed(await self.receive(seconds))
                if verifier.wrong:
                    break
        except Ended:
            pass
        fault = verifier.end()
        if fault is not None:
            raise Failed(*told(fault, "", self.prefix), fault=fault)
        self.said += verifier.offset


def pieces(payload: Source, framing: str, sample: bool = False) -> Iterator[bytes]:
    """Cut a payload into messages; ``sample``: only those of different sizes."""
    size = FRAME if framing == "length" else PIECE
    offsets = range(0, payload.size, size)
    for offset in {0, offsets[-1]} if sample else offsets:
        yield payload.at(offset, size)


def framed(framing: str, message: bytes) -> bytes:
    """Give a message as it is sent."""
    return len(message).to_bytes(4, "big") + message if framing == "length" else message


def _without_header(before: bytes, framing: str) -> bytes:
    return before[4:] if framing == "length" else before


def learned(settings: Settings, first: bytes, second: bytes) -> tuple[Template, bytes]:
    """Give prefix and greeting, from what came before the first reply and before the second.

    :raises Failed: the prefix changes, or is not of the form that was given.
    """
    if any(header in first for header in _HEADERS):
        raise Failed(
            f"the PROXY header came back like a message: {shown(first)}",
            "the server, or what is before it, does not expect one",
        )
    header = 4 * (settings.framing == "length")
    if settings.prefix is not None:
        if bound(settings.prefix, second) is None:
            raise Failed(
                f"the prefix is {shown(second)}, which is not of the form that --prefix gives",
                "another server answers, or --prefix is wrong",
            )
        for start in range(len(first) - header + 1):
            if bound(settings.prefix, first[start + header :]) is not None:
                return settings.prefix, first[:start]
    if first.endswith(second):
        return Template.literal(second), first[: len(first) - len(second) - header]
    raise Failed(
        f"the prefix changes from reply to reply: {shown(first)}, then {shown(second)}",
        "give it with --prefix in the server's template syntax, such as '{message}: '",
    )


def recognized(path: Path, before: bytes) -> tuple[Template, bytes]:
    """Give the prefix of one connection, from what came before its first reply.

    :raises Failed: it is not of the form that was given.
    """
    header = 4 * (path.settings.framing == "length")
    assert path.template is not None  # noqa: S101 - it was learned before
    prefix = before.removeprefix(path.greeting)[header:]
    if path.settings.prefix is None:
        constant = path.template.constant or b""
        if path.greeting and not before.startswith(path.greeting) and before.endswith(constant):
            prefix = constant  # behind another greeting
        return Template.literal(prefix), prefix
    template = bound(path.template, prefix)
    starts = iter(range(len(before) - header + 1))
    while template is None and (start := next(starts, None)) is not None:
        prefix = before[start + header :]
        template = bound(path.template, prefix)
    if template is None:
        raise Failed(
            f"the prefix is {shown(prefix)} on another connection, not of the form that"
            " --prefix gives",
            "another server answers there",
        )
    return template, prefix


def _no_answer(how: str, came: bytes, token: bytes, settings: Settings) -> tuple[str, str]:
    what = f"what came is {shown(came)}" if came else "nothing came back"
    if how == "silence":
        why = f"no answer to {shown(token)} within {settings.timeout:g} s: {what}"
    else:
        why = f"the connection ended by {how} before an answer to {shown(token)}: {what}"
    return why, _cause(how, came)


def _cause(how: str, came: bytes) -> str:
    if came.startswith(b"HTTP/"):
        return "something between speaks HTTP, or this is no echo server"
    if came:
        return "another framing (--framing), or no echo server"
    if how == "silence":
        return "the far end does not answer; or another framing (--framing); or TLS is expected"
    return "something between has nobody to pass it to; or the server refuses; or TLS is expected"


def _ignored(_: Failure) -> None:
    """What receives tells of it."""
