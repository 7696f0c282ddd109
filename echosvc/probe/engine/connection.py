"""One connection over a path: what goes out, what comes, and whether that is right."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from echosvc._text import quote
from echosvc.net.errors import TLSError, describe_error
from echosvc.probe.engine.client import ProbeClient
from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.findings import Failed, told
from echosvc.probe.engine.payload import Source
from echosvc.probe.engine.prefix_detection import (
    TOKEN,
    learned,
    no_answer,
    one_answer,
    recognized,
    unframed,
    without_header,
)
from echosvc.probe.engine.verifier import Verifier
from echosvc.wire.prefix_matching import PrefixMatcher
from echosvc.wire.template import Template

#: Sent at once, bytes; with ``length`` framing, in messages of :data:`FRAME`.
PIECE = 65536
FRAME = 16384
#: The same where many connections send at once: the first reply of any comes only once a whole
#: message is there, and a slow link carries parts of all of them by turns.
SMALL_FRAME = 4096
#: How long the other side's end is waited for, seconds.
PARTING = 1.0
#: After a wrong byte, what comes in so many seconds must do to say what happened.
ENOUGH = 2.0
#: Longest greeting and prefix that are waited for, bytes.
_LONGEST = 65536


class Ended(Exception):
    """The connection ended; how: ``FIN``, ``RST``, ``silence``, or TLS's words."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Unanswered(Failed):
    """A message was not answered.

    :ivar how: the connection's end, as in :class:`Ended`.
    :ivar came: what came instead.
    :ivar trip: seconds of a round trip to where the connection was made, at least.
    """

    def __init__(self, finding: str, cause: str, how: str, came: bytes, trip: float) -> None:
        super().__init__(finding, cause)
        self.how, self.came, self.trip = how, came, trip


