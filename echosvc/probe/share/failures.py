"""Errors of this machine: they say nothing of the path. No I/O."""

from __future__ import annotations

_LOCAL = frozenset(("EADDRNOTAVAIL", "EADDRINUSE", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"))


def is_local(name: str) -> bool:
    """Return whether an error, by its name, is one of this machine and not of the path."""
    return name in _LOCAL
