"""Where a limit of open connections is known, silence is explained by it without experiments."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.known_limit import explain_by_known_limit
from echosvc.probe.causes.outage import explain_by_outage
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.engine.path import Path
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

LIMIT = 4


class Silent(MemoryServer):
    """Answers nothing on connections of some numbers, which begin with 1.

    :ivar count: how many there were.
    """

    def __init__(self, *silent: int) -> None:
        super().__init__()
        self.count, self._silent = 0, silent

    def connected(self, connection: MemoryConnection) -> None:
        self.count += 1
        if self.count in self._silent:
            connection.mute()


class KnownLimitTests(NetworkTestCase):
    def limited(self, server: MemoryServer) -> Path:
        path = self.path(server)
        path.begin_probe()
        path.context.knowledge.connection_limit = LIMIT
        return path

    def explain(self, path: Path, failed: Failed) -> Any:
        path.close()
        return self.result(explain_by_known_limit(path, failed))

    def test_it_is_the_known_limit_once_a_connection_is_answered_again(self) -> None:
        path = self.limited(server := Silent(1))
        failed = self.failure(path.open_once(seconds=3.0))
        cause = self.explain(path, failed)
        self.assertEqual((cause.name, cause.avoidable), ("limit", True))
        self.assertEqual(cause.finding, failed.finding)
        self.assertEqual(server.count, 2)
        self.assertEqual(path.context.knowledge.connection_limit, LIMIT)

    def test_the_probe_that_opened_as_many_as_are_allowed_opens_one_less(self) -> None:
        path = self.limited(Silent(4))
        for _ in range(LIMIT - 1):
            self.result(path.open_once())
        self.explain(path, self.failure(path.open_once()))
        self.assertEqual(path.context.knowledge.connection_limit, LIMIT - 1)

    def test_other_failures_have_other_causes(self) -> None:
        path = self.limited(MemoryServer())
        later = Unanswered("no answer", "", "silence", b"", 0.0)
        ended = Unanswered("no answer", "", "FIN", b"", 0.0)
        ended.first = True
        for failed in (later, ended, Failed("bytes are lost", end="silence")):
            self.assertIsNone(self.explain(path, failed))

    def test_it_is_not_where_nothing_is_answered_any_more_or_no_limit_is_known(self) -> None:
        path = self.limited(Silent(*range(1, 99)))
        failed = self.failure(path.open_once())
        self.assertIsNone(self.explain(path, failed))
        path.context.knowledge.connection_limit = None
        self.assertIsNone(self.explain(path, failed))

    def test_one_silent_connection_is_no_outage(self) -> None:
        for limit, outage in ((LIMIT, False), (None, True)):
            path = self.limited(Silent(2, 3))
            path.context.knowledge.connection_limit = limit
            self.result(path.open_once())
            path.close()
            cause = self.result(explain_by_outage(path, Failed("it stopped", end="silence")))
            self.assertEqual(cause is not None, outage)

    def test_a_silent_connection_at_a_limit_is_soon_replaced_by_another_one(self) -> None:
        path = self.limited(Silent(1, 2, 3))
        self.result(path.open())
        self.assertLess(self.clock.seconds(), 2.0)
