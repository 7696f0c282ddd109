"""How connections come in: from a listening socket to a protocol on its transport."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.python.failure import Failure

from echosvc.admission import Admission
from echosvc.batch import Batches
from echosvc.flow import tune
from echosvc.group import Group
from echosvc.report import log
from echosvc.stream import Stream, TunedStream, make_address, reset_at_close

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

    _transport: type[Stream] = Stream

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._give_up: Callable[[], None] = _nothing  # what we wait for before we go on
        # Now, while there are descriptors.
        lean = isinstance(self.reactor, Batches)
        self._members = cast(Batches, self.reactor) if lean else Group(self.reactor)

    def doRead(self) -> None:
        """Accept who waits."""
        for handle, name in self._accepted(self.socket):
            try:
                self._begin(handle, make_address(name))
            except BaseException:  # asyncio's CancelledError, too, ends this connection alone
                log.failure("Server Error: the application failed")
                reset_at_close(handle)
                handle.close()

    def _begin(self, handle: socket.SocketType, peer: IAddress) -> None:
        """Give the connection to a protocol, if the factory wants it."""
        factory: Any = self.factory
        protocol = factory.buildProtocol(peer)
        if protocol is None:
            handle.close()
            return
        transport = self._transport(handle, protocol, peer, self._members)
        try:
            protocol.makeConnection(transport)
        except BaseException:  # upstream leaves such a connection open, with nobody to end it
            transport.connectionLost(Failure())
            raise

    def startListening(self) -> None:
        """Listen."""
        super().startListening()
        self._tune()

    def _tune(self) -> None:
        """What every connection's socket is to have, the listening one gives it."""
        home = getattr(self.factory, "home", None)
        if home is not None:
            config = home.config
            tune(self.socket, config.nagle, config.keep_alive, config.stall_timeout)
            self._transport = TunedStream

    def connectionLost(self, reason: Failure) -> None:
        """Listen no more."""
        self._give_up()
        tcp.Port.connectionLost(self, reason)

    def _accepted(self, listener: Any) -> Iterator[tuple[socket.SocketType, Any]]:
        """Give each new connection's socket, non-blocking, and its peer's address."""
        family, kind = self.addressFamily, socket.SOCK_STREAM
        for _ in range(self._room()):
            try:
                # socket.accept() asks for family and kind anew, and makes Python's own kind of
                # socket: 2 of the 30 µs of a connection, and 40 bytes.
                fd, name = listener._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _FULL:
                    continue
                self._pause(error)
                return
            handle = socket.SocketType(family, kind, 0, fd)
            handle.setblocking(False)
            yield handle, name

    def _room(self) -> int:
        """How many to accept now; with no place for anybody, wait for one."""
        home = getattr(self.factory, "home", None)
        if home is None or not home.admission.waits:
            return AT_ONCE
        room = int(min(AT_ONCE, home.admission.left))
        if not room:
            self._wait_for_room(home.admission)
        return room

    def _wait_for_room(self, admission: Admission) -> None:
        """Accept nobody while no place is left: the kernel's queue holds who comes."""
        if self._give_up is not _nothing:  # asked in a stop, we wait already
            return
        self.reactor.removeReader(self)
        admission.when_room(self._go_on)
        self._give_up = lambda: admission.forget(self._go_on)

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
        self._give_up = cast(IReactorTime, self.reactor).callLater(PAUSE, self._go_on).cancel

    def _go_on(self) -> None:
        self._give_up = _nothing
        if self.connected and not self.disconnecting:
            self.reactor.addReader(self)


def _nothing() -> None:
    """There is nothing to be cancelled."""
