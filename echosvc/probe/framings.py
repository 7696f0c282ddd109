"""Which framing a server has that does not answer as it was told it would.

A framing is named only where the server has answered in it; otherwise it is one possibility of
several.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.defer import Deferred, DeferredList

from echosvc.probe.diagnosis import Kind
from echosvc.probe.findings import Failed
from echosvc.probe.learning import TOKEN, in_length
from echosvc.probe.line import Ended, Line, Unanswered, framed
from echosvc.probe.path import Path
from echosvc.probe.payload import Text

#: How long an answer in another framing is waited for: seconds, and round trips besides.
_PATIENCE = 1.0
_TRIPS = 4
#: Bytes of an answer at most: a longer one is none.
_LONGEST = 8192

_LINES = "it answers once a line feed is sent: its messages are lines (--framing line)"
_LENGTHS = "it answers messages that have their length in front (--framing length)"
_AFTER_FIN = "it answers only after FIN: it reads to the end first, and is no echo server"
#: What is tried, by what it was asked with, and in this order. That it answers bytes as they
#: come shows itself in the first exchange, or by :func:`two_lines`.
_TRIED = {"chunk": ("line", "length"), "line": ("length",), "length": ("line",)}


async def explained(path: Path, failed: Failed) -> Failed:
    """Find out why the first message was not answered; give the failure with its cause."""
    if not isinstance(failed, Unanswered) or path.template is not None:
        return failed
    asked = path.settings.framing
    tries = [_Try(path, framing, failed.came, TOKEN) for framing in _TRIED[asked]]
    tries.append(_Try(path, asked, failed.came, TOKEN, finish=True))
    limit = min(path.settings.timeout, _PATIENCE + _TRIPS * failed.trip)
    trials = [Deferred.fromCoroutine(each.run()) for each in tries]
    for trial in trials:
        trial.addTimeout(limit, path.reactor)
    await DeferredList(trials, consumeErrors=True)
    for each in tries:
        if each.answered:
            return Failed(failed.finding, each.words, facts={**failed.facts, **each.facts})
    return failed


class _Try:
    """One message in one framing, over a connection of its own.

    :param before: what came before, without an answer: the greeting.
    """

    def __init__(
        self, path: Path, framing: str, before: bytes, token: bytes, finish: bool = False
    ) -> None:
        self._path, self._framing, self._before = path, framing, before
        self._token = token + b"\n" * (framing == "line")
        self._finish = finish
        self.answered = False

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
            line.client.write(framed(self._framing, self._token)).addErrback(lambda _: None)
            if self._finish:
                if not line.client.half_closes:
                    return
                line.client.finish()
            came = b""
            while not self.answered and len(came) < _LONGEST:
                came += await line.receive()
                self.answered = self._is_answer(came)

    def _is_answer(self, came: bytes) -> bool:
        if not came.endswith(self._token):
            return False
        return self._framing != "length" or in_length(came.removeprefix(self._before))


async def two_lines(path: Path, line: Line) -> None:
    """Tell a server that answers lines from one that answers what it reads.

    :raises Failed: two lines, sent at once, do not come back as two replies.
    """
    if path.settings.framing != "line" or not line.mark:
        return
    letter = next(bytes((byte,)) for byte in b"abcdefghijklm" if byte not in line.mark.first)
    try:
        await line.exchange(Text((letter + b"\n") * 2, line=2))
    except Failed as failed:
        if failed.fault is not None and failed.fault.kind is Kind.UNMARKED:
            failed.finding = "two lines in one write came back as one reply"
            failed.cause = "it answers what it reads, not lines (--framing chunk)"
        raise
