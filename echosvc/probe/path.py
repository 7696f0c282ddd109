"""The path that is looked at: connections over it, and what is known of its far end."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults

from echosvc.client import EchoClient, EchoClientFactory
from echosvc.endpoints import Target
from echosvc.listeners import error_name
from echosvc.prefix import Template
from echosvc.probe.findings import Failed
from echosvc.probe.line import Line
from echosvc.probe.payload import Payload
from echosvc.probe.settings import Settings
from echosvc.probe.verify import Verifier
from echosvc.report import VerificationError
from echosvc.secure import TLSConnector

_Result = TypeVar("_Result")

#: Nothing that a client does may end a connection before the probe does.
_FOR_EVER = 1e9


@dataclass
class Path:
    """The path, and what is known of the server at its end.

    :ivar greeting: what the server says first.
    :ivar template: what stands before its replies; ``None``: not known yet.
    :ivar encrypted: TLS is spoken on it.
    """

    reactor: Any
    target: Target
    settings: Settings
    encrypted: bool = False
    greeting: bytes = b""
    template: Template | None = None
    seed: int = field(default_factory=lambda: random.getrandbits(30))
    _live: list[Line] = field(default_factory=list)
    _verifiers: list[Verifier] = field(default_factory=list)

    async def connect(self, nagle: bool = False) -> Line:
        """Open a connection.

        :raises Failed: there is none.
        """
        factory = EchoClientFactory(
            clock=self.reactor, linger=_FOR_EVER, nagle=nagle, allow_half_open=True
        )
        attempt = self.target.endpoint.connect(factory)
        attempt.addTimeout(self.settings.timeout, self.reactor)
        try:
            client = cast(EchoClient, await attempt)
        except CancelledError:
            raise
        except Exception as error:
            raise Failed(*self._unreachable(error)) from None
        line = Line(self, client)
        self._live.append(line)
        return line

    async def open(self, nagle: bool = False) -> Line:
        """Open a connection and learn its prefix by a first exchange."""
        line = await self.connect(nagle)
        await line.greet()
        return line

    async def open_many(self, count: int) -> list[Line]:
        """Open so many connections at once."""
        return await gathered([self._one_of(number, count) for number in range(1, count + 1)])

    async def _one_of(self, number: int, count: int) -> Line:
        try:
            return await self.open()
        except Failed as failed:
            failed.finding = f"connection {number} of {count}: {failed.finding}"
            raise

    def payload(self, size: int, line: Line, stamped: bool = False) -> Payload:
        """Make something new to send, in which no prefix occurs."""
        self.seed += 1
        lines = self.settings.framing == "line"
        return Payload(size, self.seed, line.mark.first, lines, stamped)

    def watch(self, verifier: Verifier) -> Verifier:
        """Count what is verified by it."""
        self._verifiers.append(verifier)
        return verifier

    def came_back(self) -> int:
        """Give how many bytes came back as they should; 0 where one did not."""
        if any(verifier.wrong for verifier in self._verifiers):
            return 0
        return sum(verifier.offset for verifier in self._verifiers)

    def close(self) -> None:
        """End all connections."""
        self._verifiers.clear()
        live, self._live = self._live, []
        for line in live:
            line.close()

    def _unreachable(self, error: Exception) -> tuple[str, str]:
        where = self.target.name
        if isinstance(error, defer.TimeoutError):
            seconds = f"{self.settings.timeout:g} s"
            return f"no connection to {where} within {seconds}", self._silent()
        if isinstance(error, VerificationError):
            return f"no connection to {where}: {error.why}", error.advice
        name = error_name(error)
        if name.startswith("TLS"):
            why = "no TLS there, or another version, or it wants a client's certificate (--cert)"
            return f"no connection to {where}: {name}", why
        why = self._silent() if name == "ETIMEDOUT" else _REASONS.get(name, "")
        return f"no connection to {where}: {name}", why

    def _silent(self) -> str:
        """Why no connection comes about."""
        why = "a firewall that drops, or a full queue"
        secure = isinstance(self.target.endpoint, TLSConnector)
        return f"{why}, or nobody speaks TLS there" if secure else why


_REASONS = {
    "ECONNREFUSED": "nobody listens there, or a firewall refuses",
    "ECONNRESET": "something between takes connections and has nobody to pass them to",
    "EHOSTUNREACH": "no route, or a firewall refuses",
    "ENETUNREACH": "no route to that network",
    "ENOTFOUND": "no such name",
}


async def gathered(work: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Do it all at once; where one fails, give up the others."""
    waiting = [Deferred.fromCoroutine(each) for each in work]
    try:
        return cast(list[_Result], await gatherResults(waiting, consumeErrors=True))
    except FirstError as first:
        raise cast(Exception, first.subFailure.value) from None
    finally:
        for each in waiting:
            each.addErrback(lambda _: None)
            each.cancel()
