"""Events of many descriptors, served in one go, on any reactor.

Theory of operation. Twisted's reactors do much for each event besides the work: they go
through their main loop after every poll, run each handler in a log context of its own
(``callWithLogger``, Twisted issues 12338, 6789), and look again whether the descriptor is
valid: 2 of the 7.7 µs of a message of 64 bytes. :class:`Batches` calls each handler directly.

Under a reactor that is not ours it can do so because an epoll descriptor is itself readable
while one of the descriptors registered with it is ready (epoll(7)). So a :class:`Group`
registers its connections with an epoll descriptor of its own, and is one reader of the real
reactor::

    socket --+
    socket --+-- Group's epoll --+
    socket --+   (registered     +-- the reactor's epoll, poll or select
       ...       as a reader)    |
                   listener -----+
                   timers, other readers and writers

    1. A socket becomes readable, and with it the Group's epoll descriptor.
    2. The reactor calls Group.doRead() once, whatever the number of sockets that are ready.
    3. Group.doRead() polls its own epoll descriptor without waiting, at most EVENTS events,
       and calls doRead() of each connection. What is left makes the descriptor readable again.

Where there is no epoll, :class:`Singles` makes each connection a reader of its own.
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
EVENTS = 512
_BROKEN = EPOLLHUP | EPOLLERR


class Member:
    """A descriptor that knows what it waits for: the reactor's sets of all who read, and of all
    who write, would need 52 bytes for each, and as much again while they grow.

    :ivar interest: the events that it waits for, of ``EPOLLIN`` and ``EPOLLOUT``.
    """

    interest: int
    connected: Any
    reactor: Any

    def fileno(self) -> int:
        """The descriptor."""
        raise NotImplementedError

    def startReading(self) -> None:
        """Be told when there is something to read."""
        self._wait_for(self.interest | EPOLLIN)

    def stopReading(self) -> None:
        """Be told so no more."""
        self._wait_for(self.interest & ~EPOLLIN)

    def startWriting(self) -> None:
        """Be told when there is room to write."""
        self._wait_for(self.interest | EPOLLOUT)

    def stopWriting(self) -> None:
        """Be told so no more."""
        self._wait_for(self.interest & ~EPOLLOUT)

    def _wait_for(self, interest: int) -> None:
        if interest != self.interest and self.connected:
            self.reactor.change(self.fileno(), self.interest, interest)
            self.interest = interest

    def doRead(self) -> Any:
        """Read; give why it is to be closed, if it is."""

    def doWrite(self) -> Any:
        """Write; give why it is to be closed, if it is."""

    def readConnectionLost(self, reason: Failure) -> None:
        """There is nothing more to read."""

    def connectionLost(self, reason: Failure) -> None:
        """It is to be closed."""


class Batches:
    """The part of an epoll reactor that serves events.

    An exception in a handler is logged with its traceback and ends its connection only.
    """

    _poller: Any  # an epoll object
    _selectables: dict[int, Any]

    def enter(self, fd: int, member: Member) -> None:
        """Tell a new member of the events that it waits for."""
        self._poller.register(fd, member.interest)
        self._selectables[fd] = member

    def change(self, fd: int, before: int, interest: int) -> None:
        """Tell a member of other events than ``before``."""
        if fd not in self._selectables:
            return
        if not before:
            self._poller.register(fd, interest)
        elif interest:
            self._poller.modify(fd, interest)
        else:
            self._poller.unregister(fd)

    def leave(self, fd: int, interest: int) -> None:
        """Tell no more of a member that closes its descriptor next."""
        if self._selectables.pop(fd, None) is not None and interest:
            self._poller.unregister(fd)

    @property
    def members(self) -> list[Member]:
        """Who has entered and not left."""
        return [each for each in self._selectables.values() if isinstance(each, Member)]

    def remove_members(self) -> list[Member]:
        """Have all leave; give them."""
        members = self.members
        for member in members:
            self.leave(member.fileno(), member.interest)
        return members

    def _serve(self, events: Iterable[tuple[int, int]]) -> None:
        """Handle what the kernel has told of."""
        selectables = self._selectables
        for fd, event in events:
            try:
                selectable = selectables[fd]
            except KeyError:  # closed by an event before this one
                self._forget(fd)
                continue
            if event != EPOLLIN:
                if not event & _BROKEN or _is_broken(fd):
                    _guarded(self._serve_rare, selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:
                log.err()
                _guarded(self._end, selectable, error, False)
            else:
                if why:
                    _guarded(self._end, selectable, why, True)

    def _forget(self, fd: int) -> None:
        """Have the kernel tell no more of a descriptor that nobody has; it would for ever."""
        with suppress(OSError):  # it does not: it went with its member
            self._poller.unregister(fd)

    def _serve_rare(self, member: Any, fd: int, event: int) -> None:  # noqa: ARG002
        """Handle an event that is not just that there is something to read."""
        if event & _BROKEN and not event & EPOLLIN:
            if member.interest & EPOLLIN:
                member.stopReading()
                member.readConnectionLost(Failure(CONNECTION_DONE))
            else:
                member.connectionLost(Failure(CONNECTION_LOST))
            return
        try:
            why = member.doRead() if event & EPOLLIN else None
            if not why and event & EPOLLOUT:
                why = member.doWrite()
        except BaseException as error:
            log.err()
            why = error
        if why:
            self._end(member, why, False)

    def _end(self, member: Any, why: BaseException, at_read: bool) -> None:  # noqa: ARG002
        """Close what cannot go on."""
        member.connectionLost(Failure(why))


def _is_broken(fd: int) -> bool:
    """Whether a descriptor is hung up or failed, now.

    An event of this batch may be about one of the same number that was closed and
    opened anew meanwhile. That there is something to read can be tried; this cannot.
    """
    asked = select.poll()
    asked.register(fd, 0)
    return bool(asked.poll(0))


def _guarded(act: Callable[..., object], *arguments: object) -> None:
    """Do it; a fault is logged and stops nobody else."""
    try:
        act(*arguments)
    except BaseException:
        log.err()


#: The epoll descriptor itself is gone: closed, or another file has its number.
_GONE = frozenset((errno.EBADF, errno.EINVAL))


class _Members(Batches):
    """The reactor of its members, as far as they need one.

    :param reactor: the real one.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._selectables: dict[int, Any] = {}

    def callLater(self, *call: Any, **named: Any) -> Any:
        """The real reactor's."""
        return cast(IReactorTime, self._reactor).callLater(*call, **named)


