"""First exchanges over several connections: how many of them are answered.

They may be asked at once or one after the other. What fails only at once is due to a limit of
connections; what fails one after the other is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from echosvc.probe.engine.connect_errors import NotConnected
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.prefix_detection import AnsweredOnce

#: So many connections are asked slowly, and the seconds between two of them.
_FEW, _LONG_PAUSE = 6, 1.25
#: So many connections without an answer, and none with one, are enough.
_ENOUGH = 5


#: Seconds between two questions to a path that does not answer.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)


@dataclass(frozen=True)
class Answer:
    """What came of the first exchange of a connection.

    :ivar seconds: that the connection and its first answer took.
    :ivar connection: the connection, if it was answered.
    :ivar failed: why it was not answered, otherwise.
    """

    seconds: float
    connection: ProbeConnection | None = None
    failed: Failed | None = None

    @property
    def came(self) -> bytes:
        """What came in place of an answer."""
        return self.failed.came if isinstance(self.failed, Unanswered) else b""

    @property
    def is_alive(self) -> bool:
        """Whether the server answers at all, if not as it should."""
        return self.came != b"" or isinstance(self.failed, AnsweredOnce)


def is_unanswered(failed: Failed) -> bool:
    """Return whether a failure is that a connection was refused, or not answered."""
    return isinstance(failed, (NotConnected, Unanswered))


async def ask(path: Path, seconds: float | None = None, turns: int = 1) -> Answer:
    """Open a connection, and make its first exchange.

    :param seconds: how long to wait for it; ``None``: the time-out of the path.
    :param turns: how many connections are asked at once, where only so many are opened a second.
    """
    clock, answered = path.reactor, path.context.history.answered
    began = clock.seconds()
    asking = Deferred.fromCoroutine(path.open_once(seconds=seconds))
    if seconds is not None:  # to connect may take longer than that
        waiting = turns / path.pace if path.pace else 0.0
        asking.addTimeout(1.2 * seconds + waiting, clock)
    try:
        connection = await asking
    except (NotConnected, Unanswered, AnsweredOnce) as failed:
        return Answer(clock.seconds() - began, failed=failed)
    except defer.TimeoutError:
        if path.context.template is None and path.context.history.answered > answered:
            return Answer(
                clock.seconds() - began, failed=AnsweredOnce("only one message was answered")
            )
        words = f"no connection to {path.target.name} was answered within {seconds:g} s"
        late = NotConnected(words, end="silence")
        return Answer(clock.seconds() - began, failed=late)
    return Answer(clock.seconds() - began, connection)


async def wait_until_answered(path: Path, seconds: float) -> Answer | None:
    """Return the first answer that comes within some seconds; ``None``: there is none."""
    until = path.reactor.seconds() + seconds
    for pause in _PAUSES:
        if path.reactor.seconds() > until:
            break
        await deferLater(path.reactor, pause)
        answer = await ask(path, path.answer_time)
        if answer.connection is not None:
            return answer
    return None


async def ask_together(path: Path, count: int, seconds: float | None = None) -> list[Answer]:
    """Ask ``count`` connections at once; those that are answered stay open until all are known.

    :param seconds: how long to wait for them; ``None``: until nothing has come on any of them for
        as long as answers may take.
    """
    with (
        path.patience(path.answer_time),
        _running(ask(path, seconds, count) for _ in range(count)) as asking,
    ):
        return [await each for each in list(asking)]


async def ask_slowly(path: Path) -> list[Answer]:
    """Ask some connections, so slowly that a limit of connections a second answers all.

    Those behind one that was not answered are not asked.
    """
    return await ask_in_turn(path, _FEW, path.answer_time, _LONG_PAUSE, most_unanswered=1)


async def ask_in_turn(
    path: Path, count: int, seconds: float, pause: float = 0.0, most_unanswered: int = 1000
) -> list[Answer]:
    """Ask ``count`` connections one after the other; each answered one is closed before the next.

    The next one does not wait for long for an answer of one before. Fewer are asked where none of
    the first ones is answered.

    :param seconds: how long each one waits for its answer.
    :param pause: seconds between two.
    :param most_unanswered: no more are asked once so many were not answered.
    """
    known: list[Answer] = []
    with _running(_ask_and_close(path, seconds, known) for _ in range(count)) as asking:
        asked = []
        for each in asking:
            asked.append(each)
            await wait_for(each, min(seconds, path.retry_time), path.reactor)
            if len(asked) >= _ENOUGH and not any(answer.connection for answer in known):
                break
            if len(known) - count_answered(known) >= most_unanswered:
                break
            await deferLater(path.reactor, pause)
        return [await each for each in asked]


async def _ask_and_close(path: Path, seconds: float, known: list[Answer]) -> Answer:
    answer = await ask(path, seconds)
    known.append(answer)
    if answer.connection is not None:
        answer.connection.close()
    return answer


@contextmanager
def _running(
    work: Iterable[Coroutine[Any, Any, Answer]],
) -> Iterator[Iterator[Deferred[Answer]]]:
    """Start coroutines as they are taken; cancel those that run at the end."""
    started: list[Deferred[Answer]] = []

    def start() -> Iterator[Deferred[Answer]]:
        for each in work:
            started.append(Deferred.fromCoroutine(each))
            yield started[-1]

    try:
        yield start()
    finally:
        for each in started:
            each.addErrback(lambda _: None)
            each.cancel()


async def wait_for(asking: Deferred[Any], seconds: float, clock: IReactorTime) -> None:
    """Wait until a Deferred has fired, for ``seconds`` at most; it goes on then."""
    done: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        if not done.called:
            done.callback(None)
        return result

    asking.addBoth(fire)
    with suppress(defer.TimeoutError):
        await done.addTimeout(seconds, clock)


def count_answered(answers: Sequence[Answer]) -> int:
    """Return how many connections were answered."""
    return sum(answer.connection is not None for answer in answers)


def describe_ends(answers: Sequence[Answer], seconds: float) -> str:
    """Return how the connections ended that were not answered.

    :param seconds: how long an answer was waited for.
    """
    ends = Counter(answer.failed.end for answer in answers if answer.failed is not None)
    words = [_describe_end(end, seconds) for end in ends]
    return " or ".join(words)


def _describe_end(end: str, seconds: float) -> str:
    if end in ("silence", "ETIMEDOUT", ""):
        return f"were not answered within {seconds:g} s"
    return f"ended by {end}" if end in ("FIN", "RST") else f"failed with {end}"
