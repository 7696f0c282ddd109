"""Errors of the network: their classes and their names."""

from __future__ import annotations

import errno
import socket

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionLost,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.python.failure import Failure


class ReloadError(Exception):
    """Something that was to be read again is wrong; the message says what, in one line."""


class TLSError(Exception):
    """TLS failed; the message says why in OpenSSL's words."""


class VerificationError(TLSError):
    """The server's certificate was refused.

    :param why: what is wrong with it.
    :param advice: what can be done; ``""`` = nothing is known.
    """

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(f"TLS: {why}" + (f" ({advice})" if advice else ""))
        self.why = f"TLS: {why}"
        self.advice = advice


class ListenError(Exception):
    """Listening failed; says where and why in one line, with the system error's name."""


_NAMES: dict[type[BaseException], str] = {
    socket.gaierror: "ENOTFOUND",
    DNSLookupError: "ENOTFOUND",
    TCPTimedOutError: "ETIMEDOUT",
    ConnectTimeoutError: "ETIMEDOUT",
    ConnectingCancelledError: "ETIMEDOUT",
    CancelledError: "ETIMEDOUT",
    DeferredTimeoutError: "ETIMEDOUT",
    ConnectionLost: "connection lost or reset",
}


def error_name(error: BaseException) -> str:
    """Name what went wrong as the field does: ``ECONNREFUSED``, ``ENOTFOUND`` …

    Falls back to the error's own words, on one line.
    """
    inner = getattr(error, "socketError", None) or error
    for kind, name in _NAMES.items():
        if isinstance(inner, kind):
            return name
    if hung_up(inner):
        return "the connection was refused or lost"
    if inner.args and isinstance(inner.args[0], list):  # OpenSSL's queue of errors
        return "TLS: " + "; ".join(str(entry[-1]) for entry in inner.args[0])
    number = getattr(inner, "osError", None) or getattr(inner, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return errno.errorcode[number]
    return " ".join(str(inner).split()) or type(inner).__name__


def hung_up(error: BaseException | None) -> bool:
    """Return whether this is Twisted's error of an attempt of which only the end is known.

    It is a ``ConnectError`` without a number, whose text is a ``Failure``.
    """
    args = error.args if isinstance(error, ConnectError) else ()
    return any(isinstance(each, Failure) for each in args)


def listen_error(where: str, error: BaseException) -> ListenError:
    """Give the error for a listener at ``where``."""
    inner = getattr(error, "socketError", None) or error
    if isinstance(error, CannotListenError) and isinstance(error.port, int):
        where = f"{error.interface or '0.0.0.0'}:{error.port}"
    name = error_name(inner)
    words = getattr(inner, "strerror", None)
    return ListenError(f"cannot listen on {where}: {name}{f' ({words})' if words else ''}")
