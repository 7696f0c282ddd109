"""All connections of one server: their settings, their clock, their count."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from zope.interface import implementer

from echosvc.config.schema import Config, Settings
from echosvc.connection.outcome import Outcome
from echosvc.connection.scheduler import Sweep
from echosvc.connection.timeouts import GRACE
from echosvc.net.acceptor import IAdmittingFactory
from echosvc.net.socket_options import tune
from echosvc.net.stream import ReplyBuffer
from echosvc.server.admission import Admission
from echosvc.server.events import Report
from echosvc.server.protocol import EchoProtocol
from echosvc.server.proxy_gate import Proxied, Successor
from echosvc.wire.template import Template

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11


@implementer(IAdmittingFactory)
class EchoFactory(Factory):
    """A whole server: ``endpoint.listen(EchoFactory(prefix=b"> "))``.

    :param clock: what the connections' deadlines run on; ``None`` = the reactor that
        is installed when the first connection comes.
    :param on_connect: called with each connection that starts (Node's
        ``connectionListener``).
    :param config: the settings as one object, in place of ``settings``.
    :param settings: the fields of :class:`~echosvc.config.schema.Config`.
    :raises ConfigError: a wrong value.
    :raises TypeError: an unknown setting, or settings and ``config``.
    :ivar protocol: the class of the connections; a subclass of :class:`EchoProtocol`.
    :ivar made: connections made so far.
    """

    noisy = False
    protocol: type[EchoProtocol] = EchoProtocol  # type: ignore[assignment]

    def __init__(
        self,
        *,
        clock: IReactorTime | None = None,
        on_connect: Callable[[EchoProtocol], object] | None = None,
        config: Config | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        if config is not None and settings:
            raise TypeError("config and settings exclude each other")
        self.config = config or Config(**settings)
        self.prefix = self.config.prefix_template()
        self.greeting = self.config.greeting_template()
        self.sweep: Sweep[EchoProtocol] = Sweep(
            clock, [*self.config.timeouts(), GRACE], self.config.idle_timeout
        )
        self._strangers: Sweep[Proxied] = Sweep(clock, [self.config.handshake_timeout])
        self.report = Report(self.config.log, self.sweep.later)
        self.admission = Admission(self.config, self.report)
        self._direct = self.config.proxy_protocol == "off"
        self.on_connect = on_connect
        self.made = 0
        self._stopped = False  # all listeners have closed
        self._ended_in = self._ended_out = 0
        self._waiting: list[Deferred[None]] = []
        self._replies: ReplyBuffer | None = None  # made for the first who may use them
        self._echoing: tuple[type | None, bool] = None, False  # the last kind asked for

    def startFactory(self) -> None:
        """The first listener has opened."""
        self._stopped = False

    def stopFactory(self) -> None:
        """No listener is left. Connections may be: the last of them leaves no timer."""
        self._stopped = True
        self.report.settle()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Build the connection of a client right on its socket, if it may come in."""
        build = self.build_if_admitted
        return build(addr) if self._direct else self.build_outer(addr, build)

    def tune(self, handle: socket.SocketType) -> None:
        """Set the options that every connection's socket is to have."""
        tune(handle, self.config.nagle, self.config.keep_alive, self.config.stall_timeout)

    def build_outer(self, addr: IAddress | None, build: Successor) -> Any:
        """Build what stands right on a socket: what reads a PROXY header, or ``build``'s."""
        if self._direct:
            return build(addr)
        return Proxied(self, build) if self.admission.admits_proxy(addr) else None

    def build_if_admitted(self, addr: IAddress | None) -> Any:
        """Build a connection, if the client may come in."""
        if not self.admission.admits(addr):
            return None
        protocol = self.protocol()
        protocol.factory = self
        return protocol

    def meet(self, stranger: Proxied) -> None:
        """Count in a connection that has no header yet, and wait for that, not for ever."""
        if limit := self.config.handshake_timeout:
            stranger.due = self._strangers.now() + limit
        self._strangers.watch(stranger)
        self.admission.live += 1

    def part(self, stranger: Proxied) -> None:
        """Count it out, if it is in; who waits for a place is not told."""
        if stranger in self._strangers.watched:
            self._strangers.forget(stranger)
            self.admission.live -= 1

    @property
    def connections(self) -> tuple[EchoProtocol, ...]:
        """The live connections, the oldest first."""
        return tuple(self.sweep.watched)

    @property
    def count(self) -> int:
        """How many connections live (Node's ``getConnections``)."""
        return len(self.sweep.watched)

    @property
    def bytes_in(self) -> int:
        """Bytes read on all connections, ended ones included."""
        return self._ended_in + sum(each.bytes_in for each in self.sweep.watched)

    @property
    def bytes_out(self) -> int:
        """Bytes accepted for sending on all connections, ended ones included."""
        return self._ended_out + sum(each.bytes_out for each in self.sweep.watched)

    def when_idle(self) -> Deferred[None]:
        """Fire when no connection lives. Cancelling it stops the waiting only."""
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self.tell_idle()
        return waiting

    def end_all(self) -> None:
        """End every live connection politely, with the word ``drained``."""
        self._refuse_strangers()
        for connection in self.connections:
            connection.end_with(Outcome.DRAINED)

    def abort_all(self) -> None:
        """End every live connection now."""
        self._refuse_strangers()
        for connection in self.connections:
            connection.abort_with(Outcome.ABORTED)

    def echoes(self, kind: type[EchoProtocol]) -> bool:
        """Whether such a connection answers every read by its prefix and the read."""
        if self._echoing[0] is not kind:
            self._echoing = kind, self.config.plain and kind.echoes()
        return self._echoing[1]

    def replies_behind(self, head: bytes) -> ReplyBuffer | None:
        """Give where replies with this prefix are made, if it is that of all connections."""
        if head != self.prefix.constant:
            return None
        if self._replies is None or self._replies.prefix != head:
            self._replies = ReplyBuffer(head)
        return self._replies

    def _refuse_strangers(self) -> None:
        for stranger in tuple(self._strangers.watched):
            stranger.refuse("the service stops")

    def bound(self, template: Template, facts: Callable[[], dict[str, str]]) -> Template:
        """Return a template with the fields of one connection filled in.

        :param facts: returns them; called where the template has fields.
        """
        if template.constant is not None:
            return template
        values = {"hostname": socket.gethostname(), "pid": str(os.getpid())}
        return template.bind(values | facts())

    def enter(self, connection: EchoProtocol) -> int:
        """Count a connection in; give its ordinal."""
        self.made += 1
        self.admission.enter(connection)
        return self.made

    def leave(self, connection: EchoProtocol) -> None:
        """Count a connection out."""
        self._ended_in += connection.bytes_in
        self._ended_out += connection.bytes_out
        self.admission.leave(connection)

    def tell_idle(self) -> None:
        """Tell those who wait, if no connection lives and the last has said its end."""
        if self.sweep.watched or self._strangers.watched:
            return
        if self._stopped:
            self.report.settle()
        while self._waiting and not (self.sweep.watched or self._strangers.watched):
            self._waiting.pop(0).callback(None)
