"""How long it takes to connect: the look-up of the name and TCP's handshake, each by itself.

The reactor's own time for a connection holds the look-up, a thread, the turns of its loop and,
for a name of several addresses, waits between attempts. Here the kernel is asked, or a plain
socket's ``connect`` is timed.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from echosvc.net.errors import describe_error
from echosvc.net.hosts import HostError, ascii_host, is_address, with_zone_index

_Result = TypeVar("_Result")

#: ``struct tcp_info`` of <linux/tcp.h>, up to and with ``tcpi_total_retrans``: 8 bytes, then
#: numbers of 4. It only ever grew at its end.
_TCP_INFO = struct.Struct("=8x24I")
_RTT, _TOTAL_RETRANS = 15, 23
_INTERNET = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True)
class Handshake:
    """TCP's handshake as the kernel has it, before anything else was sent.

    :ivar seconds: from the SYN to its acknowledgement; 0 = not measured.
    :ivar again: how many SYNs had to be sent again. What was lost before is not in ``seconds``.
    """

    seconds: float
    again: int = 0


def handshake(handle: socket.SocketType | None) -> Handshake | None:
    """Ask the kernel for the handshake of a connection over which nothing was sent yet.

    :return: ``None``: it is no TCP connection, or the kernel is not Linux.
    """
    asks = sys.platform == "linux" and hasattr(socket, "TCP_INFO")
    if not asks or handle is None or handle.family not in _INTERNET:
        return None
    try:
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:  # reset already
        return None
    return decoded(info)


def decoded(info: bytes) -> Handshake | None:
    """Read a ``struct tcp_info``; ``None``: it is too short to be one."""
    if len(info) < _TCP_INFO.size:
        return None
    numbers = _TCP_INFO.unpack_from(info)
    return Handshake(numbers[_RTT] / 1e6, numbers[_TOTAL_RETRANS])


# -- what blocks -----------------------------------------------------------------------------


def in_thread(reactor: Any, function: Callable[[], _Result]) -> Deferred[_Result]:
    """Call what blocks. Cancelling stops the waiting; the process does not wait for the thread.

    The reactor's own threads are waited for at its end: a look-up may take half a minute.
    """
    result: Deferred[_Result] = Deferred()

    def tell(outcome: _Result | Failure) -> None:
        if isinstance(outcome, Failure):
            result.errback(outcome)
        else:
            result.callback(outcome)

    def run() -> None:
        outcome: _Result | Failure
        try:
            outcome = function()
        except Exception:
            outcome = Failure()
        reactor.callFromThread(tell, outcome)

    threading.Thread(target=run, daemon=True, name="echosvc check").start()
    return result


@dataclass(frozen=True)
class Names:
    """What a name stands for.

    :ivar seconds: how long it took to find out; ``None``: there was nothing to look up.
    :ivar found: family and socket address of each.
    """

    seconds: float | None = None
    found: tuple[tuple[int, Any], ...] = ()


def looked_up(name: str) -> Names:
    """Look up the host of ``HOST:PORT``, and wait for it. Nothing is found for other names."""
    host, colon, port = name.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or not bare or "/" in bare:
        return Names()
    numeric = is_address(bare)
    if ":" in bare and not numeric:
        return Names()
    began = perf_counter()
    try:
        asked = (
            with_zone_index(bare) if numeric else ascii_host(bare)
        )  # as for the connection itself
        found = socket.getaddrinfo(asked, int(port), type=socket.SOCK_STREAM)
    except (OSError, HostError, UnicodeError):
        found = []
    seconds = None if numeric else perf_counter() - began
    return Names(seconds, tuple(dict.fromkeys((entry[0], entry[4]) for entry in found)))


@dataclass(frozen=True)
class Attempt:
    """One plain connection to one address.

    :ivar seconds: until it was there, or failed.
    :ivar error: why it failed, or "".
    :ivar again: how many SYNs had to be sent again.
    """

    seconds: float
    error: str = ""
    again: int = 0


def attempted(family: int, address: Any, limit: float) -> Attempt:
    """Connect and close again; wait for it ``limit`` seconds at most."""
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(limit)
        began = perf_counter()
        try:
            one.connect(address)
        except (OSError, ValueError) as error:
            late = isinstance(error, TimeoutError)
            name = "ETIMEDOUT" if late else describe_error(error)
            return Attempt(perf_counter() - began, name)
        took = perf_counter() - began
        known = handshake(one) or Handshake(0.0)
    return Attempt(took if known.again else known.seconds or took, again=known.again)
