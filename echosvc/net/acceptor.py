"""Accepting: from a listening socket to a protocol on its transport."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol, cast

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from echosvc._log import log
from echosvc.net.addresses import format_address, make_address
from echosvc.net.epoll import HAS_EPOLL, EpollDispatcher, make_group
from echosvc.net.stream import InheritedOptionsStream, Stream, reset_on_close

#: Most connections accepted for one event; then other descriptors are served.
ACCEPT_BATCH = 100
#: Seconds without accepting after the system was out of resources for another connection.
#: Meanwhile connections wait in the listen queue.
PAUSE = 1.0
#: Errors of accept(2) when the system is out of descriptors or memory.
_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
#: Events of poll(2) on a listening socket that was shut down for reading, or for both.
_HANGUP: int = select.POLLHUP | getattr(select, "POLLRDHUP", 0)
#: Errors of the listening socket itself: it was shut down by another process that shares it, or
#: closed, or its number is another file's. Any other error is one connection's (accept(2)).
_LISTENER_ERRORS = {
    errno.EINVAL: "another process has shut its socket down",
    errno.EBADF: "its socket was closed by other code",
    errno.ENOTSOCK: "its descriptor is another file's",
}


class Limits(Protocol):
    """Decides how many connections may be accepted now.

    :ivar waits: connections over the limit wait in the listen queue, and are not refused.
    """

    waits: bool

    @property
    def available(self) -> float:
        """How many more connections are allowed; ``math.inf`` = any number."""

    def wait_for_slot(self, call: Callable[[], None]) -> None:
        """Call ``call`` once, when another connection is allowed."""

    def cancel_wait(self, call: Callable[[], None]) -> None:
        """Cancel that call."""


class IAdmittingFactory(Interface):
    """A factory that decides which connections a listener accepts, and what they begin with.

    A factory that wraps one provides this too, and passes it on.
    """

    admission: Limits = Attribute("How many connections may be accepted now.")

    def tune(handle: socket.SocketType) -> None:  # noqa: N805  # as of an interface
        """Set the options that every connection's socket is to have."""

    def build_outer(addr: IAddress | None, build: Builder) -> Any:  # noqa: N805
        """Return the protocol that reads a PROXY header from the socket first, or ``build``'s.

        ``None``: the connection is refused.

        :param build: called with the client's address, once it is known.
        """

    def build_if_admitted(addr: IAddress | None) -> Any:  # noqa: N805
        """Return a connection's protocol behind the PROXY header; ``None``: it is refused."""


#: Builds the protocol of a client with this address; ``None``: the client is refused.
Builder = Callable[[IAddress | None], Any]


