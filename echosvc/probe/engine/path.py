"""A path to a server: connections over it, and the wait between probes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar, cast

from OpenSSL import SSL
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.error import ConnectingCancelledError, ConnectionClosed

from echosvc._text import escaped
from echosvc.endpoints.client import ClientTarget
from echosvc.net.errors import TLSError, describe_error, is_program_error
from echosvc.probe.engine.client import ProbeClient, ProbeClientFactory
from echosvc.probe.engine.connect_errors import NotConnected, describe_connect_error
from echosvc.probe.engine.connection import SMALL_FRAME_SIZE, ProbeConnection
from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.engine.payload import Payload
from echosvc.probe.engine.turns import LimitReached, Turns
from echosvc.probe.settings import CheckSettings

_Result = TypeVar("_Result")

#: How the network, or TLS, ends a connection.
CONNECTION_ERRORS = (OSError, ConnectionClosed, TLSError, SSL.Error)
#: Seconds that a client lingers: no time-out of its own may end a connection before the probe.
_NO_TIMEOUT = 1e9
#: A backlog that takes no longer to come back is not waited for between two probes, seconds.
_SHORT_BACKLOG = 1.0
#: The longest wait between two probes, in time-outs: after one that failed, and after one whose
#: bytes were right as far as they came.
_MAX_WAIT_AFTER_FAILURE, _MAX_WAIT = 6, 30
#: How long an answer is waited for to find out whether it comes, seconds.
_ANSWER_TIME = 3.0
#: The same where another connection may be answered: seconds, or as many times the slowest answer.
_RETRY_TIME, _RETRY_FACTOR = 0.25, 8
#: How many other connections are tried at a limit of connections.
_RETRIES = 8


class Path:
    """A path to a server: opens connections over it, and keeps those that live.

    :ivar context: what the connections share.
    :ivar retransmits: segments that the kernel sent again since the probe began, on connections
        that are closed.
    """

    def __init__(self, reactor: Any, target: ClientTarget, settings: CheckSettings) -> None:
        self.reactor, self.target, self.settings = reactor, target, settings
        self.context = ProbeContext(reactor, settings, self._is_sending)
        self._progress = self.context.progress
        self._turns = Turns(self.context)
        self._live: list[ProbeConnection] = []
        self._began, self._received = reactor.seconds(), 0
        self._backlog_seconds, self.retransmits = 0.0, 0

    def _is_sending(self) -> bool:
        """Return whether a long message makes progress on any connection."""
        return sum(each.is_sending() for each in self._live) > 0  # each notes how far it is

    @contextmanager
    def beside(self) -> Iterator[Path]:
        """Make another path to the same server, for connections beside those of this one.

        It shares with this one what is known, and the turns of the connections.
        """
        other = Path(self.reactor, self.target, self.settings)
        other.context.adopt(self.context)
        other._turns = self._turns
        self._turns.beside += 1
        try:
            yield other
        finally:
            other.close()
            self._turns.beside -= 1

    async def connect(self, nagle: bool = False) -> ProbeConnection:
        """Open a connection, once those that were closed are gone.

        Where the path is known to answer some connections only, others are tried.

        :raises Failed: there is none.
        """
        found = await self._try_others(lambda: self._connect_once(nagle))
        return found or await self._connect_once(nagle)

    async def _try_others(
        self, attempt: Callable[[], Coroutine[Any, Any, ProbeConnection]]
    ) -> ProbeConnection | None:
        """Try as many connections as there may be dead servers; each costs a short time.

        At a limit of connections, those are tried that are silent. There may be room for the next
        one, such as a port of a router that translates addresses.
        """
        known = self.context.knowledge
        limit = 2 * self.retry_time + (self.settings.connections / self.pace if self.pace else 0.0)
        for _ in range(known.retries or (known.connection_limit is not None) * _RETRIES):
            trying = Deferred.fromCoroutine(attempt())
            try:
                return await trying.addTimeout(limit, self.reactor)
            except defer.TimeoutError:
                pass
            except (NotConnected, Unanswered) as failed:
                if not known.retries and failed.end != "silence":
                    raise
        return None

    async def _connect_once(self, nagle: bool) -> ProbeConnection:
        async with self._turns.turn() as opened:
            began = self.reactor.seconds()
            connection = ProbeConnection(self.context, await self._connect_client(nagle, began))
            connection.connect_seconds = self.reactor.seconds() - began
            opened(connection)
            self.context.history.note_opened()
        self._live.append(connection)
        return connection

    async def _connect_client(self, nagle: bool, began: float) -> ProbeClient:
        while True:
            try:
                return self._check_client(await self._attempt(nagle))
            except (CancelledError, Failed):
                raise
            except ConnectingCancelledError:  # by the caller: the time-out has an error of its own
                raise CancelledError from None
            except Exception as error:
                if is_program_error(error):
                    raise
                late = describe_error(error) == "ETIMEDOUT"
                if late and self._progress.silent_for < self._progress.timeout:
                    continue  # its SYN waits in a queue behind the bytes of the other connections
                seconds = self._progress.timeout + self.context.lookup_seconds
                raise self._not_connected(error, seconds, began) from None

    def _not_connected(self, error: Exception, seconds: float, began: float) -> NotConnected:
        late = describe_error(error) == "ETIMEDOUT"
        history = self.context.history
        history.note_refused(self._turns.count_open(), began)
        words = describe_connect_error(error, self.target, seconds, history.opened)
        failed = NotConnected(*words, end="silence" if late else describe_error(error))
        failed.at_opening = self._turns.most_open <= 1
        return failed

    def _check_client(self, client: ProbeClient) -> ProbeClient:
        if client.setup_error is None:
            return client
        with suppress(Exception):  # it may be half made
            client.transport.abortConnection()
        raise Failed(
            f"a connection to {self.target.name} was made, but cannot be used:"
            f" {escaped(describe_error(client.setup_error))[1:-1]}",
            "a fault of echosvc itself, or of a module that changes it",
        )

    def _attempt(self, nagle: bool) -> Deferred[ProbeClient]:
        factory = ProbeClientFactory(
            self._progress.note_received,
            clock=self.reactor, linger=_NO_TIMEOUT, nagle=nagle, allow_half_open=True,
        )  # fmt: skip
        if self.target.tcp is not None:
            self.target.tcp.max_segment = self.context.knowledge.max_segment
        attempt = cast("Deferred[ProbeClient]", self.target.endpoint.connect(factory))
        return self._progress.limit(attempt, more=self.context.lookup_seconds)

    @property
    def answer_time(self) -> float:
        """How long an answer is waited for to find out whether it comes, seconds."""
        return min(max(_ANSWER_TIME, self.retry_time), self.settings.timeout)

    @property
    def retry_time(self) -> float:
        """How long an answer is waited for where another connection may be answered, seconds."""
        least = max(_RETRY_TIME, _RETRY_FACTOR * self.context.history.slowest)
        return min(least, self.settings.timeout)

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Let the path be silent once nothing has come for ``seconds``, not for the time-out."""
        timeout, self._progress.timeout = self._progress.timeout, seconds
        try:
            yield
        finally:
            self._progress.timeout = timeout

    async def open(self, nagle: bool = False) -> ProbeConnection:
        """Open a connection, and detect its prefix by a first exchange.

        Where the path is known to answer some connections only, others are tried.
        """
        found = await self._try_others(lambda: self.open_once(nagle, self.retry_time))
        return found or await self.open_once(nagle)

    async def open_once(self, nagle: bool = False, seconds: float | None = None) -> ProbeConnection:
        """Open a connection, and detect its prefix.

        :param seconds: how long the first answer is waited for; ``None``: the time-out.
        :raises Failed: there is no answer; the connection is closed.
        """
        connection = await self._connect_once(nagle)
        began = self.reactor.seconds() - connection.connect_seconds
        try:
            await connection.detect_prefix(seconds)
        except Unanswered as failed:
            failed.at_opening = self._turns.most_open <= 1
            connection.close()
            self.context.history.note_refused(self._turns.count_open(), began)
            raise
        return connection

    async def open_small(self) -> ProbeConnection:
        """Open one of many connections that send at once."""
        connection = await self.open()
        connection.frame_size = SMALL_FRAME_SIZE
        return connection

    async def open_many(self, count: int) -> list[ProbeConnection]:
        """Open ``count`` connections at once.

        :raises Failed: one of them is not answered, or there are more than the path allows.
        """
        if (allowed := self.allowed(count)) < count:
            raise LimitReached(allowed)
        return await gather([self.open_one_of(number, count) for number in range(1, count + 1)])

    async def open_one_of(self, number: int, count: int) -> ProbeConnection:
        """Open connection ``number`` of ``count``; a failure names it."""
        try:
            return await self.open_small()
        except Failed as failed:
            failed.finding = f"connection {number} of {count}: {failed.finding}"
            raise

    def limit_sizes(self, size: int) -> None:
        """Let no probe send more than ``size`` bytes in one stream from now on, where it can."""
        self.settings = replace(self.settings, max_size=min(size, self.settings.max_size))
        self.context.settings = self.settings

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is known that speaks against more connections, or was asked for."""
        known = self.context.knowledge
        limited = known.connection_limit is not None or known.retries > 0 or known.mixes
        return not (limited or known.pace or self.settings.pace)

    def allowed(self, count: int) -> int:
        """Return how many connections may be open at once: ``count``, or a limit that is known."""
        known = self.context.knowledge
        return 1 if known.mixes else min(count, known.connection_limit or count)

    def payload(
        self, size: int, connection: ProbeConnection, numbered: bool = False, limited: bool = True
    ) -> Payload:
        """Return a new payload in which the prefix of a connection does not occur.

        :param limited: it is not longer than the longest stream that the settings allow.
        """
        if limited:
            size = min(size, self.settings.max_size)
        return self.context.payload(size, connection.prefix_matcher.boundary_bytes, numbered)

    def note_end(self, failed: Failed) -> None:
        """Note in a failure how old the connections were that the peer ended, and how they rested.

        Where the end was silence, those that owe an answer have ended with their last byte.
        """
        live = [each for each in self._live if not each.closing]
        clients = [each.client for each in live if each.client.ended]
        ages = [client.ended - client.made for client in clients]
        if failed.end == "silence":
            owing = [each.client for each in live if each.bytes_due]
            ages += [client.last_byte - client.made for client in owing]
        failed.age = max(ages, default=0.0)
        failed.pause = max((client.longest_pause for client in clients), default=0.0)

    def close(self) -> None:
        """End all connections."""
        self.context.forget_verifiers()
        live, self._live = self._live, []
        self._backlog_seconds += self._seconds_for(sum(each.bytes_due for each in live))
        self.retransmits += sum(each.client.retransmits for each in live)
        for connection in live:
            connection.close()

    # -- between probes -------------------------------------------------------

    def begin_probe(self) -> None:
        """Note that a probe begins: the path's rate is measured from now on."""
        self._began, self._received = self.reactor.seconds(), self._progress.received
        self._backlog_seconds, self.retransmits = 0.0, 0
        self._turns.most_open = 0

    @property
    def received(self) -> int:
        """Bytes that came over all connections so far."""
        return self._progress.received

    @property
    def came(self) -> int:
        """Bytes that came since the probe began."""
        return self._progress.received - self._received

    @property
    def silent_for(self) -> float:
        """For how long nothing has come, seconds."""
        return self._progress.silent_for

    async def wait_until_alone(self, seconds: float) -> None:
        """Wait until no probe is asked beside the one whose turn it is, for a limited time."""
        await self._turns.wait_until_alone(seconds)

    @property
    def pace(self) -> float:
        """How many connections are opened a second at most; 0: any number."""
        return self._turns.pace

    @property
    def most_open(self) -> int:
        """How many connections were open at once, at most, since the probe began."""
        return self._turns.most_open

    def _seconds_for(self, size: int) -> float:
        """Return how long ``size`` bytes take at the rate of this probe."""
        came = self.came
        return size / came * (self.reactor.seconds() - self._began) if came else 0.0

    async def wait_for_backlog(self, failed: bool) -> None:
        """Wait until the bytes that the last probe left in queues have passed.

        Otherwise the next probe would blame a slow path: its first bytes wait behind them. The
        wait is over when a message is answered again.

        :param failed: the last probe failed: the path may be dead, not slow.
        """
        backlog, self._backlog_seconds = self._backlog_seconds, 0.0
        if backlog < _SHORT_BACKLOG or self._progress.silent_for >= self.settings.timeout:
            return
        most = (_MAX_WAIT_AFTER_FAILURE if failed else _MAX_WAIT) * self.settings.timeout
        limit = min(2 * backlog + self.settings.timeout, most)
        waiting = Deferred.fromCoroutine(self._wait_for_answer())
        try:
            with self.patience(limit), suppress(defer.TimeoutError):
                await waiting.addTimeout(limit, self.reactor)
        finally:
            self.close()
            self._backlog_seconds = 0.0

    async def _wait_for_answer(self) -> None:
        """Ask until there is an answer, or a failure at once, which the next probe will find."""
        while True:
            began = self.reactor.seconds()
            with suppress(Failed):
                await (await self.connect()).request()
                return
            if self.reactor.seconds() < began + _SHORT_BACKLOG:
                return


async def gather(work: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """Run coroutines at once and return their results; if one fails, cancel the others."""
    waiting = [Deferred.fromCoroutine(each) for each in work]
    try:
        return cast(list[_Result], await gatherResults(waiting, consumeErrors=True))
    except FirstError as first:
        raise cast(Exception, first.subFailure.value) from None
    finally:
        for each in waiting:
            each.addErrback(lambda _: None)
            each.cancel()
