"""Many connections that are one descriptor to their reactor.

An epoll descriptor is readable while one of its own is ready (epoll(7)). So a whole set
of connections can be one reader of any reactor, which is told once of all that are
ready, where it would go through its main loop, its log context and its own bookkeeping
for each.
"""

from __future__ import annotations

from select import EPOLLIN, EPOLLOUT, epoll
from typing import Any, cast

from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.batch import EVENTS, Batches


@implementer(IReactorFDSet, IReadDescriptor)
class Group(Batches):
    """The reactor of its members, as far as they need one.

    It is no reader of the real reactor while it has no member.

    :param reactor: the real one.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._poller = epoll()
        self._selectables: dict[int, Any] = {}
        self._reads: set[int] = set()
        self._writes: set[int] = set()

    # -- as the members see it ------------------------------------------------

    def callLater(self, *call: Any, **named: Any) -> Any:
        """The real reactor's."""
        return cast(IReactorTime, self._reactor).callLater(*call, **named)

    def addReader(self, reader: IReadDescriptor) -> None:
        """Tell ``reader`` when it can read."""
        self._add(reader, self._reads)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """Tell ``writer`` when it can write."""
        self._add(writer, self._writes)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Tell ``reader`` no more."""
        self._remove(reader, self._reads)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """Tell ``writer`` no more."""
        self._remove(writer, self._writes)

    def getReaders(self) -> list[IReadDescriptor]:
        """Those who want to know when they can read."""
        return [self._selectables[fd] for fd in self._reads]

    def getWriters(self) -> list[IWriteDescriptor]:
        """Those who want to know when they can write."""
        return [self._selectables[fd] for fd in self._writes]

    def removeAll(self) -> list[Any]:
        """Forget all members; give them."""
        members = list(self._selectables.values())
        for member in members:
            self._remove(member, self._reads)
            self._remove(member, self._writes)
        return members

    def enter(self, fd: int, reader: Any) -> None:
        """Tell a new member when it can read."""
        if not self._selectables:
            self._reactor.addReader(self)
        super().enter(fd, reader)

    def leave(self, fd: int) -> None:
        """Tell no more of a member that closes next."""
        super().leave(fd)
        self._rest()

    def _add(self, member: Any, to: set[int]) -> None:
        fd = member.fileno()
        if fd in to:
            return
        to.add(fd)
        if fd in self._selectables:
            self._poller.modify(fd, self._interest(fd))
            return
        if not self._selectables:
            self._reactor.addReader(self)
        self._selectables[fd] = member
        self._poller.register(fd, self._interest(fd))

    def _remove(self, member: Any, out_of: set[int]) -> None:
        fd = member.fileno()
        if fd not in out_of:
            return
        out_of.discard(fd)
        if interest := self._interest(fd):
            self._poller.modify(fd, interest)
            return
        self._poller.unregister(fd)
        del self._selectables[fd]
        self._rest()

    def _rest(self) -> None:
        """Without members there is nothing to be told."""
        if not self._selectables:
            self._reactor.removeReader(self)

    def _interest(self, fd: int) -> int:
        return EPOLLIN * (fd in self._reads) | EPOLLOUT * (fd in self._writes)

    # -- as the real reactor sees it ------------------------------------------

    def fileno(self) -> int:
        """The descriptor that is readable while a member is ready."""
        return self._poller.fileno()

    def doRead(self) -> None:
        """Serve the members that are ready."""
        self._serve(self._poller.poll(0, EVENTS))

    def connectionLost(self, reason: Failure) -> None:
        """The real reactor ends: end all members."""
        for member in self.removeAll():
            try:
                member.connectionLost(reason)
            except BaseException:
                log.err()

    def logPrefix(self) -> str:
        """What the log calls it."""
        return "connections"
