"""Opens the connections of a load: plainly, or each is recognised before it counts as open.

Theory of operation. Servers behind one address may have different prefixes, and a server may be
replaced by one with another prefix. So where the prefix is not known, two short messages are sent
on each connection, one after the other. What comes before the first reply is the greeting and the
prefix, what comes before the second one is the prefix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.defer import Deferred

from echosvc.client import EchoClientFactory
from echosvc.endpoints.client import ClientTarget
from echosvc.net.client_stream import ClientStream, can_take_over
from echosvc.net.epoll import EpollDispatcher, make_group
from echosvc.probe.engine.connect_errors import describe_connect_error
from echosvc.probe.engine.findings import Failed
from echosvc.probe.load.channel import Channel, LoadClient
from echosvc.probe.load.first_exchange import FirstExchange
from echosvc.probe.load.server_form import FormReader, ServerForm
from echosvc.tls.endpoints import TLSConnector
from echosvc.wire.template import Template

#: Seconds that a client lingers: its own time-outs must not end a connection.
_NO_TIMEOUT = 1e9


@dataclass(frozen=True)
class Opening:
    """A connection that is open.

    :ivar channel: what carries it.
    :ivar seconds: how long it took to connect, TLS included.
    :ivar form: how its server answers.
    :ivar answered: when the first message was answered, by the clock of the opener.
    :ivar first_byte: how long that took; ``None``: no message was sent, and the server may greet.
    """

    channel: Channel
    seconds: float
    form: ServerForm
    answered: float = 0.0
    first_byte: float | None = None


class _LoadClientFactory(EchoClientFactory):
    protocol = LoadClient


class Opener(ABC):
    """Opens connections to one server.

    :param target: the server.
    :param timeout: seconds that a connection may take to open, TLS included.
    :param now: the clock.
    """

    def __init__(
        self, reactor: Any, target: ClientTarget, timeout: float, now: Callable[[], float]
    ) -> None:
        self._reactor, self._target, self._timeout, self._now = reactor, target, timeout, now
        self._dispatcher: EpollDispatcher | None = None

    @abstractmethod
    async def open(self) -> Opening:
        """Open a connection.

        :raises Exception: what :func:`describe_opening_error` describes.
        """

    async def _connect(self) -> tuple[Channel, float]:
        """Return a new connection, and how long it took to connect."""
        factory = _LoadClientFactory(
            clock=self._reactor, linger=_NO_TIMEOUT, nagle=False, allow_half_open=True
        )
        began = self._now()
        attempt = cast("Deferred[LoadClient]", self._target.endpoint.connect(factory))
        client = await attempt.addTimeout(self._timeout, self._reactor)
        seconds = self._now() - began
        taken = can_take_over(client.transport)
        return self._take_over(client) if taken else cast(Any, client), seconds

    def _take_over(self, client: LoadClient) -> Channel:
        stream: Any = ClientStream(client.transport, self._get_dispatcher())
        stream.local, stream.peer = client.local, client.remote
        return cast(Channel, stream)

    def _get_dispatcher(self) -> EpollDispatcher:
        if self._dispatcher is None:
            own = isinstance(self._reactor, EpollDispatcher)
            self._dispatcher = self._reactor if own else make_group(self._reactor, _ignore)
        return cast(EpollDispatcher, self._dispatcher)


def _ignore(_: OSError) -> None:
    """Do nothing: the connections are notified one by one."""


class DirectOpener(Opener):
    """Opens connections to servers whose form is known, and sends nothing on them.

    :param form: of all servers.
    """

    def __init__(
        self,
        reactor: Any,
        target: ClientTarget,
        timeout: float,
        now: Callable[[], float],
        form: ServerForm,
    ) -> None:
        super().__init__(reactor, target, timeout, now)
        self._form = form

    async def open(self) -> Opening:
        """Open a connection.

        :raises Exception: as the endpoint does.
        """
        return Opening(*await self._connect(), self._form)


class RecognizingOpener(Opener):
    """Opens connections to servers that may have different prefixes.

    :param framing: the servers'.
    :param prefix: that of all servers; ``None``: it is detected on each connection.
    """

    def __init__(
        self,
        reactor: Any,
        target: ClientTarget,
        timeout: float,
        now: Callable[[], float],
        framing: str,
        prefix: Template | None = None,
    ) -> None:
        super().__init__(reactor, target, timeout, now)
        self._framing, self._forms = framing, FormReader(framing, prefix)
        self._secure = isinstance(target.endpoint, TLSConnector)

    async def open(self) -> Opening:
        """Open a connection, and find out how its server answers.

        :raises Failed: two messages are not answered in time, or not as they should be.
        :raises Exception: as the endpoint does.
        """
        channel, seconds = await self._connect()
        exchange = FirstExchange(
            self._reactor, channel, self._framing, self._timeout, self._secure, self._now
        )
        try:
            form = self._forms.read(*await exchange.run())
        except BaseException:
            channel.abort()
            raise
        answered = exchange.answered
        return Opening(channel, seconds, form, answered, answered - exchange.asked)


def describe_opening_error(
    error: Exception, target: ClientTarget, seconds: float
) -> tuple[str, str]:
    """Return why a connection could not be opened, or not be used, and the likeliest cause.

    :param seconds: the time-out.
    """
    if isinstance(error, Failed):
        return error.finding, error.cause
    return describe_connect_error(error, target, seconds)
