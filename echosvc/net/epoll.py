"""Dispatch of the events of many descriptors, under any reactor.

Theory of operation. For each event Twisted's reactors do much besides calling the handler: they
go through their main loop after every poll, run each handler in a log context of its own
(``callWithLogger``, Twisted issues 12338, 6789), and check again whether the descriptor is valid.
That is 2 of the 7.7 µs of a message of 64 bytes. :class:`EpollDispatcher` calls each handler
directly.

The ``lean`` reactor is such a dispatcher itself. Any other reactor gets a nested epoll
descriptor: an epoll descriptor is readable while a descriptor that is registered with it is
ready (epoll(7)). An :class:`EpollGroup` registers all connections of a listener with an epoll
descriptor of its own, and is itself one reader of the real reactor::

    connection --+
    connection --+-- epoll descriptor --+
    connection --+   of the EpollGroup  +-- the real reactor: epoll, poll, select ...
        ...      |                      |
    connection --+           listener --+
                         other readers --+

    1. A connection becomes readable. So does the group's epoll descriptor.
    2. The reactor calls EpollGroup.doRead() once, however many connections are ready.
    3. It polls the group's descriptor without waiting, for at most MAX_EVENTS events, and calls
       doRead() of each connection. If more are ready, the descriptor is still readable.
    4. If one of them has filled its buffer (MORE), it polls again, at most MAX_POLLS times: for a
       stream, a turn of the real reactor costs 8 µs, more than all other work of Python.

Without epoll, a :class:`ReactorGroup` makes each connection a reader of the real reactor.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, cast

from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReactorTime,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

#: Whether the system has epoll(7); macOS and the BSDs do not.
HAS_EPOLL = hasattr(select, "epoll")
EPOLLIN: int = getattr(select, "EPOLLIN", 1)
EPOLLOUT: int = getattr(select, "EPOLLOUT", 4)
EPOLLERR: int = getattr(select, "EPOLLERR", 8)
EPOLLHUP: int = getattr(select, "EPOLLHUP", 16)
#: Events taken from the kernel at once.
MAX_EVENTS = 512
#: Polls in one turn of the real reactor. For one stream on loopback they take two milliseconds.
MAX_POLLS = 4
_BROKEN = EPOLLHUP | EPOLLERR


class _More:
    """The type of :data:`MORE`."""

    def __repr__(self) -> str:
        return "MORE"


#: Returned by ``doRead`` after a read that has filled its buffer: more data may be ready.
MORE = _More()


class EpollHandler:
    """A descriptor that stores the events that it waits for.

    A reactor's sets of readers and writers would need 52 bytes for each descriptor, and as
    much again while they grow.

    :ivar interest: the events that it waits for, of ``EPOLLIN`` and ``EPOLLOUT``.
    """

    interest: int
    connected: Any
    reactor: Any

    def fileno(self) -> int:
        """Return the descriptor."""
        raise NotImplementedError

    def startReading(self) -> None:
        """Watch for readability."""
        self._set_interest(self.interest | EPOLLIN)

    def stopReading(self) -> None:
        """Stop watching for readability."""
        self._set_interest(self.interest & ~EPOLLIN)

    def startWriting(self) -> None:
        """Watch for writability."""
        self._set_interest(self.interest | EPOLLOUT)

    def stopWriting(self) -> None:
        """Stop watching for writability."""
        self._set_interest(self.interest & ~EPOLLOUT)

    def _set_interest(self, interest: int) -> None:
        if interest != self.interest and self.connected:
            self.reactor.modify(self.fileno(), self.interest, interest)
            self.interest = interest

    def doRead(self) -> Any:
        """Read; return the reason to close the descriptor, :data:`MORE` or ``None``."""

    def doWrite(self) -> Any:
        """Write; return the reason to close the descriptor, or ``None``."""

    def readConnectionLost(self, reason: Failure) -> None:
        """Handle EOF."""

    def connectionLost(self, reason: Failure) -> None:
        """Close the descriptor."""


class EpollDispatcher:
    """Registers handlers with an epoll object and dispatches their events.

    An exception in a handler is logged with its traceback and closes that handler only.
    """

    _poller: Any  # an epoll object
    _selectables: dict[int, Any]

    def register(self, fd: int, handler: EpollHandler) -> None:
        """Watch a new handler's descriptor for the handler's ``interest``."""
        self._poller.register(fd, handler.interest)
        self._selectables[fd] = handler

    def modify(self, fd: int, before: int, interest: int) -> None:
        """Watch a descriptor for ``interest`` instead of ``before``."""
        if fd not in self._selectables:
            return
        if not before:
            self._poller.register(fd, interest)
        elif interest:
            self._poller.modify(fd, interest)
        else:
            self._poller.unregister(fd)

    def unregister(self, fd: int, interest: int) -> None:
        """Stop watching a descriptor that is closed next."""
        if self._selectables.pop(fd, None) is not None and interest:
            self._poller.unregister(fd)

    @property
    def handlers(self) -> list[EpollHandler]:
        """The registered handlers."""
        return [each for each in self._selectables.values() if isinstance(each, EpollHandler)]

    def unregister_all(self) -> list[EpollHandler]:
        """Unregister every handler and return them."""
        handlers = self.handlers
        for handler in handlers:
            self.unregister(handler.fileno(), handler.interest)
        return handlers

    def _dispatch(self, events: Iterable[tuple[int, int]]) -> bool:
        """Call the handlers of these events.

        :return: whether one of them has returned :data:`MORE`.
        """
        selectables, more = self._selectables, False
        for fd, event in events:
            try:
                selectable = selectables[fd]
            except KeyError:  # closed by an earlier event of this batch
                self._unregister_unknown(fd)
                continue
            if event != EPOLLIN:
                if not event & _BROKEN or _is_broken(fd):
                    _log_errors(self._dispatch_slow, selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:
                log.err()
                _log_errors(self._disconnect, selectable, error, False)
            else:
                if why:
                    if why is MORE:
                        more = True
                        continue
                    _log_errors(self._disconnect, selectable, why, True)
        return more

    def _unregister_unknown(self, fd: int) -> None:
        """Unregister a descriptor without a handler, which would be reported for ever."""
        with suppress(OSError):  # closing it has unregistered it
            self._poller.unregister(fd)

    def _dispatch_slow(self, handler: Any, fd: int, event: int) -> None:  # noqa: ARG002
        """Handle an event that is not plain readability."""
        if event & _BROKEN and not event & EPOLLIN:
            if handler.interest & EPOLLIN:
                handler.stopReading()
                handler.readConnectionLost(Failure(CONNECTION_DONE))
            else:
                handler.connectionLost(Failure(CONNECTION_LOST))
            return
        try:
            why = handler.doRead() if event & EPOLLIN else None
            if (not why or why is MORE) and event & EPOLLOUT:
                why = handler.doWrite()
        except BaseException as error:
            log.err()
            why = error
        if why and why is not MORE:
            self._disconnect(handler, why, False)

    def _disconnect(self, handler: Any, why: BaseException, at_read: bool) -> None:  # noqa: ARG002
        """Close a handler because of an error or EOF."""
        handler.connectionLost(Failure(why))


def _is_broken(fd: int) -> bool:
    """Return whether a descriptor is hung up or failed now.

    An event may concern an earlier descriptor of the same number, which an earlier event of
    the batch has closed. Readability can be checked by reading; a hang-up cannot.
    """
    poller = select.poll()
    poller.register(fd, 0)
    return bool(poller.poll(0))


def _log_errors(act: Callable[..., object], *arguments: object) -> None:
    """Call ``act``; log an exception and continue."""
    try:
        act(*arguments)
    except BaseException:
        log.err()


#: Errors of an epoll descriptor that was closed, or whose number another file has now.
_EPOLL_CLOSED = frozenset((errno.EBADF, errno.EINVAL))


class _HandlerReactor(EpollDispatcher):
    """What handlers use for their reactor.

    :param reactor: the real reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._selectables: dict[int, Any] = {}

    def callLater(self, *call: Any, **named: Any) -> Any:
        """Schedule a call on the real reactor."""
        return cast(IReactorTime, self._reactor).callLater(*call, **named)