def group(reactor: Any, failed: Callable[[OSError], None]) -> Batches:
    """Give what tells connections of their events, on a reactor that may be any.

    :param failed: called when it cannot tell of any event any more.
    """
    return Group(reactor, failed) if HAS_EPOLL else Singles(reactor)


@implementer(IReadDescriptor)
class Group(_Members):
    """Members of one epoll descriptor.

    It is no reader of the real reactor while it has no member.

    :param failed: called when that descriptor is lost: somebody has closed it, or put another
        in its place.
    """

    def __init__(self, reactor: Any, failed: Callable[[OSError], None] | None = None) -> None:
        super().__init__(reactor)
        self._poller: select.epoll = select.epoll()
        self._failed = failed

    # -- as the members see it ------------------------------------------------

    def enter(self, fd: int, member: Member) -> None:
        """Tell a new member of the events that it waits for."""
        try:
            super().enter(fd, member)
        except OSError as error:
            if error.errno in _GONE:
                self._lost(error)
            raise
        if len(self._selectables) == 1:
            self._reactor.addReader(self)

    def leave(self, fd: int, interest: int) -> None:
        """Tell no more of a member that closes its descriptor next."""
        super().leave(fd, interest)
        if not self._selectables:  # and so nothing to be told
            self._reactor.removeReader(self)

    # -- as the real reactor sees it ------------------------------------------

    def fileno(self) -> int:
        """The descriptor that is readable while a member is ready."""
        return self._poller.fileno()

    def doRead(self) -> None:
        """Serve the members that are ready."""
        try:
            events = self._poller.poll(0, EVENTS)
        except OSError as error:
            self._lost(error)
            return
        self._serve(events)

    def _lost(self, error: OSError) -> None:
        """End all: nothing can be told of them any more."""
        _LOST.append(self._poller)
        members = self.members
        self._selectables.clear()
        with suppress(OSError):  # the real reactor has lost it too
            self._reactor.removeReader(self)
        if self._failed is not None:
            self._failed(error)
        _end(members, Failure(error))

    def connectionLost(self, reason: Failure) -> None:
        """The real reactor ends: end all members."""
        _end(self.remove_members(), reason)

    def logPrefix(self) -> str:
        """What the log calls it."""
        return "connections"


#: Kept for ever: each would close a number that is somebody else's by now.
_LOST: list[Any] = []


def _end(members: Iterable[Member], reason: Failure) -> None:
    for member in members:
        try:
            member.connectionLost(reason)
        except BaseException:
            log.err()


class Singles(_Members):
    """Members that are readers and writers of the real reactor, one by one."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._watches: dict[int, _Watch] = {}

    def enter(self, fd: int, member: Member) -> None:
        """Tell a new member of the events that it waits for."""
        self._selectables[fd] = member
        self._watches[fd] = _Watch(self, fd, member)
        self.change(fd, 0, member.interest)

    def change(self, fd: int, before: int, interest: int) -> None:
        """Tell a member of other events than ``before``."""
        watch = self._watches.get(fd)
        if watch is None:
            return
        if (before ^ interest) & EPOLLIN:
            reads = interest & EPOLLIN
            (self._reactor.addReader if reads else self._reactor.removeReader)(watch)
        if (before ^ interest) & EPOLLOUT:
            writes = interest & EPOLLOUT
            (self._reactor.addWriter if writes else self._reactor.removeWriter)(watch)

    def leave(self, fd: int, interest: int) -> None:
        """Tell no more of a member that closes its descriptor next."""
        self.change(fd, interest, 0)
        self._watches.pop(fd, None)
        self._selectables.pop(fd, None)

    def _forget(self, fd: int) -> None:
        """Nothing tells of it."""


@implementer(IReadDescriptor, IWriteDescriptor, IHalfCloseableDescriptor)
class _Watch:
    """One member as the real reactor sees it."""

    def __init__(self, home: Singles, fd: int, member: Member) -> None:
        self._home, self._fd, self._member = home, fd, member

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._member.fileno()

    def doRead(self) -> None:
        """There is something to read."""
        self._home._serve([(self._fd, EPOLLIN)])

    def doWrite(self) -> None:
        """There is room to write."""
        self._home._serve([(self._fd, EPOLLOUT)])

    def readConnectionLost(self, reason: Failure) -> None:
        """It is hung up, and nothing is left to read."""
        self._member.stopReading()
        self._member.readConnectionLost(reason)

    def writeConnectionLost(self, reason: Failure) -> None:
        """Only for the interface: no reactor of Twisted's calls it of itself."""

    def connectionLost(self, reason: Failure) -> None:
        """It is hung up while nobody reads, or the real reactor ends."""
        self._member.connectionLost(reason)

    def logPrefix(self) -> str:
        """What the log calls it."""
        return "connections"
