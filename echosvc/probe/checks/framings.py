"""Which framing a server has that does not answer as it was told it would.

A framing is named only where the server answers whole messages in it, more than one, and nothing
that is not whole; otherwise it is one possibility of several.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.defer import Deferred, DeferredList

from echosvc._text import quote
from echosvc.probe.engine.connection import Ended, Line, Unanswered, framed
from echosvc.probe.engine.diagnosis import Kind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.payload import Text
from echosvc.probe.engine.prefix_detection import TOKEN, in_length, stranger

#: How long an answer in another framing is waited for: seconds, and round trips besides.
_PATIENCE = 1.0
_TRIPS = 4
#: Bytes of an answer at most: a longer one is none.
_LONGEST = 8192

_LINES = "it answers once a line feed is sent: its messages are lines (--framing line)"
_LENGTHS = "it answers messages that have their length in front (--framing length)"
_AFTER_FIN = "it answers only after FIN: it reads to the end first, and is no echo server"
_ONCE = "it answers one message of each connection, and that in another framing (--framing)"
_OTHER = (
    "on another connection it answers: a limit of connections, or one of several servers is dead"
)
#: What is tried, by what it was asked with, and in this order. That it answers bytes as they
#: come shows itself in the first exchange, or by :func:`two_lines`.
_TRIED = {"chunk": ("line", "length"), "line": ("length",), "length": ("line",)}


async def explained(path: Path, failed: Failed) -> Failed:
    """Find out why the first message was not answered; give the failure with its cause."""
    if not isinstance(failed, Unanswered) or path.context.template is not None:
        return failed
    asked = path.settings.framing
    limit = min(path.settings.timeout, _PATIENCE + _TRIPS * failed.trip)
    tries = [_Try(path, framing, failed.came, limit) for framing in _TRIED[asked]]
    tries.append(_Try(path, asked, failed.came, limit, finish=True))
    trials = [Deferred.fromCoroutine(each.run()) for each in tries]
    for trial in trials:
        trial.addTimeout(2 * limit, path.reactor)
    await DeferredList(trials, consumeErrors=True)
    return _judged(failed, tries)


def _judged(failed: Unanswered, tries: list[_Try]) -> Failed:
    """Say what the trials showed."""
    if any(each.unasked for each in tries):
        return Failed(failed.finding, _OTHER)
    for each in tries:
        if each.answered:
            return Failed(failed.finding, each.words, facts={**failed.facts, **each.facts})
    strange = [each for each in tries if each.came and each.came != failed.came]
    for each in strange:
        finding = f"{failed.finding}; {quote(each.sent)} was answered by {quote(each.came)}"
        if each.once:
            return Failed(finding, _ONCE)
        if not failed.came:
            return Failed(finding, stranger(each.came) or "no echo server")
    return failed


class _Try:
    """Two messages in one framing, over a connection of its own.

    What makes the first one whole, or the FIN, waits until nothing has come without it: so an
    answer is owed to that alone, and not to another server, or another state of the same one.

    :param before: what came before, without an answer: the greeting.
    :param limit: seconds in which an answer would have come.
    :ivar sent: what was sent so far.
    :ivar came: what came for it.
    :ivar unasked: what was not whole yet was answered.
    :ivar once: the first message was answered.
    :ivar answered: both were; or the one before FIN.
    """

    def __init__(
        self, path: Path, framing: str, before: bytes, limit: float, finish: bool = False
    ) -> None:
        self._path, self._framing, self._before = path, framing, before
        self._token = TOKEN + b"\n" * (framing == "line")
        self._finish, self._wait = finish, limit / 2
        self.sent = self.came = b""
        self.unasked = self.once = self.answered = False

    @property
    def words(self) -> str:
        """What an answer says."""
        return _AFTER_FIN if self._finish else _LENGTHS if self._framing == "length" else _LINES

    @property
    def facts(self) -> dict[str, str]:
        """The same for programs."""
        return {} if self._finish else {"framing": self._framing}

    async def run(self) -> None:
        """Ask, until there is an answer or an end."""
        with suppress(Failed, Ended):
            line = await self._path.connect()
            if self._finish and not line.client.half_closes:
                return
            message = framed(self._framing, self._token)
            first = message if self._finish else message[:-1]
            self._send(line, first)
            self.unasked = await self._early(line, first)
            if self.unasked:
                return
            if self._finish:
                line.client.finish()
                await self._heard(line, b"")
                self.answered = True
                return
            # Some who want lines look for the end in each read by itself, so a line comes whole.
            self._send(line, message if self._framing == "line" else message[-1:])
            await self._heard(line, self._before)
            self.once = True
            self._send(line, message)
            await self._heard(line, self.came)
            self.answered = True

    def _send(self, line: Line, data: bytes) -> None:
        line.client.write(data).addErrback(lambda _: None)
        self.sent += data

    async def _early(self, line: Line, sent: bytes) -> bool:
        """Whether what has no end yet comes back."""
        last = self._path.reactor.seconds() + self._wait
        while (left := last - self._path.reactor.seconds()) > 0:
            try:
                self.came += await line.receive(left)
            except Ended as end:
                if end.how == "silence":
                    break
                raise
            if self.came.endswith(sent):
                return True
        return False

    async def _heard(self, line: Line, before: bytes) -> None:
        """Wait for an answer.

        :param before: what came before it.
        :raises Ended: there is none.
        """
        while not self._is_answer(self.came, before):
            if len(self.came) >= _LONGEST:
                raise Ended("more than an answer")
            self.came += await line.receive()

    def _is_answer(self, came: bytes, before: bytes) -> bool:
        rest = came.removeprefix(before)
        if not rest.endswith(self._token):
            return False
        return self._framing != "length" or in_length(rest)


async def two_lines(path: Path, line: Line) -> None:
    """Tell a server that answers lines from one that answers what it reads.

    :raises Failed: two lines, sent at once, do not come back as two replies.
    """
    if path.settings.framing != "line" or not line.mark:
        return
    letter = next(
        bytes((byte,)) for byte in b"abcdefghijklm" if byte not in line.mark.boundary_bytes
    )
    try:
        await line.exchange(Text((letter + b"\n") * 2, line=2))
    except Failed as failed:
        if failed.fault is not None and failed.fault.kind is Kind.UNMARKED:
            failed.finding = "two lines in one write came back as one reply"
            failed.cause = "it answers what it reads, not lines (--framing chunk)"
        raise
