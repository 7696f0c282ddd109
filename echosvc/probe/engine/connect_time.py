"""How long it takes to connect: look-up of the name and TCP handshake, measured apart.

The time that a reactor needs for a connection includes the look-up, a thread, the turns of its
loop and, for a name of several addresses, waits between attempts. So the kernel's own figure is
read, or a plain socket's ``connect`` is timed.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from echosvc.net.errors import describe_error
from echosvc.net.hosts import HostError, ascii_host, is_address, split_host_port, with_zone_index
from echosvc.net.socket_options import read_tcp_info
from echosvc.probe.engine.tcp_info import parse_tcp_info

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Handshake:
    """TCP's handshake as the kernel measured it, before anything else was sent.

    :ivar seconds: from the SYN to its acknowledgement; 0 = not measured.
    :ivar syn_retransmits: how many SYNs were sent again; ``seconds`` does not include that wait.
    """

    seconds: float
    syn_retransmits: int = 0


def handshake(handle: socket.SocketType | None) -> Handshake | None:
    """Return the handshake of a connection over which nothing was sent yet.

    :return: ``None``: it is no TCP connection, or the kernel is not Linux.
    """
    known = None if handle is None else parse_tcp_info(read_tcp_info(handle))
    return None if known is None else Handshake(known.rtt, known.retransmits)


# -- blocking calls -----------------------------------------------------------------------------


def call_in_thread(reactor: Any, function: Callable[[], _Result]) -> Deferred[_Result]:
    """Call a function that blocks.

    Cancelling stops the waiting, not the thread. The process does not wait for the thread at its
    end, as it would for one of the reactor's: a look-up may take half a minute.
    """
    result: Deferred[_Result] = Deferred()

    def fire(outcome: _Result | Failure) -> None:
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
        reactor.callFromThread(fire, outcome)

    threading.Thread(target=run, daemon=True, name="echosvc check").start()
    return result


@dataclass(frozen=True)
class Resolution:
    """The addresses of a name.

    :ivar seconds: how long the look-up took; ``None``: there was nothing to look up.
    :ivar found: family and socket address of each.
    """

    seconds: float | None = None
    found: tuple[tuple[int, Any], ...] = ()


def resolve_name(name: str) -> Resolution:
    """Look up the host of ``HOST:PORT``, blocking; other names have no addresses."""
    bare, port = split_host_port(name) or ("", 0)
    numeric = is_address(bare)
    if not bare or "/" in bare or (":" in bare and not numeric):
        return Resolution()
    began = perf_counter()
    try:
        # As for the connection itself.
        asked = with_zone_index(bare) if numeric else ascii_host(bare)
        found = socket.getaddrinfo(asked, port, type=socket.SOCK_STREAM)
    except (OSError, HostError, UnicodeError):
        found = []
    seconds = None if numeric else perf_counter() - began
    return Resolution(seconds, tuple(dict.fromkeys((entry[0], entry[4]) for entry in found)))


@dataclass(frozen=True)
class Attempt:
    """One plain connection to one address.

    :ivar seconds: until it was established, or failed.
    :ivar error: why it failed, or "".
    :ivar syn_retransmits: how many SYNs were sent again.
    """

    seconds: float
    error: str = ""
    syn_retransmits: int = 0


def try_connect(family: int, address: Any, limit: float) -> Attempt:
    """Connect and close, blocking for ``limit`` seconds at most."""
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
    again = known.syn_retransmits
    return Attempt(took if again else known.seconds or took, syn_retransmits=again)
