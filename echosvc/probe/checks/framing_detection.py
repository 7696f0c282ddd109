"""Which framing a server has that does not answer in the one that was given.

A framing is named only if the server answers two whole messages in it, and nothing that is not
whole. Otherwise it is one possibility of several.
"""

from __future__ import annotations

from contextlib import suppress

from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection, frame_message
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import FixedPayload
from echosvc.probe.engine.prefix_detection import TOKEN, has_length_header
from echosvc.probe.engine.receiving import receive_answer

_LINE_CAUSE = "the server answers once a line feed is sent: its messages are lines (--framing line)"
_LENGTH_CAUSE = "the server answers messages that have their length in front (--framing length)"
FIN_CAUSE = (
    "the server answers only after FIN: it reads to the end first, or its messages end in a way"
    " that this check does not know; or a middlebox holds the first bytes back"
)
#: The framings that are tried, in order, by the one that was given. A server that answers bytes
#: as they come is found in the first exchange, or by :func:`check_line_framing`.
_ALTERNATIVES = {"chunk": ("line", "length"), "line": ("length",), "length": ("line",)}


def framing_trials(path: Path, before: bytes, limit: float) -> list[FramingTrial]:
    """Return trials of the framings that a server may have; the first one that fits is it.

    :param before: what came without an answer: the greeting.
    :param limit: seconds within which an answer would have come.
    """
    asked = path.settings.framing
    tries = [FramingTrial(path, framing, before, limit) for framing in _ALTERNATIVES[asked]]
    return [*tries, FramingTrial(path, asked, before, limit, finish=True)]


class FramingTrial:
    """Two messages in one framing, over its own connection.

    The bytes that complete the first message, or the FIN, are sent only after a wait without an
    answer. So an answer was caused by them, not by another server or by another state of this one.

    :param before: what came without an answer: the greeting.
    :param limit: seconds within which an answer would have come.
    :ivar sent: what was sent.
    :ivar came: what came.
    :ivar premature: an incomplete message was answered.
    :ivar first_answered: the first message was answered.
    :ivar answered: both messages were answered; with ``finish``, the one before FIN.
    """

    def __init__(
        self, path: Path, framing: str, before: bytes, limit: float, finish: bool = False
    ) -> None:
        self._path, self._framing, self._before = path, framing, before
        self._token = TOKEN + b"\n" * (framing == "line")
        self._finish, self._wait = finish, limit / 2
        self.sent = self.came = b""
        self.premature = self.first_answered = self.answered = False

    @property
    def cause(self) -> str:
        """The cause that an answer proves."""
        if self._finish:
            return FIN_CAUSE
        return _LENGTH_CAUSE if self._framing == "length" else _LINE_CAUSE

    @property
    def is_by_content(self) -> bool:
        """Whether a part of a message was answered that is no part of the first message."""
        return self.premature and self._framing == "length" and not self._finish

    @property
    def facts(self) -> dict[str, str]:
        """The same for programs."""
        return {} if self._finish else {"framing": self._framing}

    async def run(self) -> None:
        """Send until there is an answer, or the connection ends."""
        with suppress(Failed, ConnectionEnded):
            connection = await self._path.connect()
            if self._finish and not connection.client.half_closes:
                return
            message = frame_message(self._framing, self._token)
            first = message if self._finish else message[:-1]
            self._send(connection, first)
            self.premature = await self._is_premature(connection, first)
            if self.premature:
                return
            if self._finish:
                connection.client.finish()
                await self._wait_for_answer(connection, b"")
                self.answered = True
                return
            # Some servers look for the end of a line in each read alone, so a line is sent whole.
            self._send(connection, message if self._framing == "line" else message[-1:])
            await self._wait_for_answer(connection, self._before)
            self.first_answered = True
            self._send(connection, message)
            await self._wait_for_answer(connection, self.came)
            self.answered = True

    def _send(self, connection: ProbeConnection, data: bytes) -> None:
        connection.client.write(data).addErrback(lambda _: None)
        self.sent += data

    async def _is_premature(self, connection: ProbeConnection, sent: bytes) -> bool:
        """Return whether an incomplete message comes back."""
        last = self._path.reactor.seconds() + self._wait
        while (left := last - self._path.reactor.seconds()) > 0:
            try:
                self.came += await connection.receive(left)
            except ConnectionEnded as end:
                if end.reason == "silence":
                    break
                raise
            if self.came.endswith(sent):
                return True
        return False

    async def _wait_for_answer(self, connection: ProbeConnection, before: bytes) -> None:
        """Wait for an answer.

        :param before: what comes before it.
        :raises ConnectionEnded: there is none.
        """

        def is_whole(came: bytes) -> bool:
            return self._is_answer(came, before)

        self.came = await receive_answer(connection, is_whole, self.came)
        if not is_whole(self.came):
            raise ConnectionEnded("no answer")

    def _is_answer(self, came: bytes, before: bytes) -> bool:
        rest = came.removeprefix(before)
        if not rest.endswith(self._token):
            return False
        return self._framing != "length" or has_length_header(rest)


async def check_line_framing(path: Path, connection: ProbeConnection) -> None:
    """Check that the server answers lines, not reads.

    :raises Failed: two lines, sent at once, do not come back as two replies.
    """
    if path.settings.framing != "line" or not connection.prefix_matcher:
        return
    letter = next(
        bytes((byte,))
        for byte in b"abcdefghijklm"
        if byte not in connection.prefix_matcher.boundary_bytes
    )
    try:
        await connection.exchange(FixedPayload((letter + b"\n") * 2, line_size=2))
    except Failed as failed:
        if failed.fault is not None and failed.fault.kind is FaultKind.UNMARKED:
            failed.finding = "two lines in one write came back as one reply"
            failed.cause = "the server answers what it reads, not lines (--framing chunk)"
        raise
