"""Why connections fail, in one word each, so that they can be counted. No I/O."""

from __future__ import annotations

#: Errors of this machine: they say nothing of the path.
_LOCAL = frozenset(("EADDRNOTAVAIL", "EADDRINUSE", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"))
_ERRORS = {
    "ECONNREFUSED": "refused",
    "EAGAIN": "refused",  # the backlog of a UNIX socket is full
    "ECONNRESET": "reset",
    "ECONNABORTED": "reset",
    "connection lost or reset": "reset",
    "the connection was refused or lost": "refused",
    "ETIMEDOUT": "timeout",
    "EHOSTUNREACH": "unreachable",
    "ENETUNREACH": "unreachable",
    "ENOTFOUND": "not-found",
}
_ENDS = {"FIN": "fin", "RST": "reset", "silence": "timeout", "": "mismatch"}


def is_local(name: str) -> bool:
    """Return whether an error, by its name, is one of this machine and not of the path."""
    return name in _LOCAL


def cause_of_error(name: str) -> str:
    """Return the cause of an error by its name, as ``describe_error`` has it."""
    if name.startswith("TLS"):
        return "tls"
    return _ERRORS.get(name, "other")


def cause_of_end(end: str) -> str:
    """Return the cause of a connection that ended without an answer.

    :param end: ``FIN``, ``RST``, ``silence`` or the error of TLS; "": what came was wrong.
    """
    if end.startswith("TLS"):
        return "tls"
    return _ENDS.get(end) or cause_of_error(end)