class StreamPort(tcp.Port):
    """A listening port whose connections are :class:`~echosvc.net.stream.Stream`.

    They are dispatched by a group of :mod:`echosvc.net.epoll`, or by a lean reactor itself.
    """

    _transport: type[Stream] = Stream
    _limits: Limits | None = None
    _where = ""  # its address as text, for messages after the socket is closed

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._cancel_resume: Callable[[], None] = _do_nothing  # cancels what will end a pause
        # How many errors of connections there were, and since when (monotonic seconds).
        self._failures, self._since = 0, 0.0
        self._when_lost: Callable[[], None] = _do_nothing
        self._dispatcher = self._make_dispatcher()  # now, while a descriptor for it is available

    def _make_dispatcher(self) -> EpollDispatcher:
        reactor: Any = self.reactor
        if isinstance(reactor, EpollDispatcher):
            return reactor
        return make_group(reactor, _weak_callback(self._close_undispatched))

    def doRead(self) -> None:
        """Accept the connections of the listen queue, at most :data:`ACCEPT_BATCH`."""
        for handle, name in self._accept_all(self.socket):
            try:
                self._start_connection(handle, make_address(name))
            except BaseException:  # also asyncio's CancelledError closes this connection only
                log.failure("Server Error: the application failed")
                reset_on_close(handle)
                handle.close()

    def _start_connection(self, handle: socket.SocketType, peer: IAddress) -> None:
        """Connect a socket to the factory's protocol; close it if the factory refuses it."""
        factory: Any = self.factory
        protocol = factory.buildProtocol(peer)
        if protocol is None:
            handle.close()
            return
        transport = self._transport(handle, protocol, peer, self._dispatcher)
        try:
            protocol.makeConnection(transport)
        except BaseException:  # Twisted would leave this connection open for ever
            transport.connectionLost(Failure())
            raise

    def startListening(self) -> None:
        """Listen."""
        super().startListening()
        self._apply_policy()

    def _apply_policy(self) -> None:
        """Set the options of the listening socket; on Linux its connections inherit them."""
        self._where = format_address(cast(IListeningPort, self).getHost())
        factory = IAdmittingFactory(self.factory, None)
        if factory is not None:
            self._limits = factory.admission
            factory.tune(self.socket)
            if HAS_EPOLL:  # Linux: elsewhere they may not be inherited
                self._transport = InheritedOptionsStream

    def connectionLost(self, reason: Failure) -> None:
        """Stop listening."""
        self._cancel_resume()
        tcp.Port.connectionLost(self, reason)
        if reason.check(OSError, ValueError):  # the select reactor reports a lost descriptor so
            self._log_lost(cast(Exception, reason.value))

    # -- the socket is lost --------------------------------------------------

    def call_when_lost(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after this port has closed because its socket is unusable."""
        self._when_lost = callback

    def readConnectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        """Handle a hang-up: so epoll and poll report a TCP socket that was shut down."""
        self.doRead()  # finds the error
        self._close_lost(errno.EINVAL)

    def _close_lost(self, number: int) -> None:
        """Close: the socket is unusable, and the reactor would report that for ever."""
        if not self.connected:
            return
        if number != errno.EINVAL:
            self.socket.detach()  # its number may be another file's by now
        with suppress(OSError):  # the reactor cannot use it either
            self.reactor.removeReader(self)
        self.connectionLost(Failure(OSError(number, _LISTENER_ERRORS[number])))

    def _close_undispatched(self, error: OSError) -> None:
        """Close: no event of its connections can be reported any more."""
        if self.connected:
            self.reactor.removeReader(self)
            words = "the epoll descriptor of its connections was closed by other code"
            self.connectionLost(Failure(OSError(error.errno, words)))

    def _log_lost(self, error: Exception) -> None:
        number = getattr(error, "errno", None) or errno.EBADF
        log.error(
            "Server Error: the listener {where} is closed: {name} ({words})",
            where=self._where,
            name=errno.errorcode[number],
            words=getattr(error, "strerror", None) or _LISTENER_ERRORS[errno.EBADF],
        )
        self._when_lost()

    def _accept_all(self, listener: Any) -> Iterator[tuple[socket.SocketType, Any]]:
        """Yield each new connection's socket, non-blocking, and its peer's address."""
        family, kind = self.addressFamily, socket.SOCK_STREAM
        for accepted in range(self._accept_budget()):
            try:
                # socket.accept() determines family and kind again, and makes an object of the
                # Python class. To leave that out saves 2 µs of 30 µs per connection, and 40 bytes.
                fd, name = listener._accept()
            except BlockingIOError:
                if not accepted:  # another process accepted it, or the socket was shut down
                    self._check_hangup(listener)
                return
            except OSError as error:
                if self._may_continue(error):
                    continue
                return
            handle = socket.SocketType(family, kind, 0, fd)
            handle.setblocking(False)
            yield handle, name

    def _check_hangup(self, listener: Any) -> None:
        """Close the port if its socket was shut down.

        On Linux, accept() of a UNIX socket then returns EAGAIN while poll() reports it readable,
        both for ever.
        """
        state = select.poll()
        state.register(listener, _HANGUP)
        for _, event in state.poll(0):
            if event & select.POLLERR:  # reading the error clears it
                listener.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if event & _HANGUP:
                self._close_lost(errno.EINVAL)

    def _may_continue(self, error: OSError) -> bool:
        """Return whether to accept more connections after an error.

        An error that is not the listener's own is one connection's (accept(2)). But a rule of the
        system may forbid accepting at all, with the same errors, and leave the connection in the
        queue: so after too many errors in a short time, accepting pauses.
        """
        if error.errno in _LISTENER_ERRORS:
            self._close_lost(error.errno)
            return False
        now = time.monotonic()
        if now - self._since > PAUSE:
            self._failures, self._since = 0, now
        self._failures += 1
        if error.errno in _OUT_OF_RESOURCES or self._failures > ACCEPT_BATCH:
            self._failures = 0
            self._pause(error)
            return False
        return True

    @property
    def accepting_paused(self) -> bool:
        """Whether it does not accept connections for now."""
        return self._cancel_resume is not _do_nothing

    def _accept_budget(self) -> int:
        """Return how many to accept now; if none is allowed, pause until one is."""
        limits = self._limits
        if limits is None or not limits.waits:
            return ACCEPT_BATCH
        room = int(min(ACCEPT_BATCH, limits.available))
        if not room:
            self._wait_for_slot(limits)
        return room

    def _wait_for_slot(self, limits: Limits) -> None:
        """Pause until a connection is allowed; meanwhile they wait in the listen queue."""
        if self.accepting_paused:  # called during a pause
            return
        self.reactor.removeReader(self)
        limits.wait_for_slot(self._resume)
        self._cancel_resume = lambda: limits.cancel_wait(self._resume)

    def _pause(self, error: OSError) -> None:
        self._cancel_resume()
        name = errno.errorcode[error.errno or 0]
        words = os.strerror(error.errno or 0)
        log.error(
            "Server Error: no connection can be accepted: {name} ({words}); again in {seconds:g} s",
            name=name,
            words=words,
            seconds=PAUSE,
        )
        self.reactor.removeReader(self)
        self._cancel_resume = cast(IReactorTime, self.reactor).callLater(PAUSE, self._resume).cancel

    def _resume(self) -> None:
        self._cancel_resume = _do_nothing
        if self.connected and not self.disconnecting:
            self.reactor.addReader(self)


def _do_nothing() -> None:
    """Stand for a callback that is not set."""


def _weak_callback(method: Callable[[OSError], None]) -> Callable[[OSError], None]:
    """Return a function that calls a method while its object exists.

    A strong reference would make a cycle of a port and its group: the group's epoll descriptor
    would stay open until the garbage collector runs, long after the last connection.
    """
    reference = weakref.WeakMethod(method)

    def call(error: OSError) -> None:
        if (alive := reference()) is not None:
            alive(error)

    return call