class Line:
    """One connection over the path.

    :ivar mark: what stands before replies on it.
    :ivar prefix: the first reply's.
    :ivar heard: bytes that came.
    :ivar said: bytes that went out before the stream that is verified.
    :ivar trip: seconds that the last question and its answer took.
    :ivar frame: bytes of a message, with ``length`` framing.
    """

    frame = FRAME

    def __init__(self, context: ProbeContext, client: ProbeClient) -> None:
        self._context = context
        self.client = client
        self.mark = PrefixMatcher(Template.literal(b""))
        self.prefix = b""
        self.template = Template.literal(b"")
        self.heard = self.said = 0
        self._settled = True  # what was sent has come back
        self._taken = 0  # bytes that the other side had taken when that was looked at
        self.trip = 0.0

    def close(self) -> None:
        """End politely where nothing is due any more, so that the server has no reset to report.

        Otherwise, and where the other side does not end for :data:`PARTING` seconds, at once.
        """
        client = self.client
        if not self._settled:
            client.abort()
            return
        client.finish()
        limit = self._context.reactor.callLater(PARTING, client.abort)
        client.when_closed().addCallback(lambda _: limit.active() and limit.cancel())

    # -- raw ------------------------------------------------------------------

    async def receive(self, seconds: float | None = None) -> bytes:
        """Give what comes next.

        :param seconds: so long it is waited for here; ``None``: until nothing has come on any of
            the path's connections for the time-out.
        :raises Ended: nothing came in time, or an end did.
        """
        context, waiting = self._context, self.client.receive()
        if seconds is None:
            context.progress.bound(waiting)
        elif not waiting.called:
            waiting.addTimeout(seconds, context.reactor)
        try:
            data = await waiting
        except defer.TimeoutError:
            raise Ended("silence") from None
        except CancelledError:
            raise
        except Exception as error:
            raise Ended(self._named(error)) from None
        if not data:
            raise Ended("FIN")
        self.heard += len(data)
        return data

    def _named(self, error: Exception) -> str:
        """How a connection broke. Only a socket has resets; a process, for one, has a status."""
        if isinstance(error, TLSError):
            return str(error)
        if self.client.had_socket:
            return "RST"
        return "an unclean end" if isinstance(error, ConnectionLost) else describe_error(error)

    def sends(self) -> bool:
        """Whether some of a long message was taken since this was asked last, and some is left.

        A short one may be taken by what is dead behind its kernel.
        """
        left = self.client.unsent
        before, self._taken = self._taken, self.client.bytes_out - left
        return left > 0 and self._taken > before

    @property
    def due(self) -> int:
        """Bytes that were sent and may still come back, or be on their way."""
        client = self.client
        if self._settled or client.reason is not None:
            return 0
        return max(0, client.bytes_out - client.queued - client.bytes_in)

    def write(self, message: bytes) -> Deferred[None]:
        """Send one message, framed; fires when more may be sent."""
        return self.client.write(framed(self._context.settings.framing, message))

    async def put(self, message: bytes) -> bool:
        """Send one message, and wait until more may be sent.

        :return: ``False``: the connection has ended. :meth:`receive` says how.
        """
        try:
            await self.write(message)
        except CancelledError:
            raise
        except Exception:
            return False
        return True

    # -- learning -------------------------------------------------------------

    async def ask(self, token: bytes = TOKEN) -> bytes:
        """Send a token; give what comes before it.

        :raises Failed: it does not come back.
        """
        self._settled = False
        token += b"\n" * (self._context.settings.framing == "line")
        self.write(token).addErrback(_ignored)
        self.said += len(framed(self._context.settings.framing, token))
        came, began = b"", monotonic()
        try:
            while not came.endswith(token):
                came += await self.receive()
                if len(came) > _LONGEST:
                    raise Failed(f"{len(came)} bytes came, and no answer to {quote(token)} in them")
        except Ended as end:
            known = self._context.template is not None
            words = no_answer(
                end.how, came, token, self._context.settings, known, self._context.encrypted
            )
            made = self.client.handshake
            raise Unanswered(*words, end.how, came, made.seconds if made else 0.0) from None
        self.trip = monotonic() - began
        self._settled = True
        return came[: -len(token)]

    async def greet(self) -> None:
        """Learn this connection's prefix.

        :raises Failed: there is no answer, or it is not of the form that was given.
        """
        before = await self.ask()
        context = self._context
        if context.template is None:
            context.template, context.greeting = self._learned(before, await self._second(before))
        self.template, self.prefix = recognized(
            context.settings, context.template, context.greeting, before
        )
        self.use(frozenset())

    async def _second(self, before: bytes) -> bytes:
        """Send another token; give what comes before it.

        :param before: what came before the first one.
        :raises Failed: it does not come back. No framing is to blame: the first one did.
        """
        try:
            return await self.ask()
        except Unanswered as failed:
            settings = self._context.settings
            whole = TOKEN + b"\n" * (settings.framing == "line")
            words = one_answer(failed.how, before + whole, failed.came, settings.timeout)
            raise Failed(*words) from None

    def _learned(self, first: bytes, second: bytes) -> tuple[Template, bytes]:
        """Give prefix and greeting; ``first`` and ``second``: what came before two tokens."""
        settings = self._context.settings
        strange = unframed(settings.framing, second)
        try:
            known = learned(settings, first, without_header(second, settings.framing))
        except Failed as failed:
            raise (strange if strange and strange.facts else failed) from None
        if strange is not None:
            raise strange
        return known

    def use(self, sizes: frozenset[int]) -> None:
        """Expect replies to messages of these sizes."""
        headers = sizes if self._context.settings.framing == "length" else frozenset()
        self.mark = PrefixMatcher(self.template, headers)

    # -- streams --------------------------------------------------------------

    async def exchange(self, payload: Source) -> Verifier:
        """Send a payload, and verify it as it comes back.

        :raises Failed: what came is wrong, or not all of it came.
        """
        verifier = self.verifier(payload)
        sending = self.send(payload)
        try:
            await self.verify(verifier)
        finally:
            sending.addErrback(_ignored)
            sending.cancel()
        return verifier

    def verifier(self, payload: Source) -> Verifier:
        """What verifies it, given how it is cut into messages."""
        self._settled = False
        framing = self._context.settings.framing
        self.use(frozenset(map(len, pieces(payload, framing, self.frame, sample=True))))
        every = {"line": payload.line, "length": self.frame}.get(framing, 0)
        return self._context.track(Verifier(payload, self.mark, every))

    def send(self, payload: Source, finish: bool = False) -> Deferred[None]:
        """Send it as fast as the path takes it; ``finish``: and FIN right behind it."""
        return Deferred.fromCoroutine(self._send(payload, finish))

    async def _send(self, payload: Source, finish: bool) -> None:
        for piece in pieces(payload, self._context.settings.framing, self.frame):
            if not await self.put(piece):
                return
        if finish:
            self.client.finish()

    async def verify(self, verifier: Verifier) -> None:
        """Take what comes until all is there.

        :raises Failed: something is wrong with it.
        """
        how, found = "", 0.0
        while not (verifier.complete or verifier.fault):
            try:
                verifier.feed(await self.receive(1.0 if verifier.wrong else None))
            except Ended as end:
                how = end.how
                verifier.end()
            if verifier.wrong:
                found = found or monotonic()
                if monotonic() > found + ENOUGH:
                    verifier.judge()
        if verifier.fault is not None:
            totals = self.heard, self.said + verifier.offset
            words = told(verifier.fault, how, self.prefix, totals)
            raise Failed(*words, fault=verifier.fault)
        self._settled = True

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


def pieces(payload: Source, framing: str, frame: int, sample: bool = False) -> Iterator[bytes]:
    """Cut a payload into messages; ``sample``: only those of different sizes."""
    size = frame if framing == "length" else PIECE
    offsets = range(0, payload.size, size)
    for offset in {0, offsets[-1]} if sample else offsets:
        yield payload.at(offset, size)


def framed(framing: str, message: bytes) -> bytes:
    """Give a message as it is sent."""
    return len(message).to_bytes(4, "big") + message if framing == "length" else message


def _ignored(_: Failure) -> None:
    """What receives tells of it."""
