"""One conversation of the command line's client: send, print what comes, judge it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, cast

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from echosvc._text import escaped
from echosvc.cli.output import OutputError, Sink
from echosvc.client import EchoClient, EchoClientFactory
from echosvc.config.schema import Config
from echosvc.endpoints.client import Target
from echosvc.net.connector import unresolved
from echosvc.net.errors import describe_error
from echosvc.tls.alerts import alert_advice
from echosvc.wire.framing import Utf8Decoder
from echosvc.wire.reply_matching import ReplyMatcher, StreamCounter
from echosvc.wire.template import Template
from echosvc.wire.unknown_prefix import (
    AnyPrefixReplyMatcher,
    AnyPrefixStreamCounter,
    SubsequenceMatcher,
)

#: Seconds; longer than any path lives.
FOR_EVER = 1e9
#: The message that stands for standard input.
STDIN = b"-"
_CHUNK = 65536
#: Where the prefix is not known: seconds without anything more, after which all has come.
QUIET = 0.5
#: Looked through for an answer between two turns of the reactor, bytes.
_SLICE = 4096
_Matcher = ReplyMatcher | AnyPrefixReplyMatcher
_Counter = StreamCounter | AnyPrefixStreamCounter


class TalkError(Exception):
    """The peer or the path failed; says how in one line."""


@dataclass(frozen=True)
class Manner:
    """How to talk.

    :ivar prefix: what the server puts before its replies; ``None``: nobody said.
    :ivar timeout: seconds of silence until it is reported; 0 = never.
    :ivar deadline: seconds without progress until we give up; 0 = never.
    :ivar text: whether replies are shown as UTF-8 text, else byte by byte.
    :ivar quiet: print the replies alone.
    :ivar raw: print the replies as they are.
    """

    prefix: Template | None = None
    timeout: float = 0.5
    deadline: float = 10.0
    text: bool = True
    quiet: bool = False
    raw: bool = False


def visible(text: str) -> str:
    """Give ``text`` with whatever could upset a terminal escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class Printer:
    """Standard output, as one conversation uses it.

    :raises OutputError: from every method, when it takes no more.
    """

    def __init__(self, name: str, manner: Manner, out: Sink) -> None:
        self._name = name
        self._manner = manner
        self._out = out
        self._decoder = Utf8Decoder()

    def event(self, *lines: str) -> None:
        """Say what happens, unless only replies are wanted."""
        if not (self._manner.quiet or self._manner.raw):
            self._write("".join(f"{line}\n" for line in lines).encode("utf-8"))

    def named(self, what: str, *lines: str) -> None:
        """Say what happens to this conversation."""
        self.event(f"{visible(self._name)} {what}", *lines)

    def reply(self, piece: bytes) -> None:
        """Print what came. Text waits until its last character is complete."""
        if self._manner.raw:
            self._write(piece)
        elif self._manner.text:
            self._show(self._decoder.decode(piece).decode("utf-8"))
        else:
            self._show(repr(piece)[2:-1])

    def end(self) -> None:
        """Print what an incomplete last character leaves."""
        self._show(self._decoder.end().decode("utf-8"))

    def _show(self, text: str) -> None:
        if text and self._manner.quiet:
            self._write(f"{visible(text)}\n".encode())
        elif text:
            self.named(f"From Server: {visible(text)}")

    def _write(self, data: bytes) -> None:
        try:
            self._out.write(data)
        except OSError as error:
            raise OutputError.of(error) from None


class _Client(EchoClient):
    """Reports silence."""

    printer: Printer

    printing_failed: OutputError | None = None

    def idle(self, seconds: float) -> None:  # noqa: ARG002
        """Say that nothing came; wait on, or end where it cannot be said."""
        try:
            self.printer.event("Socket Timed Out")
        except OutputError as error:  # nobody waits for this call, but for the connection
            self.printing_failed = error
            self.abort()


