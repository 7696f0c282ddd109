"""How connections come in: from a listening socket to a protocol on its transport."""

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
from echosvc.net.epoll import HAS_EPOLL, Batches, group
from echosvc.net.stream import Stream, TunedStream, reset_at_close

#: Connections accepted in one go; then others have their turn.
AT_ONCE = 100
#: Seconds without accepting when the system has no room for another connection. Who
#: comes meanwhile waits in the kernel's queue.
PAUSE = 1.0
#: The system has no room.
_FULL = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
#: What poll(2) says of a listening socket that was shut down for reading, or for both.
_HUNG_UP: int = select.POLLHUP | getattr(select, "POLLRDHUP", 0)
#: The listening socket itself has ended: shut down by another process that holds it, or closed,
#: or its number is another file's. Any other error is that of one connection (accept(2)).
_ENDED = {
    errno.EINVAL: "another process has shut its socket down",
    errno.EBADF: "its socket was closed behind it",
    errno.ENOTSOCK: "its descriptor is another file's",
}


class Limits(Protocol):
    """What decides how many connections may be accepted now.

    :ivar waits: with no place left, new ones are to wait in the kernel's queue.
    """

    waits: bool

    @property
    def left(self) -> float:
        """How many places are left; ``math.inf``: any number."""

    def when_room(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once a place is free."""

    def forget(self, tell: Callable[[], None]) -> None:
        """Do not call it."""


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


class Accepting(tcp.Port):
    """A listening port whose connections are :class:`~echosvc.net.stream.Stream`.

    They are one :class:`~echosvc.net.epoll.Group`, unless the reactor is as cheap itself.
    """

    _transport: type[Stream] = Stream
    _limits: Limits | None = None
    _where = ""  # its address, for people: it cannot be asked when the socket is gone

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._give_up: Callable[[], None] = _nothing  # what we wait for before we go on
        self._failures, self._since = 0, 0.0  # errors of connections since then, monotonic seconds
        self._when_ended: Callable[[], None] = _nothing
        # Now, while there are descriptors.
        lean = isinstance(self.reactor, Batches)
        self._members = (
            cast(Batches, self.reactor) if lean else group(self.reactor, _weakly(self._end_blind))
        )

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
        """Set the options of the listening socket; on Linux its connections inherit them."""
        self._where = format_address(cast(IListeningPort, self).getHost())
        factory = IAdmittingFactory(self.factory, None)
        if factory is not None:
            self._limits = factory.admission
            factory.tune(self.socket)
            if HAS_EPOLL:  # on Linux; elsewhere they may not have them from it
                self._transport = TunedStream

    def connectionLost(self, reason: Failure) -> None:
        """Listen no more."""
        self._give_up()
        tcp.Port.connectionLost(self, reason)
        if reason.check(OSError, ValueError):  # so the select reactor tells of a lost descriptor
            self._say_ended(cast(Exception, reason.value))

    # -- when somebody else ends it -------------------------------------------

    def when_ended(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once it has closed because its socket is of no use any more."""
        self._when_ended = tell

    def readConnectionLost(self, reason: Failure) -> None:  # noqa: ARG002
        """It is hung up: so epoll and poll tell of a TCP socket that was shut down."""
        self.doRead()  # knows why
        self._end(errno.EINVAL)

    def _end(self, number: int) -> None:
        """Close: nobody can be accepted any more, and a reactor tells of that for ever."""
        if not self.connected:
            return
        if number != errno.EINVAL:
            self.socket.detach()  # the descriptor may be somebody else's by now
        with suppress(OSError):  # the reactor has lost it, too
            self.reactor.removeReader(self)
        self.connectionLost(Failure(OSError(number, _ENDED[number])))

    def _end_blind(self, error: OSError) -> None:
        """Close: nothing tells of its connections any more."""
        if self.connected:
            self.reactor.removeReader(self)
            words = "the descriptor that tells of its connections was closed behind it"
            self.connectionLost(Failure(OSError(error.errno, words)))

    def _say_ended(self, error: Exception) -> None:
        number = getattr(error, "errno", None) or errno.EBADF
        log.error(
            "Server Error: the listener {where} is closed: {name} ({words})",
            where=self._where,
            name=errno.errorcode[number],
            words=getattr(error, "strerror", None) or _ENDED[errno.EBADF],
        )
        self._when_ended()

    def _accepted(self, listener: Any) -> Iterator[tuple[socket.SocketType, Any]]:
        """Give each new connection's socket, non-blocking, and its peer's address."""
        family, kind = self.addressFamily, socket.SOCK_STREAM
        for accepted in range(self._room()):
            try:
                # socket.accept() asks for family and kind anew, and makes Python's own kind of
                # socket: 2 of the 30 µs of a connection, and 40 bytes.
                fd, name = listener._accept()
            except BlockingIOError:
                if not accepted:  # another process was faster, or it is no listener any more
                    self._look_at(listener)
                return
            except OSError as error:
                if self._goes_on(error):
                    continue
                return
            handle = socket.SocketType(family, kind, 0, fd)
            handle.setblocking(False)
            yield handle, name

    def _look_at(self, listener: Any) -> None:
        """Close it if it was shut down: accept() of a UNIX socket does not say so, but for ever
        that nobody is there (Linux), while poll() says for ever that somebody is.
        """
        state = select.poll()
        state.register(listener, _HUNG_UP)
        for _, event in state.poll(0):
            if event & select.POLLERR:  # told once more, otherwise
                listener.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if event & _HUNG_UP:
                self._end(errno.EINVAL)

    def _goes_on(self, error: OSError) -> bool:
        """Whether to accept others after an error.

        One that is not the listener's own is that of one connection (accept(2)). But a rule of
        the system may forbid to accept at all, with the same errors, and leave the connection in
        the queue: where they come without end, that is left alone for a while.
        """
        if error.errno in _ENDED:
            self._end(error.errno)
            return False
        now = time.monotonic()
        if now - self._since > PAUSE:
            self._failures, self._since = 0, now
        self._failures += 1
        if error.errno in _FULL or self._failures > AT_ONCE:
            self._failures = 0
            self._pause(error)
            return False
        return True

    @property
    def waiting(self) -> bool:
        """Whether it accepts nobody for now."""
        return self._give_up is not _nothing

    def _room(self) -> int:
        """How many to accept now; with no place for anybody, wait for one."""
        limits = self._limits
        if limits is None or not limits.waits:
            return AT_ONCE
        room = int(min(AT_ONCE, limits.left))
        if not room:
            self._wait_for_room(limits)
        return room

    def _wait_for_room(self, limits: Limits) -> None:
        """Accept nobody while no place is left: the kernel's queue holds who comes."""
        if self.waiting:  # asked in a stop
            return
        self.reactor.removeReader(self)
        limits.when_room(self._go_on)
        self._give_up = lambda: limits.forget(self._go_on)

    def _pause(self, error: OSError) -> None:
        self._give_up()
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


def _weakly(method: Callable[[OSError], None]) -> Callable[[OSError], None]:
    """Give what calls a method as long as its object lives.

    A port and its group would keep each other, and the group's epoll descriptor would be open
    until the garbage collector comes by, long after the last connection.
    """
    reference = weakref.WeakMethod(method)

    def call(error: OSError) -> None:
        if (alive := reference()) is not None:
            alive(error)

    return call
