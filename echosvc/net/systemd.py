"""Socket activation: listening sockets inherited from systemd or another service manager.

Twisted adopts them, but it changes the mode of a UNIX socket's path, removes the path when it
closes, and shuts the socket down for every process that holds it; and it ignores all of them
if their names are not set. Here an inherited socket is only accepted from and closed.
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
from echosvc._text import read_whole
from echosvc.net.acceptor import StreamPort
from echosvc.net.addresses import make_address

#: The first inherited descriptor (sd_listen_fds(3)).
SD_LISTEN_FDS_START = 3
#: Limit of descriptors that are examined, whatever ``LISTEN_FDS`` says.
_MAX_SCANNED = 1024
#: Highest number of a descriptor that is understood; the kernel takes a C int.
_MAX_NUMBER = 10**9 - 1
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class SocketActivationError(ValueError):
    """The descriptor was not inherited; the message says why on one line."""


def start_environment() -> dict[str, str]:
    """Return the environment that this process was started with.

    Twisted removes these variables from ``os.environ`` when its endpoints are imported.
    """
    with suppress(OSError):
        text = os.fsdecode(Path("/proc/self/environ").read_bytes())
        pairs = (each.partition("=") for each in text.split("\0") if each)
        return {name: value for name, _, value in pairs}
    return dict(os.environ)


def activation_fds(
    index: str = "", name: str = "", environ: Mapping[str, str] | None = None
) -> tuple[int, ...]:
    """Return the inherited descriptors with this index or name.

    Several have one name if one ``.socket`` unit has several addresses (systemd.socket(5),
    FileDescriptorName=).

    :param index: counts from 0; give either this or ``name``.
    :param environ: has ``LISTEN_FDS``, and may have ``LISTEN_PID`` and ``LISTEN_FDNAMES``;
        :func:`start_environment` by default.
    :raises SocketActivationError: there is none.
    """
    environ = start_environment() if environ is None else environ
    if bool(index) == bool(name):
        raise SocketActivationError("give either index= or name=")
    count = _count(environ)
    if index:
        number = read_whole(index, _MAX_NUMBER)
        if number is None:
            raise SocketActivationError(f"index must be a whole number from 0, not {index!r}")
        if number >= count:
            raise SocketActivationError(
                f"of the inherited descriptors ({count}) none has index {index}"
            )
        return (SD_LISTEN_FDS_START + number,)
    found = tuple(
        SD_LISTEN_FDS_START + at for at, each in enumerate(_names(environ, count)) if each == name
    )
    if not found:
        raise SocketActivationError(
            f"of the inherited descriptors ({count}) none has the name {name!r}"
        )
    return found


def _names(environ: Mapping[str, str], count: int) -> list[str]:
    return environ.get("LISTEN_FDNAMES", "").split(":")[:count]


def _count(environ: Mapping[str, str]) -> int:
    """Return how many descriptors are for this process."""
    pid = environ.get("LISTEN_PID", "")
    count = read_whole(environ.get("LISTEN_FDS", ""), _MAX_NUMBER)
    if count is None:
        raise SocketActivationError("no descriptor was inherited: LISTEN_FDS is not set")
    if pid and pid != str(os.getpid()):
        raise SocketActivationError(
            f"the inherited descriptors are for the process {pid}, not this one"
        )
    return count


@dataclass(frozen=True)
class UnclaimedSocket:
    """An inherited socket that no listener uses.

    :ivar index: its number among the descriptors, from 0.
    :ivar name: its name; ``""`` = it has none.
    :ivar address: the address that it listens on; ``None`` = it is neither TCP nor UNIX.
    """

    index: int
    name: str
    address: IAddress | None


def unclaimed_sockets(
    ports: Iterable[object], environ: Mapping[str, str] | None = None
) -> Iterator[UnclaimedSocket]:
    """Yield the inherited sockets that none of these ``ports`` uses.

    A client that connects to one waits for ever: the socket listens, but nothing accepts.
    """
    environ = start_environment() if environ is None else environ
    with suppress(SocketActivationError):
        count = _count(environ)
        names = dict(enumerate(_names(environ, count)))
        taken = {port.descriptor for port in ports if isinstance(port, _InheritedPort)}
        for index in range(min(count, _MAX_SCANNED)):
            if (descriptor := SD_LISTEN_FDS_START + index) not in taken and _is_inherited_socket(
                descriptor
            ):
                yield UnclaimedSocket(index, names.get(index, ""), _address(descriptor))


def _is_inherited_socket(descriptor: int) -> bool:
    """Return whether this is a socket from the start of the process: those are inheritable."""
    try:
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        return is_socket and os.get_inheritable(descriptor)
    except OSError:
        return False


def _address(descriptor: int) -> IAddress | None:
    with _duplicate(descriptor) as handle:
        is_stream = handle.family in _FAMILIES and handle.type == socket.SOCK_STREAM
        return make_address(handle.getsockname()) if is_stream else None


class _SharedListener:
    """A listening socket that other processes have open too.

    They share the flag that makes it non-blocking (fcntl(2), F_SETFL), so ``accept`` is called
    only when a connection is pending.
    """

    def __init__(self, listener: Any) -> None:
        self._listener = listener
        self._waiting = select.poll()
        self._waiting.register(listener, select.POLLIN)

    def fileno(self) -> int:
        """The descriptor."""
        return int(self._listener.fileno())

    def getsockopt(self, level: int, option: int) -> int:
        """Return an option of the socket."""
        return int(self._listener.getsockopt(level, option))

    def _accept(self) -> Any:
        if not self._waiting.poll(0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self._listener._accept()


class _InheritedPort(StreamPort):
    """A port on an inherited socket.

    :ivar descriptor: the inherited descriptor.
    """

    descriptor: int

    def startListening(self) -> None:
        """Start to accept; the socket listens already."""
        self.fileno = self.socket.fileno  # type: ignore[method-assign]  # as in Twisted
        self._shouldShutdown = False
        cast(Factory, self.factory).doStart()
        self.connected = True
        self._apply_policy()
        self.reactor.addReader(self)

    def _accept_all(self, listener: Any) -> Iterator[tuple[socket.SocketType, Any]]:
        """Yield each new connection's socket and its peer's address; never block."""
        try:
            if os.get_blocking(listener.fileno()):
                os.set_blocking(listener.fileno(), False)
                log.warn(
                    "another process made the listener {where} blocking: reset to non-blocking",
                    where=self._where,
                )
        except OSError as error:
            self._may_continue(error)
            return iter(())
        return super()._accept_all(_SharedListener(listener))

    def _logConnectionLostMsg(self) -> None:
        """Log the address, whatever kind of socket it was."""
        log.info("({where} Closed)", where=self._where)

    def getHost(self) -> IAddress:
        """Return the address that it listens on."""
        return make_address(self.socket.getsockname())


@implementer(IListeningPort)
class _PortGroup:
    """Several ports that an endpoint opened as one."""

    def __init__(self, ports: Sequence[IListeningPort]) -> None:
        self.ports = list(ports)

    def startListening(self) -> None:
        """Do nothing: they listen already."""

    def stopListening(self) -> Deferred[Any]:
        """Close all; the Deferred fires when all are closed."""
        return DeferredList([maybeDeferred(port.stopListening) for port in self.ports])

    def getHost(self) -> IAddress:
        """Return the address that the first one listens on."""
        return self.ports[0].getHost()


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class InheritedListener:
    """A listener on inherited descriptors.

    The descriptors stay open, so the endpoint can listen again.

    :param descriptors: one or more. The port on several has ``ports``, one for each.
    """

    reactor: IReactorFDSet
    descriptors: tuple[int, ...]

    def __str__(self) -> str:
        plural = "s" if len(self.descriptors) > 1 else ""
        return f"inherited descriptor{plural} {', '.join(map(str, self.descriptors))}"

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept; the Deferred fails with ``OSError`` if one is no listening stream socket."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        with ExitStack() as on_failure:
            handles = [
                on_failure.enter_context(_duplicate_listener(each)) for each in self.descriptors
            ]
            on_failure.pop_all()
        ports = [self._port(*each, factory) for each in zip(self.descriptors, handles, strict=True)]
        return ports[0] if len(ports) == 1 else cast(IListeningPort, _PortGroup(ports))

    def _port(
        self, descriptor: int, handle: socket.socket, factory: IProtocolFactory
    ) -> IListeningPort:
        port = _InheritedPort(0, factory, reactor=self.reactor)
        port.descriptor, port.addressFamily, port.socket = descriptor, handle.family, handle
        port.startListening()
        return cast(IListeningPort, port)


def _duplicate_listener(descriptor: int) -> socket.socket:
    """Return a duplicate to accept from.

    :raises OSError: it is no listening stream socket.
    """
    handle = _duplicate(descriptor)
    try:
        if handle.family not in _FAMILIES or handle.type != socket.SOCK_STREAM:
            raise OSError(errno.EPROTOTYPE, "it is no TCP or UNIX stream socket")
        if not handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, "it does not listen")
        handle.setblocking(False)
    except BaseException:
        handle.close()
        raise
    return handle


def _duplicate(descriptor: int) -> socket.socket:
    """Return a socket object on a duplicate, which can be closed without closing the original.

    :raises OSError: the descriptor is closed, or no socket.
    """
    duplicate = os.dup(descriptor)  # not inheritable
    try:
        return socket.socket(fileno=duplicate)
    except BaseException:
        os.close(duplicate)
        raise
