"""A session of ``echosvc send``: one connection, its messages and the replies to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from echosvc._text import escaped, printable, quote
from echosvc.cli.stall_timer import StallTimer
from echosvc.cli.standard_input import InputError, InputReader
from echosvc.cli.terminal import OutputError, Sink
from echosvc.client import EchoClient, EchoClientFactory
from echosvc.config.schema import Config
from echosvc.endpoints.client import ClientTarget
from echosvc.net.connector import unresolved
from echosvc.net.errors import (
    VerificationError,
    describe_error,
    is_network_error,
    is_program_error,
    with_report,
)
from echosvc.net.socket_options import take_error
from echosvc.tls.alerts import alert_advice, handshake_advice
from echosvc.tls.endpoints import TLSConnector
from echosvc.wire.framing import Utf8Decoder
from echosvc.wire.reply_matching import ReplyMatcher, StreamCounter
from echosvc.wire.template import Template
from echosvc.wire.unknown_prefix import (
    AnyPrefixReplyMatcher,
    AnyPrefixStreamCounter,
    SubsequenceMatcher,
)

#: Seconds; longer than any connection lives.
NO_TIMEOUT = 1e9
#: The message that stands for standard input.
STDIN = b"-"
#: When the prefix is not known: seconds without data after which a reply is complete.
QUIET_TIME = 0.5
#: Bytes that are searched for a reply in one turn of the reactor.
_SLICE = 4096
#: Bytes of the received data that are kept for an error message: more than it quotes.
_KEPT = 64
#: How a TLS alert begins (RFC 8446, 5.1 and 6).
_TLS_ALERT = b"\x15\x03"
_Matcher = ReplyMatcher | AnyPrefixReplyMatcher
_Counter = StreamCounter | AnyPrefixStreamCounter


class SendError(Exception):
    """The peer or the path failed; the message is the line to print."""


@dataclass(frozen=True)
class SendOptions:
    """How messages are sent and replies are printed.

    :ivar prefix: what the server puts before its replies; ``None``: it is not known.
    :ivar timeout: seconds without data until that is reported; 0 = never.
    :ivar deadline: seconds without progress until the session fails; 0 = never.
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


class Printer:
    """Prints the events and replies of one session.

    :raises OutputError: from every method, when standard output takes no more.
    """

    def __init__(self, name: str, options: SendOptions, out: Sink) -> None:
        self._name = name
        self._options = options
        self._out = out
        self._decoder = Utf8Decoder()

    def event(self, *lines: str) -> None:
        """Print an event, unless only replies are wanted."""
        if not (self._options.quiet or self._options.raw):
            self._out.write("".join(f"{line}\n" for line in lines).encode("utf-8"))

    def named(self, what: str, *lines: str) -> None:
        """Print an event with the name of the session."""
        self.event(f"{printable(self._name)} {what}", *lines)

    def reply(self, piece: bytes) -> None:
        """Print received data. Text waits until its last character is complete."""
        if self._options.raw:
            self._out.write(piece)
        elif self._options.text:
            self._show(self._decoder.decode(piece).decode("utf-8"))
        else:
            self._show(repr(piece)[2:-1])

    def end(self) -> None:
        """Print what is left of an incomplete last character."""
        self._show(self._decoder.end().decode("utf-8"))

    def _show(self, text: str) -> None:
        if text and self._options.quiet:
            self._out.write(f"{printable(text)}\n".encode())
        elif text:
            self.named(f"From Server: {printable(text)}")


class _Client(EchoClient):
    """A client that reports idle time.

    :ivar output_error: an error of standard output that :meth:`idle` met.
    """

    printer: Printer
    output_error: OutputError | None = None

    def take_soft_error(self) -> str:
        """Return the name of an error that the kernel noted while it went on trying; "": none.

        Such as that of an ICMP message (tcp(7), "soft error").
        """
        handle = self.sender.socket
        return take_error(handle) if handle is not None else ""

    def idle(self, seconds: float) -> None:  # noqa: ARG002
        """Report that nothing came; abort when that cannot be printed."""
        try:
            self.printer.event("Socket Timed Out")
        except OutputError as error:  # raised here it would only be logged
            self.output_error = error
            self.abort()