def make_group(reactor: Any, failed: Callable[[OSError], None]) -> EpollDispatcher:
    """Return a dispatcher for connections under any reactor.

    :param failed: called when it can report no more events.
    """
    return EpollGroup(reactor, failed) if HAS_EPOLL else ReactorGroup(reactor)


@implementer(IReadDescriptor)
class EpollGroup(_HandlerReactor):
    """Handlers registered with one epoll descriptor, which is one reader of the real reactor.

    While it has no handler it is not a reader.

    :param failed: called when that descriptor is lost: closed or replaced by other code of the
        process. All handlers are closed then.
    """

    def __init__(self, reactor: Any, failed: Callable[[OSError], None] | None = None) -> None:
        super().__init__(reactor)
        self._poller: select.epoll = select.epoll()
        self._failed = failed

    # -- for the handlers ------------------------------------------------------

    def register(self, fd: int, handler: EpollHandler) -> None:
        """Watch a new handler's descriptor for the handler's ``interest``."""
        try:
            super().register(fd, handler)
        except OSError as error:
            if error.errno in _EPOLL_CLOSED:
                self._fail(error)
            raise
        if len(self._selectables) == 1:
            self._reactor.addReader(self)

    def unregister(self, fd: int, interest: int) -> None:
        """Stop watching a descriptor that is closed next."""
        super().unregister(fd, interest)
        if not self._selectables:
            self._reactor.removeReader(self)

    # -- for the real reactor ------------------------------------------------

    def fileno(self) -> int:
        """Return the epoll descriptor, which is readable while a handler is ready."""
        return self._poller.fileno()

    def doRead(self) -> None:
        """Dispatch the events of the handlers that are ready, and again while one has more.

        After about MAX_EVENTS events in all, or MAX_POLLS polls, the real reactor goes on.
        """
        left = MAX_EVENTS
        for _ in range(MAX_POLLS):
            try:
                events = self._poller.poll(0, MAX_EVENTS)
            except OSError as error:
                self._fail(error)
                return
            left -= len(events)
            if not self._dispatch(events) or left <= 0 or not self._selectables:
                return

    def _fail(self, error: OSError) -> None:
        """Close all handlers: none of their events can be reported any more."""
        _LOST_POLLERS.append(self._poller)
        handlers = self.handlers
        self._selectables.clear()
        with suppress(OSError):  # the real reactor cannot use it either
            self._reactor.removeReader(self)
        if self._failed is not None:
            self._failed(error)
        _disconnect_all(handlers, Failure(error))

    def connectionLost(self, reason: Failure) -> None:
        """Close all handlers, because the real reactor stops."""
        _disconnect_all(self.unregister_all(), reason)

    def logPrefix(self) -> str:
        """Return its name for Twisted's log."""
        return "connections"