class Talk:
    """One connection, its messages, and what comes back.

    :param reactor: what to run on.
    :param target: the server.
    :param name: who we are, for the output.
    :param out: where replies are printed.
    """

    def __init__(self, reactor: Any, target: Target, name: str, manner: Manner, out: Sink) -> None:
        self._reactor = reactor
        self._target = target
        self._manner = manner
        self._printer = Printer(name, manner, out)
        self._awaited = "an answer"
        self._stalled = False
        self._came = False  # something that is no answer
        self._returned: SubsequenceMatcher | _Counter = SubsequenceMatcher()
        self._streaming = False  # standard input is being sent

    async def run(self, messages: Sequence[bytes]) -> None:
        """Send the messages, each after the answer to the one before; end properly.

        :raises TalkError: no connection, an answer is missing, the connection broke.
        :raises OutputError: standard output takes no more.
        """
        client = await self._connected()
        watch = self._watch(client)
        try:
            await self._converse(client, messages)
        except Exception as error:
            raise client.printing_failed or self._explained(error) from None
        finally:
            watch.stop()
            client.abort()

    async def _connected(self) -> _Client:
        factory = EchoClientFactory(idle_timeout=self._manner.timeout, linger=FOR_EVER)
        factory.protocol = _Client
        attempt = self._target.endpoint.connect(factory)
        limit = self._reactor.callLater(self._manner.deadline or FOR_EVER, attempt.cancel)
        try:
            client = cast(_Client, await attempt)
        except Exception as error:
            where = self._target.where(error)
            if unresolved(error):
                why = f"Socket Error: {where}: the name was not resolved in time"
                raise TalkError(why) from None
            raise TalkError(f"Socket Error: connect {_named(error)} {where}") from None
        finally:
            if limit.active():
                limit.cancel()
        client.printer = self._printer
        return client

    async def _converse(self, client: _Client, messages: Sequence[bytes]) -> None:
        addresses = f"   local = {client.local}", f"   remote = {client.remote}"
        self._printer.named("Connected:", *addresses)
        try:
            for message in messages:
                await (self._stream(client) if message == STDIN else self._ask(client, message))
            self._awaited = "the server's end of the connection"
            client.finish()
            while piece := await client.receive():
                self._take(piece)
        finally:
            self._printer.end()
            self._printer.named("Client disconnected")
            self._printer.event("Socket Closed")

    def _take(self, piece: bytes) -> None:
        """Print what came."""
        self._returned.feed(piece)
        self._printer.reply(piece)

    async def _ask(self, client: _Client, message: bytes) -> None:
        """Send one message and print what comes until it is answered."""
        self._awaited = f"an answer to {escaped(message)}"
        prefix = self._manner.prefix
        answer = (
            AnyPrefixReplyMatcher(_usual(), message)
            if prefix is None
            else ReplyMatcher(prefix, message)
        )
        self._returned.send(message)
        client.write(message).addErrback(lambda _: None)  # receive() tells of it
        while not answer.complete:
            piece = await self._receive(client, answer)
            if piece is None:
                self._came = False
                return
            if not piece:
                raise TalkError(f"echosvc: the server ended before {self._awaited}")
            self._take(piece)
            await self._search(answer, piece)
            self._came = not answer.complete

    async def _receive(self, client: _Client, answer: _Matcher) -> bytes | None:
        """Give what comes next; ``None``: what came so far will do for an answer."""
        if not isinstance(answer, AnyPrefixReplyMatcher) or not answer.received:
            return await client.receive()
        try:
            piece = await client.receive().addTimeout(QUIET, self._reactor)
        except defer.TimeoutError:
            return None
        return piece or (b"" if answer.truncated else None)

    async def _search(self, answer: _Matcher, piece: bytes) -> None:
        """Look for the answer. Between slices timers run, whatever a server sends."""
        for start in range(0, len(piece), _SLICE):
            if start:
                await deferLater(self._reactor, 0)
            if answer.feed(piece[start : start + _SLICE]):
                return

    async def _stream(self, client: _Client) -> None:
        """Send standard input to its end, print what comes until the server's end."""
        self._awaited = "an answer to standard input"
        prefix = self._manner.prefix
        self._returned = tally = (
            AnyPrefixStreamCounter(_usual()) if prefix is None else StreamCounter(prefix)
        )
        self._streaming = True
        sending = Deferred.fromCoroutine(self._send_input(client, tally))
        failures: list[Failure] = []
        sending.addErrback(failures.append)
        sending.addCallback(lambda _: client.abort() if failures else None)
        try:
            while piece := await client.receive():
                self._take(piece)
                if sending.called and not client.half_closes and tally.complete:
                    client.finish()  # on TLS, where a FIN would end both directions
        except Exception:
            if failures:
                failures[0].raiseException()
            raise
        if not sending.called or failures:
            raise TalkError("echosvc: the server ended before it had all of standard input")
        _judge(tally)

    async def _send_input(self, client: _Client, tally: _Counter) -> None:
        reader = InputReader(self._reactor)
        while chunk := await reader.read():
            tally.send(chunk)
            await client.write(chunk)
        self._streaming = False
        if client.half_closes or tally.complete:
            client.finish()

    def _watch(self, client: _Client) -> LoopingCall:
        """End the connection when nothing gets on for the deadline.

        What nobody asked for does not count, or a server that sends without end would hold
        us for ever.
        """
        progress, since = (-1, -1), time.monotonic()

        def look() -> None:
            nonlocal progress, since
            now, before = time.monotonic(), progress
            progress = self._returned.returned, client.bytes_out - client.queued
            owed = not (self._streaming and self._returned.complete)
            if progress != before or not owed:
                since = now
            elif now - since >= self._manner.deadline > 0:
                self._stalled = True
                client.abort()

        watch = LoopingCall(look)
        watch.clock = self._reactor
        watch.start(min(0.25, self._manner.deadline / 5 or 0.25))
        return watch

    def _explained(self, error: Exception) -> Exception:
        if self._stalled:
            seconds = f"{self._manner.deadline:g} s"
            hint = ", though something came" if self._came else ""
            hint += ": is the prefix right?" if hint and self._manner.prefix else ""
            return TalkError(
                f"echosvc: {self._awaited} did not come: no progress for {seconds}{hint}"
            )
        if isinstance(error, (TalkError, OutputError)):
            return error
        return TalkError(f"Socket Error: {_named(error)} {self._target.name}")


