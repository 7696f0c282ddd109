"""Listening sockets: TCP and UNIX.

Twisted's own listeners lack: a backlog of 511, one listener for IPv4 and IPv6 independent of
the machine's ``bindv6only``, and a UNIX path that is taken over from a server that has ended
but never from a running one.
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

from echosvc.net.acceptor import StreamPort
from echosvc.net.addresses import unix_name
from echosvc.net.hosts import join_host_port, with_zone_index

#: Connections that the kernel queues until they are accepted; Node's default.
DEFAULT_BACKLOG = 511
#: The port of a server and its clients when none is given.
PORT = 8107
#: Errors of creating or binding an IPv6 socket on a machine without IPv6.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL)


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class TCPListener:
    """A TCP listener.

    :param host: address to bind; ``""`` = all IPv4, ``"::"`` = all IPv6 and IPv4,
        ``None`` = all of both, or IPv4 where the machine has no IPv6.
    :param port: 0 = any free one.
    :param only_ipv6: accept no IPv4 clients on ``"::"``.
    """

    reactor: IReactorSocket
    host: str | None = None
    port: int = PORT
    backlog: int = DEFAULT_BACKLOG
    only_ipv6: bool = False

    def __str__(self) -> str:
        host = "::" if self.host is None else self.host or "0.0.0.0"
        return join_host_port(host, self.port)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind and listen; fails with ``OSError``."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        listener = self._open()
        try:
            listener.setblocking(False)
            # The port uses a duplicate of the descriptor.
            make: Callable[..., tcp.Port] = StreamPort._fromListeningDescriptor
            port = make(self.reactor, listener.fileno(), listener.family, factory)
            port.startListening()
            return cast(IListeningPort, port)
        finally:
            listener.close()

    def _open(self) -> socket.socket:
        if self.host is not None:
            return self._bind(self.host)
        try:
            return self._bind("::")
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return self._bind("")

    def _bind(self, host: str) -> socket.socket:
        family, _, _, _, address = socket.getaddrinfo(
            with_zone_index(host) or "0.0.0.0",
            self.port,
            family=socket.AF_INET6 if self.only_ipv6 else socket.AF_UNSPEC,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address[0] == "::":  # independent of bindv6only
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.only_ipv6)
            listener.bind(address)
            listener.listen(self.backlog)
        except BaseException:
            listener.close()
            raise
        return listener


class _UNIXPort(StreamPort, unix.Port):
    """A UNIX port that removes its path when it closes only if that is its own socket.

    ``unix.Port.connectionLost`` unlinks whatever is there, a successor's socket too.
    """

    _inode: tuple[int, int] | None = None

    def createInternetSocket(self) -> socket.socket:
        """Create the socket and keep it, to be closed if listening fails."""
        self._created = cast(socket.socket, unix.Port.createInternetSocket(self))
        return self._created

    def startListening(self) -> None:
        """Listen, and record which inode is our socket."""
        try:
            super().startListening()
        except CannotListenError:
            self._created.close()  # Twisted leaves that to the garbage collector
            raise
        self._inode = _inode(self._bindPath)

    def connectionLost(self, reason: Failure) -> None:
        """Close, and remove the path if it is still our socket."""
        if self._inode is not None and _inode(self._bindPath) == self._inode:
            with suppress(OSError):
                os.unlink(self._bindPath)
        StreamPort.connectionLost(self, reason)


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
    """A UNIX listener. It takes over the path of a server that has ended, not of a running one.

    :param path: the socket's path; ``@name`` is the abstract name.
    :param mode: the socket's permission bits, set before a client can connect.
    """

    reactor: IReactorSocket
    path: str
    mode: int = 0o666
    backlog: int = DEFAULT_BACKLOG

    def __str__(self) -> str:
        return f"unix:{self.path}"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind and listen; fails with ``OSError``."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        name = unix_name(self.path)
        with _directory_lock(os.path.dirname(name)):
            _unlink_stale(name)
            port = _UNIXPort(os.fsencode(name), factory, self.backlog, self.mode, self.reactor)
            port.startListening()
        return cast(IListeningPort, port)


@contextmanager
def _directory_lock(directory: str) -> Iterator[None]:
    """Lock the directory of a path while the path is taken over.

    Two servers that both find a stale socket would each remove the other's new one. The
    directory itself is locked, so no lock file is left behind. If it cannot be locked, the
    path is taken over without the lock.
    """
    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        _lock_within_a_second(descriptor)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock_within_a_second(descriptor: int) -> None:
    """Lock a descriptor; wait at most one second for another process to unlock it.

    :raises OSError: it is still locked then.
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


def _unlink_stale(path: str) -> None:
    """Remove a UNIX socket without a listener, and nothing else.

    :raises OSError: EADDRINUSE: it has a listener, or the file is no socket.
    """
    if path.startswith("\0"):
        return
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EADDRINUSE, "a file is there that is no socket")
        if _is_live_socket(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        os.unlink(path)


def _is_live_socket(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        # EAGAIN: the queue is full, so there is a listener; EACCES: unknown, so assume one.
        return probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT)
