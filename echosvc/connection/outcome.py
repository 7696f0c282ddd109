"""How a connection ended."""

from __future__ import annotations

from enum import Enum


class Outcome(str, Enum):
    """How a connection ended: one word each, the same in logs and elsewhere."""

    #: The peer finished (FIN), everything was answered, and both sides closed.
    FINISHED = "finished"
    #: The peer reset the connection or was lost.
    RESET = "reset"
    #: The idle time-out ended it (``idle_action`` close or reset).
    TIMED_OUT = "timed-out"
    #: A message was longer than ``max_message``.
    TOO_LONG = "too-long"
    #: The stream ended inside a message that its framing cannot return incomplete, such as one
    #: behind its length, or TLS ended without its close_notify.
    TRUNCATED = "truncated"
    #: It has lived for ``max_lifetime``.
    EXPIRED = "expired"
    #: The service stopped while it was open.
    DRAINED = "drained"
    #: The application ended it.
    CLOSED = "closed"
    #: The application, or a second signal, ended it at once.
    ABORTED = "aborted"
    #: Aborted, since the peer did not take what was due before the end.
    STALLED = "stalled"
    #: The TLS handshake failed, or took too long.
    HANDSHAKE = "handshake"
    #: An exception in the application's code ended it.
    FAILED = "failed"

    __str__ = str.__str__
