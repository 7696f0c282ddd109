"""How connections come in: from a listening socket to a protocol on its transport."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorFDSet, IReactorTime
from twisted.python.failure import Failure

from echosvc.batch import Batches
from echosvc.group import Group
from echosvc.report import log
from echosvc.stream import Stream, make_address

#: Connections accepted in one go; then others have their turn.
AT_ONCE = 100
#: Seconds without accepting when the system has no room for another connection. Who
#: comes meanwhile waits in the kernel's queue.
PAUSE = 1.0
#: The system has no room; any other error is that of the one connection (accept(2)).
_FULL = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Accepting(tcp.Port):
    """A listening port whose connections are :class:`~echosvc.stream.Stream`.

    They are one :class:`~echosvc.group.Group`, unless the reactor is as cheap itself.
    """

    _again: IDelayedCall | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # Now, while there are descriptors.
        lean = isinstance(self.reactor, Batches)
        self._members = cast(IReactorFDSet, self.reactor if lean else Group(self.reactor))

    def doRead(self) -> None:
        """Accept who waits."""
        members, build = self._members, cast(IProtocolFactory, self.factory)
        for handle, name in self._accepted(self.socket):
            peer = make_address(name)
            try:
                protocol = build.buildProtocol(peer)
            except Exception:
                log.failure("Server Error: the application failed")
                protocol = None
            if protocol is None:
                handle.close()
            else:
                protocol.makeConnection(Stream(handle, protocol, peer, members))

    def connectionLost(self, reason: Failure) -> None:
        """Listen no more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        tcp.Port.connectionLost(self, reason)

    def _accepted(self, listener: Any) -> Iterator[tuple[socket.socket, Any]]:
        """Give each new connection's socket, non-blocking, and its peer's address."""
        family, kind = self.addressFamily, socket.SOCK_STREAM
        for _ in range(AT_ONCE):
            try:
                # socket.accept() asks for family and kind anew: 2 of the 30 µs of a connection.
                fd, name = listener._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _FULL:
                    continue
                self._pause(error)
                return
            handle = socket.socket(family, kind, 0, fd)
            handle.setblocking(False)
            yield handle, name

    def _pause(self, error: OSError) -> None:
        name = errno.errorcode[error.errno or 0]
        words = os.strerror(error.errno or 0)
        log.error(
            "Server Error: no connection can be accepted: {name} ({words}); again in {seconds:g} s",
            name=name,
            words=words,
            seconds=PAUSE,
        )
        self.reactor.removeReader(self)
        self._again = cast(IReactorTime, self.reactor).callLater(PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._again = None
        self.reactor.addReader(self)
