"""A listener in memory of this process, with its connections."""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure


class Listening(Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.reason: Failure | None = None
        self.stopped = 0

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        self.stopped += 1
