"""Listening sockets that somebody else opened and handed over: systemd, or the like.

Twisted adopts them, but it sets the mode of a UNIX socket's path anew, removes the path
at its end, and shuts the socket down for everybody who holds it; and it ignores them all
where their names are not given. Here nothing is done to them but to accept and to close.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList, execute, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorFDSet,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from zope.interface import implementer

from echosvc._log import log
from echosvc.net.acceptor import Accepting
from echosvc.net.addresses import make_address

#: The first descriptor that is handed over (sd_listen_fds(3)).
FIRST = 3
#: Descriptors that are looked at, whatever ``LISTEN_FDS`` says.
_MOST = 1024
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


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


def find(
    index: str = "", name: str = "", environ: Mapping[str, str] | None = None
) -> tuple[int, ...]:
    """Give the descriptors that were handed over with this index or name.

    Several have one name where one ``.socket`` unit has several addresses (systemd.socket(5),
    FileDescriptorName=).

    :param index: counts from 0; one of both is needed.
    :param environ: with ``LISTEN_FDS``, and ``LISTEN_PID`` and ``LISTEN_FDNAMES`` where the
        other side says them; :func:`start_environment` by default.
    :raises InheritanceError: none was.
    """
    environ = start_environment() if environ is None else environ
    if bool(index) == bool(name):
        raise InheritanceError("say either index= or name=")
    count = _count(environ)
    if index:
        number = _number(index)
        if number is None:
            raise InheritanceError(f"index must be a whole number from 0, not {index!r}")
        if number >= count:
            raise InheritanceError(f"of the inherited descriptors ({count}) none has index {index}")
        return (FIRST + number,)
    found = tuple(FIRST + at for at, each in enumerate(_names(environ, count)) if each == name)
    if not found:
        raise InheritanceError(f"of the inherited descriptors ({count}) none is called {name!r}")
    return found


def _names(environ: Mapping[str, str], count: int) -> list[str]:
    return environ.get("LISTEN_FDNAMES", "").split(":")[:count]


def _count(environ: Mapping[str, str]) -> int:
    """How many descriptors are for this process."""
    pid, count = environ.get("LISTEN_PID", ""), _number(environ.get("LISTEN_FDS", ""))
    if count is None:
        raise InheritanceError("no descriptor was inherited: LISTEN_FDS is not set")
    if pid and pid != str(os.getpid()):
        raise InheritanceError(f"the inherited descriptors are for the process {pid}, not this one")
    return count


def _number(text: str) -> int | None:
    """Read a whole number from 0; no system has descriptors of more than nine digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


@dataclass(frozen=True)
class Unserved:
    """A socket that was handed over and that no listener has taken.

    :ivar index: its number among the descriptors, from 0.
    :ivar name: its name; ``""`` where it has none.
    :ivar address: where its clients connect to; ``None`` where that is neither TCP nor UNIX.
    """

    index: int
    name: str
    address: IAddress | None


def unserved(
    ports: Iterable[object], environ: Mapping[str, str] | None = None
) -> Iterator[Unserved]:
    """Give the sockets that were handed over and that are none of these ``ports``.

    Whoever connects to one waits for ever: it listens, and nobody accepts.
    """
    environ = start_environment() if environ is None else environ
    with suppress(InheritanceError):
        count = _count(environ)
        names = dict(enumerate(_names(environ, count)))
        taken = {port.descriptor for port in ports if isinstance(port, _Port)}
        for index in range(min(count, _MOST)):
            if (descriptor := FIRST + index) not in taken and _was_handed_over(descriptor):
                yield Unserved(index, names.get(index, ""), _address(descriptor))


def _was_handed_over(descriptor: int) -> bool:
    """Whether it is a socket that came with the start: those are inheritable."""
    try:
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        return is_socket and os.get_inheritable(descriptor)
    except OSError:
        return False


def _address(descriptor: int) -> IAddress | None:
    with _duplicate(descriptor) as handle:
        is_stream = handle.family in _FAMILIES and handle.type == socket.SOCK_STREAM
        return make_address(handle.getsockname()) if is_stream else None


