"""What a connection that does not come about means depends on what was before."""

from __future__ import annotations

from echosvc.probe.engine.connect_errors import NotConnected
from tests.support.memory_network import MemoryServer, NetworkTestCase, refuse


class Ending(MemoryServer):
    """Accepts so many connections, then none.

    :param refuses: whether the others are refused; if not, nothing comes.
    """

    def __init__(self, accepted: int, refuses: bool) -> None:
        super().__init__()
        self._left, self._refuses = accepted, refuses

    def admit(self) -> bool:
        self._left -= 1
        if self._left < 0 and self._refuses:
            refuse()
        return self._left >= 0


class NotConnectedTests(NetworkTestCase):
    def after(self, accepted: int, refuses: bool) -> NotConnected:
        """How the first connection fails that is not accepted."""
        path = self.path(Ending(accepted, refuses), timeout=1.0)
        for _ in range(accepted):
            self.result(path.open())
        return self.error(path.open(), NotConnected)

    def test_where_none_worked_nobody_may_listen(self) -> None:
        self.assertEqual(
            self.after(0, True).cause, "no server listens there, or a firewall refuses"
        )

    def test_where_others_worked_nobody_is_said_to_be_missing(self) -> None:
        expected = (
            "3 connections worked before: a limit of connections, a server that has ended or"
            " restarts, or one of several servers is dead"
        )
        for refuses in (True, False):
            self.assertEqual(self.after(3, refuses).cause, expected)
