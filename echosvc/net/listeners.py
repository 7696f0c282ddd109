"""Listening sockets: TCP and UNIX.

They exist for what Twisted's own cannot do: a backlog of 511, one listener for IPv4
and IPv6 whatever the machine's ``bindv6only`` says, a UNIX path that is taken over
from a dead server and never from a living one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import (
    CannotListenError,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorSocket,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.net.acceptor import Accepting
from echosvc.net.addresses import unix_name
from echosvc.net.hosts import numbered, with_port

#: Connections that the kernel holds for us before we accept them, as Node's default.
BACKLOG = 511
PORT = 8107


#: What a machine without IPv6 says to a socket, or to binding it.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL)


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class TCPListener:
    """A TCP listener.

    :param host: address to bind; ``""`` = all IPv4, ``"::"`` = all IPv6 and IPv4,
        ``None`` = all of both, or IPv4 where the machine has no IPv6.
    :param port: 0 = any free one.
    :param only_ipv6: no IPv4 client is taken, not even by ``"::"``.
    """

    reactor: IReactorSocket
    host: str | None = None
    port: int = PORT
    backlog: int = BACKLOG
    only_ipv6: bool = False

    def __str__(self) -> str:
        host = "::" if self.host is None else self.host or "0.0.0.0"
        return with_port(host, self.port)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind and listen; fails with ``OSError``."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        listener = self._open()
        try:
            listener.setblocking(False)
            # The port works on a duplicate of the descriptor.
            make: Callable[..., tcp.Port] = Accepting._fromListeningDescriptor
            port = make(self.reactor, listener.fileno(), listener.family, factory)
            port.startListening()
            return cast(IListeningPort, port)
        finally:
            listener.close()

    def _open(self) -> socket.socket:
        if self.host is not None:
            return self._bound(self.host)
        try:
            return self._bound("::")
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return self._bound("")

    def _bound(self, host: str) -> socket.socket:
        family, _, _, _, address = socket.getaddrinfo(
            numbered(host) or "0.0.0.0",
            self.port,
            family=socket.AF_INET6 if self.only_ipv6 else socket.AF_UNSPEC,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address[0] == "::":  # whatever bindv6only says
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.only_ipv6)
            listener.bind(address)
            listener.listen(self.backlog)
        except BaseException:
            listener.close()
            raise
        return listener


class _UNIXPort(Accepting, unix.Port):
    """A UNIX port that removes its path at the end only while that is its own socket.

    ``unix.Port.connectionLost`` unlinks whatever lies there, a successor's as well.
    """

    _inode: tuple[int, int] | None = None

    def createInternetSocket(self) -> socket.socket:
        """Make the socket, and remember it."""
        self._made = cast(socket.socket, unix.Port.createInternetSocket(self))
        return self._made

    def startListening(self) -> None:
        """Listen, and remember which socket is ours."""
        try:
            super().startListening()
        except CannotListenError:
            self._made.close()  # upstream leaves that to the garbage collector
            raise
        self._inode = _inode(self._bindPath)

    def connectionLost(self, reason: Failure) -> None:
        """Close, and remove the path."""
        if self._inode is not None and _inode(self._bindPath) == self._inode:
            with suppress(OSError):
                os.unlink(self._bindPath)
        Accepting.connectionLost(self, reason)


def _inode(path: bytes) -> tuple[int, int] | None:
    if path.startswith(b"\0"):
        return None
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class UNIXListener:
    """A UNIX listener: a path left by a dead server is taken over, a live one refused.

    :param path: where; ``@name`` is the abstract name.
    :param mode: the socket's permission bits, set before anybody can connect.
    """

    reactor: IReactorSocket
    path: str
    mode: int = 0o666
    backlog: int = BACKLOG

    def __str__(self) -> str:
        return f"unix:{self.path}"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind and listen; fails with ``OSError``."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        name = unix_name(self.path)
        with _alone_in(os.path.dirname(name)):
            _remove_dead(name)
            port = _UNIXPort(os.fsencode(name), factory, self.backlog, self.mode, self.reactor)
            port.startListening()
        return cast(IListeningPort, port)


@contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """While a path is taken over, no other server takes one over in its directory.

    Two that both find a dead one would each remove the other's. What is locked is the
    directory itself, so nothing is left behind; who cannot lock it goes on without.
    """
    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        _lock(descriptor)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock it, as soon as nobody else does, within a second.

    :raises OSError: somebody does for longer.
    """
    end = time.monotonic() + 1.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)  # before the reactor runs


def _remove_dead(path: str) -> None:
    """Remove a socket on which nobody listens, and nothing else.

    :raises OSError: EADDRINUSE where somebody does, or where it is no socket.
    """
    if path.startswith("\0"):
        return
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EADDRINUSE, "a file is there that is no socket")
        if _somebody_listens(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        os.unlink(path)


def _somebody_listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        # EAGAIN: its queue is full, so there is a server; EACCES: who knows.
        return probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT)
