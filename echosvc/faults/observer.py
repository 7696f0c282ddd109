"""What may be learned of a relay while it runs."""

from __future__ import annotations

from echosvc.faults.engine import FaultEvent


class RelayObserver:
    """Notified of what a relay does. This one ignores it all."""

    def accepted(self, connection: int, client: str) -> None:
        """A connection was accepted.

        :param connection: its number, from 1 on.
        :param client: the client's address; "" = it has none.
        """

    def received(self, connection: int, direction: str, data: bytes) -> None:
        """Bytes came from the client, ``up``, or from the server, ``down``."""

    def finished(self, connection: int, direction: str) -> None:
        """A FIN came."""

    def broke(self, connection: int, direction: str) -> None:
        """The connection of the one that sends in this direction was reset."""

    def failed(self, connection: int, why: str) -> None:
        """No connection to the server could be made."""

    def ended(self, connection: int) -> None:
        """Both connections have ended."""

    def happened(self, event: FaultEvent) -> None:
        """A fault has happened."""
