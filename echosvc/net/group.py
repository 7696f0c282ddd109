"""Many connections that are one descriptor to their reactor.

An epoll descriptor is readable while one of its own is ready (epoll(7)). So a whole set
of connections can be one reader of any reactor, which is told once of all that are
ready, where it would go through its main loop, its log context and its own bookkeeping
for each. Where there is no epoll, each connection is a reader of its own.
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
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.net.batch import EPOLLIN, EPOLLOUT, EVENTS, HAS_EPOLL, Batches, Member

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