class SendSession:
    """One connection: the messages, and the replies to them.

    :param reactor: the reactor to run on.
    :param target: the server.
    :param name: the name of the session in the output.
    :param out: takes what is printed.
    """

    def __init__(
        self, reactor: Any, target: ClientTarget, name: str, options: SendOptions, out: Sink
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._options = options
        self._printer = Printer(name, options, out)
        self._waiting_for = "an answer"
        self._stalled, self._reported = False, ""
        self._unmatched_data = False  # received, but no reply
        self._received_first = b""  # since the last message was sent, cut
        self._counter: SubsequenceMatcher | _Counter = SubsequenceMatcher()
        self._streaming = False  # standard input is being sent

    async def run(self, messages: Sequence[bytes]) -> None:
        """Send each message after the reply to the one before, then finish and wait for EOF.

        :raises SendError: no connection, a reply is missing, or the connection failed.
        :raises OutputError: standard output takes no more.
        """
        client = await self._connected()
        stall_timer = StallTimer(
            self._reactor,
            self._options.deadline,
            lambda: self._progress(client),
            lambda: self._fail_as_stalled(client),
        )
        stall_timer.start()
        try:
            await self._exchange_all(client, messages)
        except Exception as error:
            raise client.output_error or self._describe_failure(error) from None
        finally:
            stall_timer.stop()
            client.abort()

    async def _connected(self) -> _Client:
        factory = EchoClientFactory(idle_timeout=self._options.timeout, linger=NO_TIMEOUT)
        factory.protocol = _Client
        attempt = self._target.endpoint.connect(factory)
        limit = self._reactor.callLater(self._options.deadline or NO_TIMEOUT, attempt.cancel)
        try:
            client = cast(_Client, await attempt)
        except Exception as error:
            if is_program_error(error):
                raise
            where = self._target.where(error)
            if unresolved(error):
                why = f"Socket Error: {where}: the name was not resolved in time"
                raise SendError(why) from None
            why = _with_handshake_advice(error)
            if self._target.tcp is not None:
                why = with_report(why)
            raise SendError(f"Socket Error: connect {why} {where}") from None
        finally:
            if limit.active():
                limit.cancel()
        client.printer = self._printer
        return client

    async def _exchange_all(self, client: _Client, messages: Sequence[bytes]) -> None:
        addresses = f"   local = {client.local}", f"   remote = {client.remote}"
        self._printer.named("Connected:", *addresses)
        try:
            for message in messages:
                await (self._stream(client) if message == STDIN else self._request(client, message))
            self._waiting_for = "the server's end of the connection"
            client.finish()
            while piece := await client.receive():
                self._received(piece)
        finally:
            self._printer.end()
            self._printer.named("Client disconnected")
            self._printer.event("Socket Closed")

    def _received(self, piece: bytes) -> None:
        """Count and print received data."""
        self._counter.feed(piece)
        self._received_first += piece[: _KEPT - len(self._received_first)]
        self._printer.reply(piece)

    async def _request(self, client: _Client, message: bytes) -> None:
        """Send one message, and print what comes until its reply is complete."""
        self._waiting_for = f"an answer to {escaped(message)}"
        self._received_first = b""
        prefix = self._options.prefix
        answer = (
            AnyPrefixReplyMatcher(_default_prefix(), message)
            if prefix is None
            else ReplyMatcher(prefix, message)
        )
        self._counter.send(message)
        client.write(message).addErrback(lambda _: None)  # receive() raises the same
        while not answer.complete:
            piece = await self._receive(client, answer)
            if piece is None:
                self._unmatched_data = False
                return
            if not piece:
                hint = self._tls_hint(client)
                raise SendError(f"echosvc: the server sent EOF before {self._waiting_for}{hint}")
            self._received(piece)
            await self._search(answer, piece)
            self._unmatched_data = not answer.complete

    async def _receive(self, client: _Client, answer: _Matcher) -> bytes | None:
        """Return the next data; ``None``: the reply, of unknown prefix, is complete."""
        if not isinstance(answer, AnyPrefixReplyMatcher) or not answer.received:
            return await client.receive()
        try:
            piece = await client.receive().addTimeout(QUIET_TIME, self._reactor)
        except defer.TimeoutError:
            return None
        return piece or (b"" if answer.truncated else None)

    async def _search(self, answer: _Matcher, piece: bytes) -> None:
        """Search for the reply. Between slices timers run, however much a server sends."""
        for start in range(0, len(piece), _SLICE):
            if start:
                await deferLater(self._reactor, 0)
            if answer.feed(piece[start : start + _SLICE]):
                return

    async def _stream(self, client: _Client) -> None:
        """Send standard input to its end, and print what comes until EOF."""
        self._waiting_for = "an answer to standard input"
        prefix = self._options.prefix
        self._counter = counter = (
            AnyPrefixStreamCounter(_default_prefix()) if prefix is None else StreamCounter(prefix)
        )
        self._streaming = True
        sending = Deferred.fromCoroutine(self._send_input(client, counter))
        failures: list[Failure] = []
        sending.addErrback(failures.append)
        sending.addCallback(lambda _: client.abort() if failures else None)
        try:
            while piece := await client.receive():
                self._received(piece)
                if sending.called and not client.half_closes and counter.complete:
                    client.finish()  # on TLS, where a FIN would end both directions
        except Exception:
            if failures:
                failures[0].raiseException()
            raise
        if not sending.called or failures:
            raise SendError("echosvc: the server sent EOF before all of standard input was sent")
        _compare_counts(counter)

    async def _send_input(self, client: _Client, counter: _Counter) -> None:
        reader = InputReader(self._reactor)
        while chunk := await reader.read():
            counter.send(chunk)
            await client.write(chunk)
        self._streaming = False
        if client.half_closes or counter.complete:
            client.finish()

    def _progress(self, client: _Client) -> tuple[int, int] | None:
        """Return figures that grow with progress; ``None``: no reply is due.

        Data that is no reply is no progress: a server may send it without end.
        """
        if self._streaming and self._counter.complete:
            return None
        return self._counter.returned, client.bytes_out - client.queued

    def _fail_as_stalled(self, client: _Client) -> None:
        self._stalled, self._reported = True, client.take_soft_error()
        client.abort()

    def _describe_failure(self, error: Exception) -> Exception:
        """Return what to report: a failure of the path, or else the error itself."""
        own = SendError, OutputError, InputError
        if not (isinstance(error, own) or is_network_error(error)):
            return error
        if self._stalled:
            seconds = f"{self._options.deadline:g} s"
            reported = f": {with_report(self._reported)}" if self._reported else ""
            why = f"no progress for {seconds}{reported}{self._unmatched_hint()}"
            return SendError(f"echosvc: {self._waiting_for} did not come: {why}")
        if isinstance(error, own):
            return error
        return SendError(f"Socket Error: {_with_advice(error)} {self._target.name}")

    def _unmatched_hint(self) -> str:
        """Return what came in place of a reply, and the prefix of a reply if it was given."""
        if not self._unmatched_data:
            return ""
        prefix, came = self._options.prefix, f"came {quote(self._received_first)}"
        expected = f"expected prefix {quote(prefix.describe())}, " if prefix else ""
        return f", though other data came: {expected}{came}"

    def _tls_hint(self, client: _Client) -> str:
        """Return what to do about a server that ends plain connections as a TLS server does."""
        if self._target.tcp is None or isinstance(self._target.endpoint, TLSConnector):
            return ""
        if self._received_first.startswith(_TLS_ALERT):
            return ": it expects TLS (tls:HOST:PORT)"
        return "" if client.bytes_in else ": does it expect TLS (tls:HOST:PORT)?"


def _with_handshake_advice(error: BaseException) -> str:
    """Return the name of an error of connecting, and its likeliest cause if TLS failed."""
    name = describe_error(error)
    if isinstance(error, VerificationError) or not name.startswith("TLS"):
        return name
    return f"{name} ({handshake_advice(name)})"


def _with_advice(error: BaseException) -> str:
    """Return the name of an error, and what can be done about it when that is known."""
    name = describe_error(error)
    advice = alert_advice(name)
    return f"{name} ({advice})" if advice else name


def _default_prefix() -> Template:
    """Return the prefix that a server has by default."""
    return Config().prefix_template()


def _compare_counts(counter: _Counter) -> None:
    """Compare the number of bytes that came back with the number sent.

    :raises SendError: they differ.
    """
    if counter.has_extra:
        counts = f"{counter.payload} bytes came back for {counter.sent}"
        raise SendError(f"echosvc: {counts}: some were repeated, or others were inserted")
    if not counter.complete:
        counts = f"{counter.payload} of {counter.sent} bytes came back"
        raise SendError(f"echosvc: only {counts} before the server sent EOF")