def _named(error: BaseException) -> str:
    """Name what went wrong, with what can be done about it where that is known."""
    name = describe_error(error)
    advice = alert_advice(name)
    return f"{name} ({advice})" if advice else name


def _usual() -> Template:
    """The prefix of a server of which nothing else is said."""
    return Config().prefix_template()


def _judge(tally: _Counter) -> None:
    """Compare what came back with what was sent.

    :raises TalkError: it is more, or less.
    """
    if tally.has_extra:
        counts = f"{tally.payload} bytes came back for {tally.sent}"
        raise TalkError(f"echosvc: {counts}: some came twice, or others came in between")
    if not tally.complete:
        counts = f"{tally.payload} of {tally.sent} bytes came back"
        raise TalkError(f"echosvc: only {counts} before the server ended the connection")


class InputReader:
    """Standard input, read by a thread when asked: it may be a terminal, pipe or file.

    The thread does not keep the process alive.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._wanted: SimpleQueue[Deferred[bytes]] = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def read(self) -> Deferred[bytes]:
        """Give the next bytes; ``b""`` at the end. Fails with :class:`TalkError`."""
        result: Deferred[bytes] = Deferred()
        self._wanted.put(result)
        return result

    def _serve(self) -> None:
        while True:
            result = self._wanted.get()
            try:
                chunk = _read_input()
            except OSError as error:
                why = TalkError(
                    f"echosvc: standard input: {describe_error(error)} ({error.strerror})"
                )
                self._reactor.callFromThread(result.errback, why)
            else:
                self._reactor.callFromThread(result.callback, chunk)


def _read_input() -> bytes:
    """Read what standard input has; wait where the descriptor does not.

    :raises OSError: it cannot be read.
    """
    while True:
        try:
            return os.read(0, _CHUNK)
        except BlockingIOError:
            select.select([0], [], [])
