"""Asks on a connection of its own who answers."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectBindError, ConnectingCancelledError
from twisted.python.failure import Failure

from echosvc._text import quote
from echosvc.endpoints.client import ClientTarget
from echosvc.net.errors import describe_error, is_program_error
from echosvc.probe.engine.client import ProbeClient, ProbeClientFactory
from echosvc.probe.engine.connect_errors import describe_connect_error
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.settings import CheckSettings
from echosvc.probe.share.answers import LINE_DIALECTS, LineDialect, WrongAnswerError
from echosvc.probe.share.failures import is_local
from echosvc.probe.share.identity import IdentitySearch
from echosvc.probe.share.names import PrefixNames, name_text
from echosvc.probe.share.prefix_reader import PrefixReader
from echosvc.probe.share.settings import ShareSettings
from echosvc.probe.traffic.causes import cause_of_end, cause_of_error
from echosvc.wire.gateway_api import WELCOME

#: Seconds that a client lingers: no time-out of its own may end a connection.
_NO_TIMEOUT = 1e9
#: So much later than its time-out a connection is given up that is answered byte by byte, seconds.
_DRIP = 1.0


class AskingError(Exception):
    """A connection failed.

    :ivar cause: in one word.
    :ivar finding: in one line.
    """

    def __init__(self, cause: str, finding: str) -> None:
        super().__init__(finding)
        self.cause, self.finding = cause, finding


class LocalError(Exception):
    """A connection cannot be opened on this machine now; says why in one line."""


class Asker:
    """Opens connections, and asks on each who answers.

    :param reactor: what to run on.
    :param target: the path.
    :param settings: they are checked already.
    """

    def __init__(self, reactor: Any, target: ClientTarget, settings: ShareSettings) -> None:
        self._reactor, self._target, self._settings = reactor, target, settings
        engine = CheckSettings(
            prefix=settings.prefix, framing=settings.framing, timeout=settings.timeout
        )
        self._context = ProbeContext(reactor, engine)
        self._factory = ProbeClientFactory(
            self._context.progress.note_received,
            clock=reactor, linger=_NO_TIMEOUT, allow_half_open=True,
        )  # fmt: skip
        self._dialect: LineDialect | None = LINE_DIALECTS.get(settings.dialect)
        self._prefixes = PrefixReader(engine, lenient=settings.identity is not None)
        self._names, self._identity = PrefixNames(settings.prefix), None
        if settings.identity is not None:
            self._identity = IdentitySearch(reactor, settings.identity, settings.timeout)

    @property
    def is_ready(self) -> bool:
        """Whether several connections may be asked at once: what they all share is known."""
        return self._dialect is not None or self._prefixes.is_ready

    async def ask(self, number: int, port: int = 0) -> tuple[str, ProbeConnection]:
        """Open a connection and ask it; return who answered, and the connection, still open.

        :param number: the connection's.
        :param port: to connect from; 0: the system chooses.
        :raises AskingError: it failed; the connection is closed.
        :raises LocalError: this machine cannot open one now.
        """
        began = self._reactor.seconds()
        connection = ProbeConnection(self._context, await self._connect(port))
        seconds = max(0.0, self._settings.timeout - (self._reactor.seconds() - began))
        asking = Deferred.fromCoroutine(self._name(connection, number, seconds))
        asking.addTimeout(seconds + _DRIP, self._reactor)
        try:
            return await asking, connection
        except BaseException as error:
            connection.client.abort()
            raise self._failure(error) from None

    async def _connect(self, port: int) -> ProbeClient:
        if self._target.tcp is not None:
            self._target.tcp.bind_port = port
        timeout = self._settings.timeout
        connecting = cast("Deferred[ProbeClient]", self._target.endpoint.connect(self._factory))
        connecting.addTimeout(timeout, self._reactor, _timed_out)
        try:
            client = await connecting
        except ConnectingCancelledError:
            raise CancelledError from None
        except Exception as error:
            name = describe_error(error)
            if is_local(name) or isinstance(error, ConnectBindError):
                raise LocalError(f"no connection can be opened here: {name}") from None
            if isinstance(error, CancelledError) or is_program_error(error):
                raise
            words = describe_connect_error(
                error, self._target, timeout, self._context.history.answered
            )
            raise AskingError(cause_of_error(name), _sentence(*words)) from None
        if client.setup_error is not None:
            raise client.setup_error
        return client

    async def _name(self, connection: ProbeConnection, number: int, seconds: float) -> str:
        """Return who answers on a connection."""
        if self._dialect is not None:
            text = await self._ask_line(self._dialect, connection, number, seconds)
        else:
            prefix = await self._prefixes.read(connection, seconds)
            text = self._names.name(prefix) if self._identity is None else name_text(prefix)
        self._context.history.note_answered(connection.rtt)
        return text if self._identity is None else await self._identity.name_in(text)

    async def _ask_line(
        self, dialect: LineDialect, connection: ProbeConnection, number: int, seconds: float
    ) -> str:
        """Return who answers in a language of lines."""
        connection.write(dialect.question(number)).addErrback(lambda _: None)
        came = b""
        try:
            while (name := dialect.name_in(came, number)) is None:
                came += await connection.receive(seconds)
        except ConnectionEnded as end:
            what = f"what came is {quote(came)}" if came else "nothing came"
            words = f"no answer to {quote(dialect.question(number))}: {end.reason}; {what}"
            raise AskingError(cause_of_end(end.reason), words) from None
        return name

    def _failure(self, error: BaseException) -> BaseException:
        """Return an error of a connection as one that is counted; others as they are."""
        if isinstance(error, defer.TimeoutError):
            words = "no whole answer within the time-out, though some bytes came"
            return AskingError("timeout", words)
        if isinstance(error, WrongAnswerError):
            return AskingError("mismatch", str(error))
        if isinstance(error, Failed):
            came = error.came if isinstance(error, Unanswered) else b""
            advice = "it is a server of --dialect gateway-api" if came.startswith(WELCOME) else ""
            return AskingError(
                cause_of_end(error.end), _sentence(error.finding, advice or error.cause)
            )
        return error


def _timed_out(result: object, _: float) -> object:
    """Return the time-out as an error of its own: an attempt that is cancelled has others."""
    return Failure(defer.TimeoutError()) if isinstance(result, Failure) else result


def _sentence(finding: str, cause: str) -> str:
    return f"{finding}; likely: {cause}" if cause else finding
