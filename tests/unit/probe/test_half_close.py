"""A race at the client's FIN is asked for several times, and counted."""

from __future__ import annotations

from typing import Any

from echosvc.probe.checks import half_close
from echosvc.probe.engine import trials
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

#: The longest stream, bytes: those that are larger take longer, and are sent less often.
MOST = 5000


class Racing(MemoryServer):
    """Loses what is due after the client's FIN, once in so many times.

    :param each: this number.
    """

    def __init__(self, each: int) -> None:
        super().__init__()
        self._each, self.ends = each, 0

    def finished(self, connection: MemoryConnection) -> None:
        self.ends += 1
        if self.ends % self._each:
            connection.finish()
        else:
            connection.cut()


class RaceTests(NetworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        for module in (half_close, trials):
            self.patch(module, "monotonic", self.clock.seconds)

    def judged(self, server: MemoryServer) -> Any:
        """The failure of the probe, after its control."""
        failed = self.failure(half_close.half_close(self.path(server, max_size=MOST)))
        self.assertIsNotNone(failed.control)
        return self.result(failed.control())

    def test_a_race_that_comes_2_of_15_times_is_found_and_counted(self) -> None:
        for each in (7, 11, 20):
            failed = self.judged(Racing(each))
            often, times = failed.facts["failed"], failed.facts["times"]
            self.assertEqual(times, trials.MAX_TIMES)
            self.assertTrue(0 < often < times, (often, times))
            self.assertIn(f"({often} of {times} times)", failed.finding)

    def test_where_none_is_lost_it_is_asked_as_often(self) -> None:
        server = Racing(1000)
        finding = self.result(half_close.half_close(self.path(server, max_size=MOST)))
        self.assertFalse(finding.info)
        self.assertEqual(server.ends, 1 + 2 * trials.MAX_TIMES)  # two sizes, and a first one
