"""Events of many descriptors, served in one go: each handler is called directly.

Twisted's epoll reactor runs each handler inside a log context of its own
(``callWithLogger``, Twisted issues 12338, 6789) and looks again whether the descriptor is
valid: 2 of the 7.7 µs of a message of 64 bytes. :class:`Batches` does without.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python import log
from twisted.python.failure import Failure

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
