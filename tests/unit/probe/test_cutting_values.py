"""Values after which the rest of a message is lost are found, as a C string ends at NUL."""

from __future__ import annotations

import re

from echosvc.probe.causes.byte_mapping import find_changes
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase


class Cutting(MemoryServer):
    """Answers each message up to the first of some values."""

    def __init__(self, values: bytes) -> None:
        super().__init__()
        self.pattern = re.compile(b"[" + re.escape(values) + b"].*", re.DOTALL)

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(self.pattern.sub(b"", data))


class CuttingTests(NetworkTestCase):
    def test_they_are_found_in_either_order(self) -> None:
        for values in (b"\0", b"\x1a", b"\0\x1a\xff"):
            for backwards in (False, True):
                path = self.path(Cutting(values))
                changes = self.result(find_changes(path, backwards))
                self.assertEqual(changes, {bytes((value,)): b"" for value in values})
                self.assertEqual(path.context.knowledge.cutting, set(values))

    def test_a_path_that_changes_nothing_cuts_nothing(self) -> None:
        path = self.path(MemoryServer())
        self.assertEqual(self.result(find_changes(path)), {})
        self.assertEqual(path.context.knowledge.cutting, set())

    def test_a_server_that_answers_short_messages_only_cuts_at_no_value(self) -> None:
        class Short(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                connection.answer(data[:100])

        path = self.path(Short())
        self.result(find_changes(path))
        self.assertEqual(path.context.knowledge.cutting, set())
