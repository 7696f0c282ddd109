"""Listening sockets that somebody else opened and handed over: systemd, or the like.

Twisted adopts them, but it sets the mode of a UNIX socket's path anew, removes the path
at its end, and shuts the socket down for everybody who holds it; and it ignores them all
where their names are not given. Here nothing is done to them but to accept and to close.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorFDSet,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from zope.interface import implementer

from echosvc.accepting import Accepting
from echosvc.stream import make_address

#: The first descriptor that is handed over (sd_listen_fds(3)).
FIRST = 3


class InheritanceError(ValueError):
    """What was asked for was not handed over; says why in one line."""


def start_environment() -> dict[str, str]:
    """Give the environment that this process was started with.

    Twisted takes these variables out of ``os.environ`` when its endpoints are imported.
    """
    with suppress(OSError):
        text = os.fsdecode(Path("/proc/self/environ").read_bytes())
        pairs = (each.partition("=") for each in text.split("\0") if each)
        return {name: value for name, _, value in pairs}
    return dict(os.environ)


def find(index: str = "", name: str = "", environ: Mapping[str, str] | None = None) -> int:
    """Give the descriptor that was handed over as the one with this index or name.

    :param index: counts from 0; one of both is needed.
    :param environ: with ``LISTEN_FDS``, and ``LISTEN_PID`` and ``LISTEN_FDNAMES`` where the
        other side says them; :func:`start_environment` by default.
    :raises InheritanceError: it was not.
    """
    environ = start_environment() if environ is None else environ
    if bool(index) == bool(name):
        raise InheritanceError("say either index= or name=")
    count = _count(environ)
    if index:
        if not (index.isascii() and index.isdecimal()):
            raise InheritanceError(f"index must be a whole number from 0, not {index!r}")
        if int(index) >= count:
            raise InheritanceError(f"of the inherited descriptors ({count}) none has index {index}")
        return FIRST + int(index)
    names = environ.get("LISTEN_FDNAMES", "").split(":")[:count]
    if name not in names:
        raise InheritanceError(f"of the inherited descriptors ({count}) none is called {name!r}")
    return FIRST + names.index(name)


def _count(environ: Mapping[str, str]) -> int:
    """How many descriptors are for this process."""
    pid, count = environ.get("LISTEN_PID", ""), environ.get("LISTEN_FDS", "")
    if not count.isdecimal():
        raise InheritanceError("no descriptor was inherited: LISTEN_FDS is not set")
    if pid and pid != str(os.getpid()):
        raise InheritanceError(f"the inherited descriptors are for the process {pid}, not this one")
    return int(count)


class _Port(Accepting):
    """A port on such a socket."""

    def startListening(self) -> None:
        """Accept; it listens already."""
        self.fileno = self.socket.fileno  # type: ignore[method-assign]  # as upstream
        self._shouldShutdown = False
        cast(Factory, self.factory).doStart()
        self.connected = True
        self._tune()
        self.reactor.addReader(self)

    def getHost(self) -> IAddress:
        """Where it listens."""
        return make_address(self.socket.getsockname())


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class InheritedListener:
    """A listener on a descriptor.

    The descriptor itself stays open, so that the listener can be opened again.
    """

    reactor: IReactorFDSet
    descriptor: int

    def __str__(self) -> str:
        return f"inherited descriptor {self.descriptor}"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept; fails with ``OSError`` where that is no listening stream socket."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        handle = socket.socket(fileno=os.dup(self.descriptor))
        try:
            os.set_inheritable(handle.fileno(), False)
            if not handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise OSError(errno.EINVAL, "it does not listen")
            handle.setblocking(False)
        except BaseException:
            handle.close()
            raise
        port = _Port(0, factory, reactor=self.reactor)
        port.addressFamily = handle.family
        port.socket = handle
        port.startListening()
        return cast(IListeningPort, port)
