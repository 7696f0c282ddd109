"""The path that is looked at: connections over it, and what is known of its far end."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.endpoints import UNIXClientEndpoint

from echosvc._text import escaped
from echosvc.endpoints.client import ClientTarget
from echosvc.net.errors import VerificationError, describe_error
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.probe.engine.client import ProbeClient, ProbeClientFactory
from echosvc.probe.engine.connection import SMALL_FRAME, Line
from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.payload import Payload
from echosvc.probe.settings import Settings
from echosvc.tls.alerts import alert_advice
from echosvc.tls.endpoints import TLSConnector

_Result = TypeVar("_Result")

#: Nothing that a client does may end a connection before the probe does.
_FOR_EVER = 1e9
#: What takes no longer to come back than this is not waited for between two probes, seconds.
_BRIEF = 1.0
#: The longest wait between two probes, in time-outs: after one that failed, and after one that
#: carried everything right, as far as it got.
_DOUBTED, _TRUSTED = 6, 30
#: Words for a connection that was not there in time.
_LATE = "ETIMEDOUT"


class Path:
    """A path to a server: opens connections over it, and keeps those that live.

    :ivar context: what the connections share.
    """

    def __init__(self, reactor: Any, target: ClientTarget, settings: Settings) -> None:
        self.reactor, self.target, self.settings = reactor, target, settings
        self.context = ProbeContext(reactor, settings, self._sends)
        self._progress = self.context.progress
        self._live: list[Line] = []
        self._began, self._received = reactor.seconds(), 0
        self._backlog = 0.0

    def _sends(self) -> bool:
        """Whether a long message gets on, on any connection."""
        return sum(line.sends() for line in self._live) > 0  # each is to look

    async def connect(self, nagle: bool = False) -> Line:
        """Open a connection.

        :raises Failed: there is none.
        """
        line = Line(self.context, await self._connected(nagle))
        self._live.append(line)
        return line

    async def _connected(self, nagle: bool) -> ProbeClient:
        while True:
            try:
                return self._sound(await self._attempt(nagle))
            except (CancelledError, Failed):
                raise
            except Exception as error:
                late = describe_error(error) == _LATE
                if late and self._progress.silent_for < self.settings.timeout:
                    continue  # its SYN stands in a queue, behind what comes on the others
                raise Failed(*self._unreachable(error)) from None

    def _sound(self, client: ProbeClient) -> ProbeClient:
        if client.fault is None:
            return client
        with suppress(Exception):  # it may be half made
            client.transport.abortConnection()
        raise Failed(
            f"a connection to {self.target.name} was made, but cannot be used:"
            f" {escaped(describe_error(client.fault))[1:-1]}",
            "a fault of echosvc itself, or of a module that changes it",
        )

    def _attempt(self, nagle: bool) -> Deferred[ProbeClient]:
        factory = ProbeClientFactory(
            self._progress.heard,
            clock=self.reactor, linger=_FOR_EVER, nagle=nagle, allow_half_open=True,
        )  # fmt: skip
        attempt = cast("Deferred[ProbeClient]", self.target.endpoint.connect(factory))
        return self._progress.bound(attempt, more=self.context.lookup_seconds)

    async def open(self, nagle: bool = False) -> Line:
        """Open a connection and learn its prefix by a first exchange."""
        line = await self.connect(nagle)
        await line.greet()
        return line

    async def open_small(self) -> Line:
        """Open one of many connections that send at once."""
        line = await self.open()
        line.frame = SMALL_FRAME
        return line

    async def open_many(self, count: int) -> list[Line]:
        """Open so many connections at once."""
        return await gathered([self._one_of(number, count) for number in range(1, count + 1)])

    async def _one_of(self, number: int, count: int) -> Line:
        try:
            return await self.open_small()
        except Failed as failed:
            failed.finding = f"connection {number} of {count}: {failed.finding}"
            raise

    def payload(self, size: int, line: Line, numbered: bool = False) -> Payload:
        """Return a new payload in which the prefix of a connection does not occur."""
        return self.context.payload(size, line.mark.boundary_bytes, numbered)

    def close(self) -> None:
        """End all connections."""
        self.context.forget_verifiers()
        live, self._live = self._live, []
        self._backlog += self._seconds_of(sum(line.due for line in live))
        for line in live:
            line.close()

    # -- between probes -------------------------------------------------------

    def begin(self) -> None:
        """A probe begins."""
        self._began, self._received = self.reactor.seconds(), self._progress.received
        self._backlog = 0.0

    def _seconds_of(self, size: int) -> float:
        """How long the path takes for so many bytes, by what it has carried for this probe."""
        came = self._progress.received - self._received
        return size / came * (self.reactor.seconds() - self._began) if came else 0.0

    async def calm_down(self, failed: bool) -> None:
        """Wait until what the last probe left in queues has gone by: a message is answered again.

        Otherwise a slow path would be accused by the next probe: its first bytes wait behind.

        :param failed: the last probe did; then it may be no slow path, but a dead one.
        """
        backlog, self._backlog = self._backlog, 0.0
        if backlog < _BRIEF or self._progress.silent_for >= self.settings.timeout:
            return
        most = (_DOUBTED if failed else _TRUSTED) * self.settings.timeout
        limit = min(2 * backlog + self.settings.timeout, most)
        waiting = Deferred.fromCoroutine(self._answered())
        patience, self._progress.patience = self._progress.patience, limit
        try:
            with suppress(defer.TimeoutError):
                await waiting.addTimeout(limit, self.reactor)
        finally:
            self._progress.patience = patience
            self.close()
            self._backlog = 0.0

    async def _answered(self) -> None:
        """Ask until there is an answer, or a failure that comes at once: the next probe has it."""
        while True:
            began = self.reactor.seconds()
            with suppress(Failed):
                await (await self.connect()).ask()
                return
            if self.reactor.seconds() < began + _BRIEF:
                return

    def _unreachable(self, error: Exception) -> tuple[str, str]:
        where = self.target.name
        if isinstance(error, defer.TimeoutError):
            seconds = f"{self.settings.timeout + self.context.lookup_seconds:.3g} s"
            return f"no connection to {where} within {seconds}", self._silent()
        if isinstance(error, VerificationError):
            return f"no connection to {where}: {error.why}", error.advice
        name = describe_error(error)
        if name.startswith("TLS"):
            why = "no TLS there, or another version, or it wants a client's certificate (--cert)"
            return f"no connection to {where}: {name}", alert_advice(name) or why
        reasons = _OF_PATHS if self._is_unix() else _REASONS
        why = self._silent() if name == "ETIMEDOUT" else reasons.get(name, "")
        return f"no connection to {where}: {name}", why

    def _is_unix(self) -> bool:
        """Whether it is a UNIX socket, below whatever else."""
        endpoint: Any = self.target.endpoint
        while isinstance(endpoint, (TLSConnector, ProxyingEndpoint)):
            endpoint = endpoint._endpoint
        return isinstance(endpoint, UNIXClientEndpoint)

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
    # What routes of the kinds blackhole and prohibit answer (ip-route(8)).
    "EINVAL": "a route of this machine drops what goes there (blackhole), or no address of a host",
    "EACCES": "a route or a firewall of this machine forbids it, or no address of a host",
    "EPERM": "a firewall of this machine forbids it",
    "EADDRNOTAVAIL": "the own address is not this machine's, or no port is free",
    "EAFNOSUPPORT": "this machine has no such addresses",
}
#: The same of UNIX sockets.
_OF_PATHS = {
    "ENOENT": "there is no socket at that path: the server does not run, or has another one",
    "ECONNREFUSED": "nobody listens at that path: the server has ended, or it is no socket",
    "EACCES": "the permissions of the socket or of a directory above it do not let this user in",
    "EPERM": "the permissions of the socket or of a directory above it do not let this user in",
    "ENOTDIR": "what should be a directory of that path is none",
    "ELOOP": "the links of that path lead in a circle",
    "EAGAIN": "the server's queue of connections is full",
    "EPROTOTYPE": "a socket of another kind is at that path",
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
