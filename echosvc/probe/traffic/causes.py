"""The causes of errors of connections, in one word each, so that they can be counted. No I/O."""

from __future__ import annotations

#: The words, by the names that ``describe_error`` has for errors.
_CAUSES = {
    "ECONNREFUSED": "refused",
    "EAGAIN": "refused",  # the backlog of a UNIX socket is full
    "ENOENT": "refused",  # there is no such UNIX socket: nothing listens
    "the connection was refused or lost": "refused",
    "ECONNRESET": "reset",
    "ECONNABORTED": "reset",
    "EPIPE": "reset",
    "connection lost or reset": "reset",
    "ETIMEDOUT": "timeout",
    "EHOSTUNREACH": "unreachable",
    "ENETUNREACH": "unreachable",
    "ENOTFOUND": "not-found",
    "EADDRNOTAVAIL": "ports",
    "EMFILE": "descriptors",
    "ENFILE": "descriptors",
}


def cause_of_error(name: str) -> str:
    """Return the word for an error by its name, as ``describe_error`` has it.

    An error that has no word is counted by its name in small letters.
    """
    if name.startswith("TLS"):
        return "tls"
    return _CAUSES.get(name, name.lower())


#: The words for the ends that a first exchange can have.
_ENDS = {"FIN": "fin", "RST": "reset", "silence": "timeout", "": "mismatch"}


def cause_of_end(end: str) -> str:
    """Return the word for how a connection ended without an answer.

    :param end: ``FIN``, ``RST``, ``silence`` or the name of an error; "": what came was wrong.
    """
    return _ENDS.get(end) or cause_of_error(end)
