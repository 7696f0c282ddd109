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
    ConnectionClosed,
    ConnectionLost,
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.python.failure import Failure

from echosvc.net.hosts import join_host_port


class ReloadError(Exception):
    """A file cannot be reloaded; the message says why on one line."""


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
    """Listening failed; the message says where and why, with the system error's name."""


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


def describe_error(error: BaseException) -> str:
    """Return the system's name of an error: ``ECONNREFUSED``, ``ENOTFOUND`` …

    For an error without one, its own text on one line.
    """
    inner = getattr(error, "socketError", None) or error
    for kind, name in _NAMES.items():
        if isinstance(inner, kind):
            return name
    if is_hangup(inner):
        return "the connection was refused or lost"
    if openssl_reasons(inner) is not None:
        return describe_tls_error(inner)
    number = getattr(inner, "osError", None) or getattr(inner, "errno", None)
    if number == errno.EPIPE and isinstance(inner, ConnectError):
        number = errno.ECONNRESET  # Linux calls a reset that follows a FIN so (tcp_reset())
    if isinstance(number, int) and number in errno.errorcode:
        return errno.errorcode[number]
    return _one_line(inner)


#: What no endpoint reports on purpose.
_PROGRAM_ERRORS = (
    TypeError, AttributeError, NameError, LookupError, AssertionError, ArithmeticError, ImportError,
)  # fmt: skip
#: What else the errors of an attempt say. A router, a firewall or the host itself reports them by
#: ICMP; Linux makes an error of each message (icmp_err_convert, icmpv6_err_convert), as it does of
#: routes and rules of its own.
_REPORTS = {
    "EHOSTUNREACH": "no route to the host, or a firewall prohibits it",
    "ENETUNREACH": "no route to the network, or a firewall prohibits it",
    "ENOPROTOOPT": "protocol unreachable: a firewall, or the host, refuses TCP",
    "EHOSTDOWN": "a router does not know the host",
    "ENONET": "a router reports that the host is isolated",
    "EACCES": "a firewall, or a route, prohibits it",
    "EPERM": "a firewall of this machine prohibits it",
    "EPROTO": "a router reports that it does not understand a header",
    "EOPNOTSUPP": "a router cannot follow the route that was asked for",
}


def with_report(name: str) -> str:
    """Return the name of an error, and what it says where the name alone does not."""
    return f"{name} ({_REPORTS[name]})" if name in _REPORTS else name


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def openssl_reasons(error: BaseException) -> list[str] | None:
    """Return the reasons in OpenSSL's queue of errors, the first error's first.

    ``None``: it is no error of OpenSSL's. pyOpenSSL's ``Error`` has the queue for its argument,
    one entry of three texts for each error, of which the last is the reason.
    """
    if error.args and isinstance(error.args[0], list):
        return [str(entry[-1]) for entry in error.args[0]]
    return None


def describe_tls_error(error: BaseException) -> str:
    """Return why TLS failed, on one line: in OpenSSL's words, or in the error's own."""
    reasons = openssl_reasons(error)
    if reasons is None:
        return f"TLS: {_one_line(error)}"
    return "TLS: " + ("; ".join(reasons) or "the connection ended")


def is_network_error(error: BaseException) -> bool:
    """Return whether an error that ended a connection is one of the network's, or of TLS.

    A reactor also ends a connection whose protocol has raised an exception, with that exception.
    """
    network = isinstance(error, (ConnectionClosed, OSError, TLSError))
    return network or type(error).__module__ == "OpenSSL.SSL"


def is_program_error(error: BaseException) -> bool:
    """Return whether an attempt to connect has failed by a mistake of a program.

    An endpoint may fail with exceptions of its own, and with ValueError for what it cannot resolve.
    """
    return isinstance(error, _PROGRAM_ERRORS)


def is_hangup(error: BaseException | None) -> bool:
    """Return whether this is Twisted's error of an attempt whose socket only hung up.

    That is a ``ConnectError`` without an error number, whose argument is a ``Failure``.
    """
    args = error.args if isinstance(error, ConnectError) else ()
    return any(isinstance(each, Failure) for each in args)


def listen_error(where: str, error: BaseException) -> ListenError:
    """Return the :class:`ListenError` for a listener at ``where``."""
    inner = getattr(error, "socketError", None) or error
    if isinstance(error, CannotListenError) and isinstance(error.port, int):
        where = join_host_port(error.interface or "0.0.0.0", error.port)
    name = describe_error(inner)
    words = getattr(inner, "strerror", None)
    return ListenError(f"cannot listen on {where}: {name}{f' ({words})' if words else ''}")
