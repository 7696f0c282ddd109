"""One connection over a path: what is sent, what comes, and whether that is right."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from echosvc._text import quote
from echosvc.net.errors import TLSError, describe_error, is_network_error
from echosvc.probe.engine.client import ProbeClient
from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import (
    FOREIGN_CAUSES,
    Failed,
    Unanswered,
    describe_fault,
    describe_foreign,
)
from echosvc.probe.engine.payload import AnyPayload, piece_sizes, split_payload
from echosvc.probe.engine.prefix_detection import (
    AnsweredOnce,
    describe_no_answer,
    describe_one_answer,
    detect_form,
    recognize_prefix,
)
from echosvc.probe.engine.sent_payloads import MIN_OWNED, SentPayload
from echosvc.probe.engine.silence import explain_by_kernel
from echosvc.probe.engine.verifier import Verifier
from echosvc.wire.prefix_matching import PrefixMatcher
from echosvc.wire.template import Template

#: Bytes of one write; with ``length`` framing, bytes of one message.
WRITE_SIZE = 65536
FRAME_SIZE = 16384
#: The same where many connections send at once: the first reply of each comes only once a whole
#: message is there, and a slow link carries parts of all of them by turns.
SMALL_FRAME_SIZE = 4096
#: How long the peer's end of a connection is waited for, seconds.
CLOSE_TIMEOUT = 1.0
#: Bytes of a first message that no middlebox waits to be longer.
LONG_MESSAGE = 64
#: The same once a peer has not ended within that time, seconds.
_SHORT_CLOSE_TIMEOUT = 0.1
#: After a wrong byte, seconds in which more must come to explain it.
DIAGNOSIS_TIME = 2.0
#: Longest greeting and prefix that are waited for, bytes.
_MAX_BEFORE_TOKEN = 65536
#: Faults whose bytes may have been sent on another connection.
_FOREIGN = (FaultKind.INSERTED, FaultKind.CHANGED, FaultKind.GARBLED)


class ConnectionEnded(Exception):
    """The connection ended.

    :ivar reason: ``FIN``, ``RST``, ``silence``, or the error of TLS.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProbeConnection:
    """One connection over a path.

    :param context: what it shares with the other connections of the path.
    :ivar prefix_matcher: recognises the prefix before replies on this connection.
    :ivar prefix: before the first reply.
    :ivar bytes_received: bytes that came.
    :ivar bytes_sent: bytes that were sent before the stream that is verified.
    :ivar rtt: seconds that the last request and its answer took.
    :ivar frame_size: bytes of a message, with ``length`` framing.
    :ivar connect_seconds: seconds until it was open.
    :ivar unread: what came before the first message.
    :ivar closing: :meth:`close` was called.
    """

    frame_size = FRAME_SIZE
    closing = False
    unread = b""
    connect_seconds = 0.0

    def __init__(self, context: ProbeContext, client: ProbeClient) -> None:
        self._context = context
        self.client = client
        self.prefix_matcher = PrefixMatcher(Template.literal(b""))
        self.prefix = b""
        self._template = Template.literal(b"")
        self.bytes_received = self.bytes_sent = self._requests = 0
        self._all_returned = True  # what was sent has come back
        self._taken = 0  # bytes that the peer had taken at the last is_sending()
        self._sent: list[SentPayload] = []
        self.rtt = 0.0

    @property
    def _framing(self) -> str:
        return self._context.settings.framing

    @property
    def _piece_size(self) -> int:
        """Bytes of each write; with ``length`` framing, of each message."""
        return self.frame_size if self._framing == "length" else WRITE_SIZE

    def close(self) -> None:
        """End the connection; if nothing is due on it, by FIN, so that the server sees no reset.

        Otherwise, and if the peer does not end within :data:`CLOSE_TIMEOUT` seconds, abort it.
        """
        if self.closing:
            return
        self.closing, client = True, self.client
        for sent in self._sent:
            sent.ended = True
        if not self._all_returned:
            client.abort()
            return
        client.finish()
        few = min(CLOSE_TIMEOUT, max(_SHORT_CLOSE_TIMEOUT, 3 * self.rtt))
        seconds = few if self._context.knowledge.fin_unanswered else CLOSE_TIMEOUT
        limit = self._context.reactor.callLater(seconds, self._abort_unanswered)
        client.when_closed().addCallback(lambda _: limit.active() and limit.cancel())

    def _abort_unanswered(self) -> None:
        """Abort, since no end came after the FIN; the later connections wait for a shorter time."""
        self._context.knowledge.fin_unanswered = True
        self.client.abort()

    @property
    def end(self) -> str:
        """How the connection ended, as :class:`ConnectionEnded` says it; "": it has not."""
        error = None if self.client.reason is None else self.client.reason.value
        if error is None:
            return ""
        return "FIN" if isinstance(error, ConnectionDone) else self._describe_end(error)

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended in both directions."""
        return self.client.reason is not None

    # -- bytes ----------------------------------------------------------------

    async def receive(self, seconds: float | None = None) -> bytes:
        """Return what comes next.

        :param seconds: how long to wait; ``None``: until nothing has come on any connection of
            the path for the time-out.
        :raises ConnectionEnded: nothing came in time, or the connection ended.
        """
        context, waiting = self._context, self.client.receive()
        if seconds is None:
            context.progress.limit(waiting)
        elif not waiting.called:
            waiting.addTimeout(seconds, context.reactor)
        try:
            data = await waiting
        except defer.TimeoutError:
            raise ConnectionEnded("silence") from None
        except CancelledError:
            raise
        except Exception as error:
            if not is_network_error(error):
                raise
            raise ConnectionEnded(self._describe_end(error)) from None
        if not data:
            raise ConnectionEnded("FIN")
        self.bytes_received += len(data)
        return data

    def _describe_end(self, error: BaseException) -> str:
        """Return how a connection broke.

        Only a socket has resets. A process, for example, has an exit status.
        """
        if isinstance(error, TLSError):
            return str(error)
        if self.client.had_socket:
            return "RST"
        return "an unclean end" if isinstance(error, ConnectionLost) else describe_error(error)

    def is_sending(self) -> bool:
        """Return whether the peer took some of a long message since the last call.

        A short message proves nothing: the kernel of a dead peer may take it.
        """
        left = self.client.unsent
        before, self._taken = self._taken, self.client.bytes_out - left
        return left > 0 and self._taken > before

    @property
    def bytes_due(self) -> int:
        """Bytes that were sent and have not come back, but still may."""
        client = self.client
        if self._all_returned or client.reason is not None:
            return 0
        return max(0, client.bytes_out - client.queued - client.bytes_in)

    def write(self, message: bytes) -> Deferred[None]:
        """Send one message, framed; the Deferred fires when more may be sent."""
        return self.client.write(frame_message(self._framing, message))

    async def send_message(self, message: bytes) -> bool:
        """Send one message, and wait until more may be sent.

        :return: ``False``: the connection has ended. :meth:`receive` raises the reason.
        """
        try:
            await self.write(message)
        except CancelledError:
            raise
        except Exception as error:
            if not is_network_error(error):
                raise
            return False
        return True

    # -- the prefix -----------------------------------------------------------

    async def listen(self, seconds: float) -> bytes:
        """Return what comes within ``seconds`` though nothing was sent; it stays to be read.

        :raises ConnectionEnded: the connection ended.
        """
        until = monotonic() + seconds
        try:
            while (left := until - monotonic()) > 0 and len(self.unread) <= _MAX_BEFORE_TOKEN:
                self.unread += await self.receive(left)
        except ConnectionEnded as end:
            if end.reason != "silence":
                raise
        return self.unread

    async def request(self, seconds: float | None = None) -> bytes:
        """Send a token, another one than the last time; return what comes before it.

        :param seconds: how long to wait for each part of the answer, as in :meth:`receive`.
        :raises Failed: it does not come back.
        """
        self._all_returned = False
        token = self._context.tokens[self._requests % 2] + b"\n" * (self._framing == "line")
        self._requests += 1
        self.write(token).addErrback(_ignore)
        self.bytes_sent += len(frame_message(self._framing, token))
        came, self.unread, began = self.unread, b"", monotonic()
        try:
            while not came.endswith(token):
                came += await self.receive(seconds)
                if len(came) > _MAX_BEFORE_TOKEN:
                    self.refuse_foreign(came)
                    raise Failed(f"{len(came)} bytes came, and no answer to {quote(token)} in them")
        except ConnectionEnded as end:
            self.refuse_foreign(came)
            raise self._unanswered(end.reason, came, token, seconds) from None
        self.rtt = monotonic() - began
        self._all_returned = True
        return came[: -len(token)]

    def refuse_foreign(self, came: bytes, when: str = "before the first answer") -> None:
        """Check that what came unexpectedly was not sent on another connection.

        :param when: it came, in words.
        :raises Failed: it was.
        """
        if owner := self._context.sent_payloads.owner_of(came):
            finding = f"bytes of {owner} came {when}: {quote(came)}"
            raise Failed(finding, FOREIGN_CAUSES[owner], facts={"owner": owner})

    def _unanswered(
        self, reason: str, came: bytes, token: bytes, seconds: float | None
    ) -> Unanswered:
        context, handshake = self._context, self.client.handshake
        words = describe_no_answer(
            reason,
            came,
            token,
            context.progress.timeout if seconds is None else seconds,
            context.history.answered,
            context.encrypted,
        )
        rtt = handshake.seconds if handshake else 0.0
        failed = Unanswered(*words, reason, came, rtt)
        failed.first = self._requests == 1
        return explain_by_kernel(failed, *self.client.kernel_view())

    async def detect_prefix(self, seconds: float | None = None) -> None:
        """Send one token, on the first connection two, and detect the prefix.

        :param seconds: how long the first answer is waited for; ``None``: the time-out.
        :raises Failed: there is no answer, or it does not match the prefix that was given.
        """
        before = await self.request(seconds)
        self.refuse_foreign(before)
        context = self._context
        context.history.note_answered(self.rtt)
        if context.template is None:
            second = await self._request_again(before)
            context.template, context.greeting = detect_form(
                context.settings, before, second, context.tokens
            )
        self._template, self.prefix = recognize_prefix(
            context.settings, context.template, context.greeting, before
        )
        self.expect_sizes(frozenset())

    async def _request_again(self, before: bytes) -> bytes:
        """Send another token; return what comes before it.

        :param before: what came before the first one.
        :raises AnsweredOnce: it does not come back. The framing is not the cause: the first did.
        """
        try:
            return await self.request()
        except Unanswered as failed:
            whole = self._context.token + b"\n" * (self._framing == "line")
            timeout = self._context.settings.timeout
            words = describe_one_answer(failed.end, before + whole, failed.came, timeout)
            raise AnsweredOnce(*words, end=failed.end) from None

    def expect_sizes(self, sizes: frozenset[int]) -> None:
        """Expect replies to messages of these sizes: with ``length`` framing they have headers."""
        headers = sizes if self._framing == "length" else frozenset()
        self.prefix_matcher = PrefixMatcher(self._template, headers)

    # -- streams --------------------------------------------------------------

    async def exchange(self, payload: AnyPayload, seconds: float | None = None) -> Verifier:
        """Send a payload, and verify it as it comes back.

        :param seconds: how long to wait for each part, as in :meth:`receive`.
        :raises Failed: what came is wrong, or not all of it came.
        """
        verifier = self.verifier(payload)
        sending = self.send(payload)
        try:
            await self.verify(verifier, seconds)
        finally:
            sending.addErrback(_ignore)
            sending.cancel()
        return verifier

    def verifier(self, payload: AnyPayload) -> Verifier:
        """Return a verifier of a payload that is sent by :meth:`send`."""
        self._all_returned = False
        self.expect_sizes(frozenset(piece_sizes(payload, self._piece_size)))
        sizes = {"line": payload.line_size, "length": self.frame_size}
        message_size = sizes.get(self._framing, 0)
        self._sent.append(self._context.sent_payloads.add(payload))
        return self._context.track(Verifier(payload, self.prefix_matcher, message_size))

    def send(self, payload: AnyPayload, finish: bool = False) -> Deferred[None]:
        """Send a payload as fast as the path takes it; with ``finish``, FIN right behind it."""
        return Deferred.fromCoroutine(self._send(payload, finish))

    async def _send(self, payload: AnyPayload, finish: bool) -> None:
        for message in split_payload(payload, self._piece_size):
            if not await self.send_message(message):
                return
        if finish:
            self.client.finish()

    async def verify(
        self, verifier: Verifier, seconds: float | None = None, enough: float = float("inf")
    ) -> None:
        """Receive until everything came, or ``enough`` bytes.

        :param seconds: how long to wait for each part, as in :meth:`receive`.
        :raises Failed: something is wrong with it.
        """
        reason, wrong_since = "", 0.0
        while not (verifier.complete or verifier.fault or verifier.offset >= enough):
            try:
                verifier.feed(await self.receive(1.0 if verifier.wrong else seconds))
            except ConnectionEnded as end:
                reason = end.reason
                verifier.end()
            if verifier.wrong:
                wrong_since = wrong_since or monotonic()
                if monotonic() > wrong_since + DIAGNOSIS_TIME:
                    verifier.diagnose_now()
        if verifier.fault is not None:
            failed = self._describe(verifier, verifier.fault, reason)
            raise explain_by_kernel(failed, *self.client.kernel_view())
        self._all_returned = True

    def _describe(self, verifier: Verifier, fault: Fault, reason: str) -> Failed:
        """Return a fault as a failure, with the connection that its bytes were sent on."""
        owner, fault = "", self._located(verifier, fault)
        short = fault.explained and 0 < fault.length < MIN_OWNED
        if fault.kind in _FOREIGN and not short:
            owner = self._context.sent_payloads.owner_of(fault.seen, verifier.payload)
        if owner:
            words = describe_foreign(fault, owner)
            return Failed(*words, fault=fault, facts={"owner": owner}, end=reason)
        totals = self.bytes_received, self.bytes_sent + verifier.offset
        words = describe_fault(fault, reason, self.prefix, totals)
        return Failed(*words, fault=fault, end=reason)

    def _located(self, verifier: Verifier, fault: Fault) -> Fault:
        """Return a fault with the bytes that its connection had carried before it."""
        headers = len(frame_message(self._framing, b"")) * (fault.offset // self.frame_size + 1)
        sent = self.bytes_sent + headers + fault.offset
        came = self.bytes_received - verifier.unused + fault.offset - verifier.offset
        return replace(fault, sent=sent, came=came)

    async def expect_no_more(self, verifier: Verifier, seconds: float = 0.05) -> None:
        """Wait whether something comes though everything has come already.

        :raises Failed: something does.
        """
        try:
            while True:
                verifier.feed(await self.receive(seconds))
                if verifier.wrong:
                    break
        except ConnectionEnded:
            pass
        fault = verifier.end()
        if fault is not None:
            raise self._describe(verifier, fault, "")
        self.bytes_sent += verifier.offset


def frame_message(framing: str, message: bytes) -> bytes:
    """Return a message as it is sent."""
    return len(message).to_bytes(4, "big") + message if framing == "length" else message


def _ignore(_: Failure) -> None:
    """Do nothing: receive() raises it, too."""
