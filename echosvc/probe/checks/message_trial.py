"""Different messages on one connection: in which form, and when, a server returns them."""

from __future__ import annotations

import random
from contextlib import suppress
from string import ascii_letters

from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.prefix_detection import split_frames
from echosvc.probe.engine.reply_forms import (
    ENOUGH,
    MESSAGES,
    Exchange,
    WrongForm,
    explain_foreign_answers,
    explain_form,
)
from echosvc.probe.engine.reply_times import explain_times, is_enough

#: Seconds without anything more after which a reply is whole, and round trips in addition.
_QUIET, _QUIET_TRIPS = 0.2, 2
#: The same where messages follow that are only to make the stream longer.
_SHORT_QUIET = 0.1
#: How long the stream is made at least, bytes: as programs buffer their output.
_SIZES = (1024, 2048, 4096, 8192, 16384, 32768)
#: The most bytes of a reply, and the longest that it may take to come, in waits.
_MAX_REPLY, _MAX_WAITS = 1 << 17, 3


#: How often messages are sent again, of which not all were answered in time.
_TRIES = 2


class MessageTrial:
    """Different messages, one after the other, over its own connection.

    :param wait: seconds within which an answer would have come.
    :param before: what comes without an answer: the greeting.
    """

    def __init__(self, path: Path, wait: float, before: bytes = b"") -> None:
        self._path, self._wait, self._before = path, wait, before
        self._line = path.settings.framing == "line"
        self._exchanges: list[Exchange] = []
        self._quiet = _QUIET
        self._opened = (
            False  # many bytes have ended a wait for the first ones: no other answer waits
        )

    async def run(self) -> bool:
        """Send until it is known what the answers are like; return whether it is wrong."""
        with suppress(Failed, ConnectionEnded):
            connection = await self._path.connect()
            handshake = connection.client.handshake
            self._quiet += _QUIET_TRIPS * (handshake.seconds if handshake else 0.0)
            for message in (self._path.context.token, *MESSAGES):
                await self._exchange(connection, message, self._wait)
                if is_enough(self._exchanges):
                    break
            await self._lengthen(connection)
        return self.form is not None or self.times is not None

    async def _lengthen(self, connection: ProbeConnection) -> None:
        """Send more and more bytes where nothing has come, until something does."""
        if any(each.came for each in self._exchanges) or self._path.settings.framing == "length":
            return
        source = random.Random(1)  # noqa: S311 - no secret
        wait = self._quiet - _QUIET + _SHORT_QUIET
        for size in _SIZES:
            sent = sum(len(each.sent) for each in self._exchanges)
            letters = "".join(source.choices(ascii_letters, k=size - sent - self._line))
            await self._exchange(connection, letters.encode(), wait)
            if self._exchanges[-1].came:
                self._opened = await self._is_open(connection)
                break

    async def _is_open(self, connection: ProbeConnection) -> bool:
        """Return whether a short message is answered at once, behind the long ones.

        :raises ConnectionEnded: the connection has ended.
        """
        message = self._path.context.token + b"\n" * self._line
        connection.write(message).addErrback(lambda _: None)
        return (await self._collect(connection, self._wait)).endswith(message)

    async def _exchange(self, connection: ProbeConnection, message: bytes, wait: float) -> None:
        """Send a message; note what comes before the next one.

        :raises ConnectionEnded: the connection has ended.
        """
        message += b"\n" * self._line
        connection.write(message).addErrback(lambda _: None)
        came = await self._collect(connection, wait)
        if self._path.settings.framing == "length":
            came = b"".join(split_frames(came))
        self._exchanges.append(Exchange(message, came))

    async def _collect(self, connection: ProbeConnection, wait: float) -> bytes:
        """Return what comes until nothing more does, for a limited time."""
        clock, came = self._path.reactor, b""
        until = clock.seconds() + _MAX_WAITS * max(wait, self._quiet)
        try:
            while len(came) < _MAX_REPLY and clock.seconds() < until:
                came += await connection.receive(self._quiet if came else wait)
        except ConnectionEnded as end:
            if end.reason != "silence":
                raise
        return came

    @property
    def form(self) -> WrongForm | None:
        """The form in which the messages come back, if it is not right; ``None``: not known."""
        return explain_form(self._exchanges, self._line)

    @property
    def times(self) -> WrongForm | None:
        """What the answers wait for, if it is not their message; ``None``: not known.

        Where only the first ones wait, it may be for a time.
        """
        if self._opened:
            return None
        first, others = self._exchanges[:1], self._exchanges[1:]
        unasked = [Exchange(each.sent, each.came.removeprefix(self._before)) for each in first]
        return explain_times([*unasked, *others])

    @property
    def is_late(self) -> bool:
        """Whether only some messages were answered in time."""
        return len({each.came == b"" for each in self._exchanges}) > 1

    @property
    def foreign(self) -> WrongForm | None:
        """That all messages are answered by something else; ``None``: not all are answered."""
        return explain_foreign_answers(self._exchanges[:ENOUGH])


async def explain_by_form(path: Path, failed: Failed, wait: float) -> Failed:
    """Return the failure that messages come back in another form; or the one that was found.

    :param wait: seconds within which an answer comes.
    """
    for _ in range(_TRIES):
        path.close()
        trial = MessageTrial(path, wait)
        await trial.run()
        path.close()
        if not trial.is_late:
            break
    return trial.form or failed
