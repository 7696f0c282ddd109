"""Many conversations of ``echosvc send`` in one process: ``PORT COUNT``; prints how they ended."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.task import react

from echosvc.cli.send_session import SendError, SendOptions, SendSession
from echosvc.endpoints import client_endpoint
from echosvc.wire.template import Template
from tests.programs.faults.hostile import AT_ONCE, DEADLINE, DRIP

_PREFIXES = ("Sending: ", "", "{message}: ", "{hostname}-{peer}-{local}: ", "{peer}{pid}{message}")


class Nowhere:
    """Takes what is printed."""

    def write(self, data: bytes, /) -> None:
        """Forget it."""


class Lateness:
    """How late the reactor was in all, because other programs had the processor.

    :ivar seconds: so late.
    """

    INTERVAL = 0.05

    def __init__(self, reactor: Any) -> None:
        self.seconds = 0.0
        self._reactor, self._due = reactor, time.monotonic()
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds += max(0.0, now - self._due)
        self._due = now + self.INTERVAL
        self._reactor.callLater(self.INTERVAL, self._tick)


class Conversations:
    """What came of them.

    :ivar slowest: the longest one, seconds, and its number. Twice the time that this process was
        late in it does not count: the server, on the same machine, was as late.
    :ivar good: how many ended well.
    :ivar wrong: those that ended otherwise than in one line.
    """

    def __init__(self, reactor: Any, port: int) -> None:
        self._reactor, self._lateness = reactor, Lateness(reactor)
        self._target = client_endpoint(reactor, f"tcp:127.0.0.1:{port}")
        self.slowest, self.good, self.wrong = (0.0, 0), 0, list[str]()

    async def one(self, number: int) -> None:
        """Hold one, of one message."""
        chance = random.Random(number)
        prefix = chance.choice((None, *_PREFIXES))
        options = SendOptions(
            prefix=None if prefix is None else Template.parse(prefix),
            deadline=DEADLINE,
            text=chance.random() < 0.5,
            raw=chance.random() < 0.5,
        )
        message = chance.randbytes(chance.choice((1, 10, 5000, 100_000)))
        message = message.replace(DRIP, b"y")  # or what drips would be a slow answer
        began, late = time.monotonic(), self._lateness.seconds
        try:
            await SendSession(self._reactor, self._target, "client", options, Nowhere()).run(
                [message]
            )
            self.good += 1
        except SendError as error:
            if not str(error).isprintable():
                self.wrong.append(repr(error))
        except BaseException as error:
            self.wrong.append(f"{number}: {error!r}")
        seconds = time.monotonic() - began - 2 * (self._lateness.seconds - late)
        self.slowest = max(self.slowest, (seconds, number))


async def main(reactor: Any, port: str, count: str) -> None:
    """Hold them, many at a time."""
    them, places = Conversations(reactor, int(port)), DeferredSemaphore(AT_ONCE)

    def hold(number: int) -> Deferred[None]:
        return Deferred.fromCoroutine(them.one(number))

    await gatherResults([places.run(hold, number) for number in range(int(count))])
    print(json.dumps({"slowest": them.slowest, "good": them.good, "wrong": them.wrong}))


if __name__ == "__main__":
    react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
