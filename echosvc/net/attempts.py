"""Attempts to connect that fail with the error of the system.

Where an attempt fails, the reactor may tell the socket only that it has hung up. Twisted then
reports a ``ConnectError`` without a number, whose text is another ``Failure``. It is so where
a firewall refuses by an ICMP message, on the reactors of epoll and poll.
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


class TCPAttempt(tcp.Client):
    """A client's connection that asks its socket why it could not be made."""

    def connectionLost(self, reason: Failure) -> None:
        """Take the reactor's word that the socket has hung up, connected or not."""
        upstream: Any = super()
        if not self.connected and hasattr(self, "connector"):
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                upstream.failIfNotConnected(_error(number))
                return
        upstream.connectionLost(reason)


class UNIXAttempt(unix.Client):
    """A client's connection that fails with EAGAIN where the listener has no room for it.

    Linux says so at once. Twisted takes it for an attempt under way: with epoll and poll the
    socket then hangs up, with the others the reactor turns without end.
    """

    def doConnect(self) -> None:
        """Connect: to a path that has succeeded or failed when the call returns."""
        upstream: Any = super()
        upstream.doConnect()
        if not self.connected and hasattr(self, "connector"):
            upstream.failIfNotConnected(_error(errno.EAGAIN))


class _TCPConnector(tcp.Connector):
    def _makeTransport(self) -> TCPAttempt:
        make: Any = TCPAttempt
        made: TCPAttempt = make(self.host, self.port, self.bindAddress, self, self.reactor)
        return made


class _UNIXConnector(unix.Connector):
    def _makeTransport(self) -> Any:
        make: Any = UNIXAttempt
        return make(self.address, self, self.reactor, self.checkPID)


def _error(number: int) -> ConnectError:
    error: ConnectError = getConnectError((number, os.strerror(number)))
    return error


class Attempting:
    """Stands for a reactor in a client endpoint: its connections are those of this module.

    A reactor that is not made of descriptors connects in its own way.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: Any = 30.0, bindAddress: Any = None
    ) -> Any:
        """Begin to connect to an address."""
        reactor = self._reactor
        if not isinstance(reactor, PosixReactorBase):
            return reactor.connectTCP(host, port, factory, timeout=timeout, bindAddress=bindAddress)
        connector = _TCPConnector(host, port, factory, timeout, bindAddress, reactor)
        connector.connect()
        return connector

    def connectUNIX(
        self, address: Any, factory: Any, timeout: Any = 30.0, checkPID: bool = False
    ) -> Any:
        """Begin to connect to a path."""
        reactor = self._reactor
        if not isinstance(reactor, PosixReactorBase):
            return reactor.connectUNIX(address, factory, timeout=timeout, checkPID=checkPID)
        make: Any = _UNIXConnector
        connector = make(address, factory, timeout, reactor, checkPID)
        connector.connect()
        return connector
