"""Connection attempts that fail with the system's error.

When an attempt fails, the epoll and poll reactors may report only that the socket has hung up,
for instance when a firewall refuses by an ICMP message. Twisted then fails with a
``ConnectError`` without an error number, whose text is another ``Failure``.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectError, getConnectError
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

from echosvc.net.socket_options import set_tcp


class TCPAttempt(tcp.Client):
    """A client's connection that asks its socket for the error of a failed attempt."""

    def createInternetSocket(self) -> socket.SocketType:
        """Create a socket, and limit its segments where the connector says so.

        The limit holds in both directions, because the SYN announces it to the peer.
        """
        upstream: Any = super()
        handle: socket.SocketType = upstream.createInternetSocket()
        if most := getattr(self.connector, "max_segment", 0):
            set_tcp(handle, "TCP_MAXSEG", most)
        return handle

    def connectionLost(self, reason: Failure) -> None:
        """Fail the attempt with the socket's error, or close the connection."""
        upstream: Any = super()
        if not self.connected and hasattr(self, "connector"):
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                upstream.failIfNotConnected(_error(number))
                return
        upstream.connectionLost(reason)


class UNIXAttempt(unix.Client):
    """A client's connection that fails with EAGAIN when the listener's backlog is full.

    Linux returns that error at once. Twisted takes it for an attempt in progress: the epoll and
    poll reactors then see a hang-up, the others run in a busy loop.
    """

    def doConnect(self) -> None:
        """Connect; a UNIX socket has succeeded or failed when the call returns."""
        upstream: Any = super()
        upstream.doConnect()
        if not self.connected and hasattr(self, "connector"):
            upstream.failIfNotConnected(_error(errno.EAGAIN))


class _TCPConnector(tcp.Connector):
    """Connects by a :class:`TCPAttempt`."""

    max_segment = 0

    def _makeTransport(self) -> TCPAttempt:
        make: Any = TCPAttempt
        made: TCPAttempt = make(self.host, self.port, self.bindAddress, self, self.reactor)
        return made


class _UNIXConnector(unix.Connector):
    """Connects by a :class:`UNIXAttempt`."""

    def _makeTransport(self) -> Any:
        make: Any = UNIXAttempt
        return make(self.address, self, self.reactor, self.checkPID)


def _error(number: int) -> ConnectError:
    error: ConnectError = getConnectError((number, os.strerror(number)))
    return error


class AttemptReactor:
    """A reactor for client endpoints that connects by the classes of this module.

    Calls of a reactor that is no ``PosixReactorBase`` are passed to that reactor unchanged.

    :param max_segment: the longest segment of TCP connections, in both directions, bytes; 0 = the
        system's.
    """

    def __init__(self, reactor: Any, max_segment: int = 0) -> None:
        self._reactor = reactor
        self._max_segment = max_segment

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: Any = 30.0, bindAddress: Any = None
    ) -> Any:
        """Start to connect to an address; return the connector."""
        reactor = self._reactor
        if not isinstance(reactor, PosixReactorBase):
            return reactor.connectTCP(host, port, factory, timeout=timeout, bindAddress=bindAddress)
        connector = _TCPConnector(host, port, factory, timeout, bindAddress, reactor)
        connector.max_segment = self._max_segment
        connector.connect()
        return connector

    def connectUNIX(
        self, address: Any, factory: Any, timeout: Any = 30.0, checkPID: bool = False
    ) -> Any:
        """Start to connect to a path; return the connector."""
        reactor = self._reactor
        if not isinstance(reactor, PosixReactorBase):
            return reactor.connectUNIX(address, factory, timeout=timeout, checkPID=checkPID)
        make: Any = _UNIXConnector
        connector = make(address, factory, timeout, reactor, checkPID)
        connector.connect()
        return connector