class _Shared:
    """A listening socket that other processes hold, too.

    Whether it blocks is a flag of all of them (fcntl(2), F_SETFL), so ``accept`` is only called
    where somebody waits.
    """

    def __init__(self, listener: Any) -> None:
        self._listener = listener
        self._waiting = select.poll()
        self._waiting.register(listener, select.POLLIN)

    def fileno(self) -> int:
        """The descriptor."""
        return int(self._listener.fileno())

    def getsockopt(self, level: int, option: int) -> int:
        """As the socket's."""
        return int(self._listener.getsockopt(level, option))

    def _accept(self) -> Any:
        if not self._waiting.poll(0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self._listener._accept()


class _Port(Accepting):
    """A port on such a socket.

    :ivar descriptor: the one that was handed over.
    """

    descriptor: int

    def startListening(self) -> None:
        """Accept; it listens already."""
        self.fileno = self.socket.fileno  # type: ignore[method-assign]  # as upstream
        self._shouldShutdown = False
        cast(Factory, self.factory).doStart()
        self.connected = True
        self._tune()
        self.reactor.addReader(self)

    def _accepted(self, listener: Any) -> Iterator[tuple[socket.SocketType, Any]]:
        """Give each new connection's socket and its peer's address, and block nowhere."""
        try:
            if os.get_blocking(listener.fileno()):
                os.set_blocking(listener.fileno(), False)
                log.warn(
                    "another process has made the listener {where} blocking: that is undone",
                    where=self._where,
                )
        except OSError as error:
            self._goes_on(error)
            return iter(())
        return super()._accepted(_Shared(listener))

    def _logConnectionLostMsg(self) -> None:
        """Say where, whatever kind of socket it was."""
        log.info("({where} Closed)", where=self._where)

    def getHost(self) -> IAddress:
        """Where it listens."""
        return make_address(self.socket.getsockname())


@implementer(IListeningPort)
class _Ports:
    """Several ports that were opened as one."""

    def __init__(self, ports: Sequence[IListeningPort]) -> None:
        self.ports = list(ports)

    def startListening(self) -> None:
        """They listen already."""

    def stopListening(self) -> Deferred[Any]:
        """Close all; fires when that is done."""
        return DeferredList([maybeDeferred(port.stopListening) for port in self.ports])

    def getHost(self) -> IAddress:
        """Where the first one listens."""
        return self.ports[0].getHost()


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class InheritedListener:
    """A listener on descriptors.

    They themselves stay open, so that it can be opened again.

    :param descriptors: one or more. The port on several has ``ports``, one each.
    """

    reactor: IReactorFDSet
    descriptors: tuple[int, ...]

    def __str__(self) -> str:
        plural = "s" if len(self.descriptors) > 1 else ""
        return f"inherited descriptor{plural} {', '.join(map(str, self.descriptors))}"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept; fails with ``OSError`` where one is no listening stream socket."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        with ExitStack() as on_failure:
            handles = [on_failure.enter_context(_listening(each)) for each in self.descriptors]
            on_failure.pop_all()
        ports = [self._port(*each, factory) for each in zip(self.descriptors, handles, strict=True)]
        return ports[0] if len(ports) == 1 else cast(IListeningPort, _Ports(ports))

    def _port(
        self, descriptor: int, handle: socket.socket, factory: IProtocolFactory
    ) -> IListeningPort:
        port = _Port(0, factory, reactor=self.reactor)
        port.descriptor, port.addressFamily, port.socket = descriptor, handle.family, handle
        port.startListening()
        return cast(IListeningPort, port)


def _listening(descriptor: int) -> socket.socket:
    """Give a duplicate, to accept from.

    :raises OSError: it is no listening stream socket.
    """
    handle = _duplicate(descriptor)
    try:
        if handle.family not in _FAMILIES or handle.type != socket.SOCK_STREAM:
            raise OSError(errno.EPROTOTYPE, "it is no stream socket of TCP or UNIX")
        if not handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, "it does not listen")
        handle.setblocking(False)
    except BaseException:
        handle.close()
        raise
    return handle


def _duplicate(descriptor: int) -> socket.socket:
    """Give a socket of the same, whose end leaves it open.

    :raises OSError: it is closed, or no socket.
    """
    duplicate = os.dup(descriptor)  # not inheritable
    try:
        return socket.socket(fileno=duplicate)
    except BaseException:
        os.close(duplicate)
        raise
