"""Many connections that are one descriptor to their reactor.

An epoll descriptor is readable while one of its own is ready (epoll(7)). So a whole set
of connections can be one reader of any reactor, which is told once of all that are
ready, where it would go through its main loop, its log context and its own bookkeeping
for each.
"""

from __future__ import annotations

from select import epoll
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.batch import EVENTS, Batches, Member


@implementer(IReadDescriptor)
class Group(Batches):
    """The reactor of its members, as far as they need one.

    It is no reader of the real reactor while it has no member.

    :param reactor: the real one.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._poller = epoll()
        self._selectables: dict[int, Any] = {}

    # -- as the members see it ------------------------------------------------

    def callLater(self, *call: Any, **named: Any) -> Any:
        """The real reactor's."""
        return cast(IReactorTime, self._reactor).callLater(*call, **named)

    def enter(self, fd: int, member: Member) -> None:
        """Tell a new member of the events that it waits for."""
        super().enter(fd, member)
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
        self._serve(self._poller.poll(0, EVENTS))

    def connectionLost(self, reason: Failure) -> None:
        """The real reactor ends: end all members."""
        for member in self.remove_members():
            try:
                member.connectionLost(reason)
            except BaseException:
                log.err()

    def logPrefix(self) -> str:
        """What the log calls it."""
        return "connections"
