"""The service: open the listeners, drain, stop.

``EchoService(factory, [endpoint])`` is an ordinary Twisted service, to be put into
an application's ``MultiService``. :func:`makeService` is what ``twistd echosvc`` and
``twist echosvc`` run.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet import tcp
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorCore,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure

from echosvc.admission import raise_descriptor_limit
from echosvc.certificates import ServerTLS
from echosvc.clock import make_monotonic
from echosvc.factory import EchoFactory
from echosvc.listeners import ListenError, file_fault, listen_error
from echosvc.options import Options, give_up
from echosvc.pems import CertificateError
from echosvc.signals import Signals

#: How many times a listening socket is emptied before it is closed; each time takes
#: everything that waits, so more than one is needed only while clients keep coming.
_ACCEPT_ROUNDS = 1024
#: After the drain: seconds, besides ``linger``, that a polite close may take.
_CLOSE_GRACE = 1.0


class EchoService(Service):
    """A server on its listeners.

    :param factory: what to serve.
    :param endpoints: where.
    :param reactor: what to run on; ``None`` = the global one.
    :param own_signals: reload at SIGHUP; while stopping, let a second SIGINT or SIGTERM
        end all connections now. For a service that owns the process.
    :ivar ports: the open listeners.
    """

    def __init__(
        self,
        factory: EchoFactory,
        endpoints: Sequence[IStreamServerEndpoint],
        *,
        reactor: IReactorTime | None = None,
        own_signals: bool = False,
    ) -> None:
        self.factory = factory
        self.ports: list[IListeningPort] = []
        self._endpoints = tuple(endpoints)
        self._reactor = reactor
        self._own_signals = own_signals
        self._signals = Signals(self._time, self.reload, factory.abort_all)
        self._bound = False

    def bind(self) -> None:
        """Open all listeners, now; they are served once the reactor runs.

        Called by the start where it was not called before.

        :raises ListenError: one failed. None is open then.
        """
        if self._bound:
            return
        self._bound = True
        for endpoint in self._endpoints:
            try:
                self.ports.append(_opened(endpoint, self.factory))
            except ListenError:
                self._close_now()
                self._bound = False
                raise

    def privilegedStartService(self) -> None:
        """Open the listeners while the process may still use ports below 1024."""
        Service.privilegedStartService(self)
        self.bind()

    def startService(self) -> None:
        """Open the listeners, and say so once signals are handled and clients served.

        :raises ListenError: one failed. A service that cannot listen does not start.
        """
        self.bind()
        Service.startService(self)
        running = cast(IReactorCore, self._time())
        if self._own_signals:
            running.callWhenRunning(self._signals.take)
        running.callWhenRunning(self._announce)

    def reload(self) -> None:
        """Read certificates and keys again; live connections keep theirs (SIGHUP).

        Where a file is wrong, that is said, and its listener keeps the old ones.
        """
        for endpoint in self._endpoints:
            for creator in getattr(endpoint, "creators", ()):
                if isinstance(creator, ServerTLS):
                    self._reload(creator, str(endpoint))

    def _reload(self, creator: ServerTLS, where: str) -> None:
        try:
            creator.reload()
        except (OSError, CertificateError) as error:
            why = file_fault(error) if isinstance(error, OSError) else str(error)
            self.factory.report.server_error(f"{where} keeps its certificate: {why}")
        else:
            self.factory.report.reloaded(where)

    def _announce(self) -> None:
        for port in self.ports:
            self.factory.report.listening(port.getHost())

    def stopService(self) -> Deferred[None]:
        """Stop listening at once; give live connections the factory's ``drain`` seconds.

        Then they are closed politely, and after ``linger`` more aborted.

        :return: fires when no connection is left.
        """
        Service.stopService(self)
        self._bound = False
        self._signals.stopping = True
        closed = self._close_ports()
        return Deferred.fromCoroutine(self._drain(closed))

    async def _drain(self, closed: Deferred[Any]) -> None:
        config = self.factory.config
        await self._idle_within(config.drain)
        self.factory.end_all()
        await self._idle_within(config.linger + _CLOSE_GRACE)
        self.factory.abort_all()
        await self.factory.when_idle()
        await closed
        self.factory.report.terminated()

    async def _idle_within(self, seconds: float) -> None:
        """Wait until no connection lives, at most ``seconds``."""
        idle = self.factory.when_idle()
        if not idle.called:
            limit = self._time().callLater(seconds, idle.cancel)
            with suppress(Exception):
                await idle
            if limit.active():
                limit.cancel()

    def _close_ports(self) -> Deferred[Any]:
        ports, self.ports = self.ports, []
        return DeferredList([self._close(port) for port in ports])

    def _close_now(self) -> None:
        """Close what was opened, though the reactor may never run."""
        ports, self.ports = self.ports, []
        for port in ports:
            if isinstance(port, tcp.Port):
                port.stopReading()
                port.connectionLost(Failure(ConnectionDone()))

    def _close(self, port: IListeningPort) -> Deferred[Any]:
        """Close a listener and reset nobody.

        Whoever waits in its queue would be: so they are accepted first. A port closes
        one reactor turn after it is told to, so that is done again right before.
        """
        accept_waiting(port)
        self._time().callLater(0, accept_waiting, port)
        return maybeDeferred(port.stopListening).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.factory.report.server_error(failure.getErrorMessage())

    def _time(self) -> IReactorTime:
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = cast(IReactorTime, reactor)
        return self._reactor


def _opened(endpoint: IStreamServerEndpoint, factory: EchoFactory) -> IListeningPort:
    """Listen; Twisted's own endpoints do so at once, or fail."""
    results: list[Any] = []
    endpoint.listen(factory).addBoth(results.append)
    if not results:
        raise ListenError(f"cannot listen on {endpoint}: it is not ready at once")
    if isinstance(results[0], Failure):
        raise listen_error(str(endpoint), cast(Exception, results[0].value))
    return cast(IListeningPort, results[0])


def accept_waiting(port: IListeningPort) -> None:
    """Accept everybody whom the kernel has queued on a listening socket."""
    if not isinstance(port, tcp.Port) or not port.connected:
        return
    ready = select.poll()
    ready.register(port.fileno(), select.POLLIN)
    for _ in range(_ACCEPT_ROUNDS):
        if not ready.poll(0):
            return
        port.doRead()


def makeService(options: Options) -> EchoService:
    """Build the service that the options describe, its listeners open.

    They are opened here, before twistd becomes a daemon, because only now can a
    failure be told in one line to whoever started it.
    """
    from twisted.internet import reactor

    make_monotonic(reactor)
    raise_descriptor_limit()
    factory = EchoFactory(config=options.config)
    service = EchoService(factory, options.endpoints(reactor), own_signals=True)
    try:
        service.bind()
    except ListenError as error:
        give_up(str(error))
    return service
