"""The service: open the listeners, drain, stop.

``EchoService(factory, [endpoint])`` is an ordinary Twisted service, to be put into
an application's ``MultiService``. :func:`echosvc.cli.twistd.makeService` makes the one that
``twistd echosvc`` and ``twist echosvc`` run.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet import tcp
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import ConnectionDone, ReactorNotRunning
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorCore,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure

from echosvc.net.acceptor import StreamPort
from echosvc.net.epoll import HAS_EPOLL
from echosvc.net.errors import ListenError, ReloadError, listen_error
from echosvc.net.files import describe_file_error
from echosvc.net.main_loop import ExitStatus
from echosvc.net.systemd import UnclaimedSocket
from echosvc.server.drain import Drain
from echosvc.server.factory import EchoFactory
from echosvc.server.signals import Signals

#: How many times a listening socket is emptied before it is closed; each time takes
#: everything that waits, so more than one is needed only while clients keep coming.
_ACCEPT_ROUNDS = 1024


class EchoService(Service):
    """A server on its listeners.

    :param factory: what to serve.
    :param endpoints: where.
    :param reactor: what to run on; ``None`` = the global one.
    :param owns_process: the process serves nothing else: reload at SIGHUP, stop the reactor when no
        listener is left, and while stopping let a second SIGINT or SIGTERM end all connections now.
    :ivar ports: the open listeners.
    :ivar exit_status: whether its end is a failure, as where its process has no listener left.
    :ivar unserved: sockets that were handed over to the process and are not for it.
    """

    def __init__(
        self,
        factory: EchoFactory,
        endpoints: Sequence[IStreamServerEndpoint],
        *,
        reactor: IReactorTime | None = None,
        owns_process: bool = False,
    ) -> None:
        self.factory = factory
        self.ports: list[IListeningPort] = []
        self._endpoints = tuple(endpoints)
        self._reactor = reactor
        self._owns_process = owns_process
        self._signals = Signals(self._get_reactor, self.reload, self.end_now)
        self._drain: Drain | None = None
        self._hurried = False  # the next drain is to take no time
        self._bound = False
        self.exit_status = ExitStatus()
        self.unserved: list[UnclaimedSocket] = []

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
                self.ports += _opened(endpoint, self.factory)
            except ListenError:
                self._close_now()
                self._bound = False
                raise
        for port in self.ports:
            if isinstance(port, StreamPort):
                port.call_when_lost(partial(self._remove_lost, port))

    def _remove_lost(self, port: IListeningPort) -> None:
        """Drop a listener that has ended by itself.

        With the last one, a service that owns its process ends it: a supervisor may then start it
        again, with listeners.
        """
        if port in self.ports:
            self.ports.remove(port)
            if not self.ports:
                self._stop_process() if self._owns_process else self._log_no_listener(
                    "no client can connect"
                )

    def _stop_process(self) -> None:
        self.exit_status.failed = True
        self._log_no_listener("the service stops")
        with suppress(ReactorNotRunning):  # it stops already
            cast(IReactorCore, self._get_reactor()).stop()

    def _log_no_listener(self, what: str) -> None:
        self.factory.events.server_error(f"no listener is left: {what}")

    def privilegedStartService(self) -> None:
        """Open the listeners while the process may still use ports below 1024."""
        Service.privilegedStartService(self)
        self.bind()

    def startService(self) -> None:
        """Open the listeners, and log that once signals are handled and clients served.

        :raises ListenError: one failed. A service that cannot listen does not start.
        """
        self.bind()
        self._drain, self._hurried = None, False
        Service.startService(self)
        running = cast(IReactorCore, self._get_reactor())
        if self._owns_process:
            running.callWhenRunning(self._signals.install)
        running.callWhenRunning(self._announce)

    def reload(self) -> None:
        """Read certificates and keys again; live connections keep theirs (SIGHUP).

        Where a file is wrong, that is logged, and its listener keeps the old ones.
        """
        for endpoint in self._endpoints:
            for reload in getattr(endpoint, "reloads", ()):
                self._reload(reload, str(endpoint))

    def _reload(self, reload: Callable[[], None], where: str) -> None:
        try:
            reload()
        except (OSError, ReloadError) as error:
            why = describe_file_error(error) if isinstance(error, OSError) else str(error)
            self.factory.events.server_error(f"{where} keeps its certificate: {why}")
        else:
            self.factory.events.reloaded(where)

    def _announce(self) -> None:
        events = self.factory.events
        self.factory.ready = self._drain is None
        for port in self.ports:
            events.listening(port.getHost())
        for each in self.unserved:
            events.unserved(each.index, each.name, each.address)
        if not HAS_EPOLL:
            events.without_epoll()

    def stopService(self) -> Deferred[None]:
        """Drain: stop listening, let live connections go on for the factory's ``drain`` seconds.

        Then they are closed politely, and after ``linger`` more aborted. The settings
        ``drain_delay``, ``unready_delay`` and ``drain_spread`` add phases before
        (:mod:`echosvc.server.drain`).

        :return: fires when no connection is left.
        """
        Service.stopService(self)
        self._signals.stopping = True
        accepting = bool(self.ports)
        self._drain = Drain(self.factory, self._get_reactor(), self._close_ports, accepting)
        if self._hurried:
            self._drain.end_now()
        drained = Deferred.fromCoroutine(self._drain.run())
        return drained.addCallback(self._end_injection)

    def _end_injection(self, _: object) -> None:
        """End the connections that faults keep from being served."""
        if self.factory.injector is not None:
            self.factory.injector.abort_all()

    def end_now(self) -> None:
        """End all connections at once, and skip what is left of the drain, also of one to come."""
        self._hurried = True
        if self._drain is None:
            self.factory.abort_all()
        else:
            self._drain.end_now()

    def _close_ports(self) -> Deferred[Any]:
        if self.factory.injector is not None:
            self.factory.injector.leave_ports()
        ports, self.ports = self.ports, []
        self._bound = False
        return DeferredList([self._close(port) for port in ports])

    def _close_now(self) -> None:
        """Close what was opened, though the reactor may never run."""
        ports, self.ports = self.ports, []
        for port in ports:
            if isinstance(port, tcp.Port):
                port.stopReading()
                port.connectionLost(Failure(ConnectionDone()))

    def _close(self, port: IListeningPort) -> Deferred[Any]:
        """Close a listener without a reset of the clients in its queue: accept them first.

        A port closes one turn of the reactor after ``stopListening``, so that they are accepted
        again right before.
        """
        accept_waiting(port)
        self._get_reactor().callLater(0, accept_waiting, port)
        return maybeDeferred(port.stopListening).addErrback(self._log_failure)

    def _log_failure(self, failure: Failure) -> None:
        self.factory.events.server_error(failure.getErrorMessage())

    def _get_reactor(self) -> IReactorTime:
        if self._reactor is None:
            from twisted.internet import reactor

            self._reactor = cast(IReactorTime, reactor)
        return self._reactor


def _opened(endpoint: IStreamServerEndpoint, factory: EchoFactory) -> list[IListeningPort]:
    """Listen, at once, on one socket or several; Twisted's own endpoints do so, or fail."""
    results: list[Any] = []
    endpoint.listen(factory).addBoth(results.append)
    if not results:
        raise ListenError(f"cannot listen on {endpoint}: it is not ready at once")
    if isinstance(results[0], Failure):
        raise listen_error(str(endpoint), cast(Exception, results[0].value))
    return list(getattr(results[0], "ports", results))


def accept_waiting(port: IListeningPort) -> None:
    """Accept every connection that the kernel has queued on a listening socket."""
    if not isinstance(port, tcp.Port) or not port.connected:
        return
    ready = select.poll()
    ready.register(port.fileno(), select.POLLIN)
    for _ in range(_ACCEPT_ROUNDS):
        if not ready.poll(0):
            return
        port.doRead()
        if not port.connected or getattr(port, "accepting_paused", False):
            return  # it has ended, or cannot accept