#: Kept for ever: to free an epoll object closes its number, which may be another file's by now.
_LOST_POLLERS: list[Any] = []


def _disconnect_all(handlers: Iterable[EpollHandler], reason: Failure) -> None:
    for handler in handlers:
        try:
            handler.connectionLost(reason)
        except BaseException:
            log.err()


class ReactorGroup(_HandlerReactor):
    """Handlers that each are a reader and writer of the real reactor."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._adapters: dict[int, _ReactorAdapter] = {}

    def register(self, fd: int, handler: EpollHandler) -> None:
        """Watch a new handler's descriptor for the handler's ``interest``."""
        self._selectables[fd] = handler
        self._adapters[fd] = _ReactorAdapter(self, fd, handler)
        self.modify(fd, 0, handler.interest)

    def modify(self, fd: int, before: int, interest: int) -> None:
        """Watch a descriptor for ``interest`` instead of ``before``."""
        watch = self._adapters.get(fd)
        if watch is None:
            return
        if (before ^ interest) & EPOLLIN:
            reads = interest & EPOLLIN
            (self._reactor.addReader if reads else self._reactor.removeReader)(watch)
        if (before ^ interest) & EPOLLOUT:
            writes = interest & EPOLLOUT
            (self._reactor.addWriter if writes else self._reactor.removeWriter)(watch)

    def unregister(self, fd: int, interest: int) -> None:
        """Stop watching a descriptor that is closed next."""
        self.modify(fd, interest, 0)
        self._adapters.pop(fd, None)
        self._selectables.pop(fd, None)

    def _unregister_unknown(self, fd: int) -> None:
        """Do nothing: the real reactor does not report it."""


@implementer(IReadDescriptor, IWriteDescriptor, IHalfCloseableDescriptor)
class _ReactorAdapter:
    """Stands for one handler in the real reactor."""

    def __init__(self, group: ReactorGroup, fd: int, handler: EpollHandler) -> None:
        self._group, self._fd, self._handler = group, fd, handler

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._handler.fileno()

    def doRead(self) -> None:
        """Dispatch readability."""
        self._group._dispatch([(self._fd, EPOLLIN)])

    def doWrite(self) -> None:
        """Dispatch writability."""
        self._group._dispatch([(self._fd, EPOLLOUT)])

    def readConnectionLost(self, reason: Failure) -> None:
        """Handle a hang-up with nothing left to read."""
        self._handler.stopReading()
        self._handler.readConnectionLost(reason)

    def writeConnectionLost(self, reason: Failure) -> None:
        """Do nothing: the interface has it, but no reactor of Twisted's calls it."""

    def connectionLost(self, reason: Failure) -> None:
        """Close: a hang-up while reading is paused, or the real reactor stops."""
        self._handler.connectionLost(reason)

    def logPrefix(self) -> str:
        """Return its name for Twisted's log."""
        return "connections"
