"""The first exchange says what becomes of messages that come back late, or in another form."""

from __future__ import annotations

from base64 import b64encode
from codecs import encode
from collections.abc import Callable

from echosvc.probe.checks.echo import echo
from echosvc.probe.checks.longer_message import LongerMessageTrial
from echosvc.probe.engine.findings import Failed, Finding
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase

#: Seconds within which the cause is named: the first message, the other ones, and a repetition.
_SOON = 5.0
#: What a server sends after each message, for one connection.
Answers = Callable[[], Callable[[bytes], bytes]]


class Answering(MemoryServer):
    """Answers each read as a function says that it makes for each connection."""

    def __init__(self, answers: Answers, at_end: Callable[[], bytes] = bytes) -> None:
        super().__init__()
        self._answers, self._at_end = answers, at_end
        self._of: dict[MemoryConnection, Callable[[bytes], bytes]] = {}

    def connected(self, connection: MemoryConnection) -> None:
        self._of[connection] = self._answers()

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(self._of[connection](data))


def always(change: Callable[[bytes], bytes]) -> Answers:
    return lambda: change


def in_groups(count: int) -> Answers:
    """Answers come once so many messages have come, all at once."""

    def make() -> Callable[[bytes], bytes]:
        held: list[bytes] = []

        def answer(data: bytes) -> bytes:
            held.append(data)
            if len(held) < count:
                return b""
            came = b"".join(held)
            held.clear()
            return came

        return answer

    return make


def one_late() -> Callable[[bytes], bytes]:
    """Each answer comes with the next message."""
    held = [b""]

    def answer(data: bytes) -> bytes:
        held.append(data)
        return held[-2]

    return answer


def without_first(prompt: bytes = b"") -> Answers:
    """The first message of a connection is swallowed."""

    def make() -> Callable[[bytes], bytes]:
        read = iter((True,))
        return lambda data: prompt if next(read, False) else data

    return make


def without_first_line() -> Callable[[bytes], bytes]:
    """The first line of a connection is swallowed."""
    lines: list[bytes] = []

    def answer(data: bytes) -> bytes:
        if lines and b"\n" in lines[0]:
            return data
        line, end, rest = (b"".join(lines) + data).partition(b"\n")
        lines[:] = [line + end]
        return rest

    return answer


def in_blocks(size: int, prefix: bytes = b"") -> Answers:
    """Answers leave in blocks of so many bytes."""

    def make() -> Callable[[bytes], bytes]:
        held = bytearray()

        def answer(data: bytes) -> bytes:
            held.extend(prefix + data)
            whole = len(held) // size * size
            came = bytes(held[:whole])
            del held[:whole]
            return came

        return answer

    return make


def counting(form: str) -> Answers:
    """Each answer has the number of the message."""

    def make() -> Callable[[bytes], bytes]:
        numbers = iter(range(8, 1 << 30))
        return lambda data: (form % {"number": next(numbers)}).encode().replace(b"@", data)

    return make


class OddServerTests(NetworkTestCase):
    def failure_of(self, answers: Answers, **settings: str) -> Failed:
        path = self.path(Answering(answers), **settings)
        began = self.clock.seconds()
        failed = self.failure(echo(path))
        self.assertLess(self.clock.seconds() - began, _SOON)
        path.close()
        return failed

    def assert_named(self, answers: Answers, finding: str, cause: str, **settings: str) -> None:
        failed = self.failure_of(answers, **settings)
        self.assertRegex(failed.finding, finding)
        self.assertIn(cause, failed.cause)

    def result_of(self, answers: Answers) -> Finding:
        finding: Finding = self.result(echo(self.path(Answering(answers))))
        return finding

    # -- forms ------------------------------------------------------------------------------------

    def test_messages_that_come_back_more_than_once(self) -> None:
        for times, change in (
            ("twice", lambda data: 2 * data),
            ("twice", lambda data: 2 * (b"S: " + data)),
            ("3 times", lambda data: 3 * (data + b"\r\n")),
        ):
            for framing in ("chunk", "line"):
                words = f"^each message comes back {times}: 'Kq7wZ3xBv.*' as '"
                self.assert_named(always(change), words, "repeats them", framing=framing)

    def test_a_suffix(self) -> None:
        for framing, change, words in (
            ("chunk", lambda data: data + b"\n", r"^each reply has a suffix, '\\n': "),
            ("chunk", lambda data: data + b"\r\n", r"^each reply has a suffix, '\\r\\n': "),
            ("line", lambda data: data + b"\n", r"^each reply has a suffix, '\\n': "),
            ("chunk", lambda data: b"<" + data + b">", "a prefix, '<', and a suffix, '>': "),
            ("line", lambda data: data[:-1] + b".\n", r"^each reply has a suffix, '.': "),
        ):
            self.assert_named(always(change), words, "knows prefixes only", framing=framing)

    def test_a_suffix_that_changes(self) -> None:
        words = r"a suffix, which changes from reply to reply: ' 9\\n', then ' 10\\n'"
        self.assert_named(counting("@ %(number)d\n"), words, "knows prefixes only")

    def test_a_suffix_behind_a_greeting(self) -> None:
        class Greeting(Answering):
            def connected(self, connection: MemoryConnection) -> None:
                super().connected(connection)
                connection.answer(b"welcome\n")

        path = self.path(Greeting(always(lambda data: data + b";")))
        self.assertIn("each reply has a suffix, ';'", self.failure(echo(path)).finding)

    def test_the_ends_of_lines_are_no_suffix(self) -> None:
        failed = self.failure_of(always(lambda data: data[:-1] + b"\r\n"), framing="line")
        self.assertIn("line ends are translated", failed.cause)

    def test_messages_that_come_back_reversed(self) -> None:
        words = "^each message comes back reversed: 'Kq7wZ3xBv' as 'vBx3Zw7qK'"
        self.assert_named(always(lambda data: data[::-1]), words, "reverses what it reads")
        lines = always(lambda data: data[-2::-1] + b"\n")
        self.assert_named(lines, "^each message comes back reversed", "reverses", framing="line")

    def test_messages_that_come_back_in_a_code(self) -> None:
        for change, words in (
            (b64encode, "^each message comes back in base64: 'Kq7wZ3xBv' as 'S3E3d1ozeEJ2'"),
            (lambda data: b64encode(data) + b"\n", r"in base64, with '\\n' behind it: "),
            (lambda data: data.hex().encode(), "as hexadecimal digits: "),
            (lambda data: b'{"echo": "%s"}\n' % data, "^each message comes back inside JSON: "),
            (lambda data: b"<%s>" % data.upper(), "back in upper case, with '>' behind it: "),
        ):
            self.assert_named(always(change), words, "knows prefixes only")

    def test_bytes_that_are_all_translated(self) -> None:
        change = always(lambda data: bytes(byte ^ 0x20 for byte in data))
        words = "^each byte comes back as another one, always the same: 'Kq7wZ3xBv' as "
        self.assert_named(change, words, "translated by a table")

    def test_letters_that_are_translated_are_left_to_the_experiment_with_values(self) -> None:
        for change in (
            bytes.upper,
            lambda data: encode(data.decode("latin-1"), "rot13").encode("latin-1"),
        ):
            failed = self.failure_of(always(change))
            self.assertNotIn("came before", failed.finding)
            self.assertNotIn("comes back", failed.finding)
            self.assertIsNotNone(failed.fault)

    def test_answers_without_the_messages(self) -> None:
        change = always(lambda data: b"received %d bytes\n" % len(data))
        words = r"^messages are answered, but do not come back: '~' by 'received 1 bytes\\n', 'Kq7"
        self.assert_named(change, words, "no echo server")

    def test_one_message_that_comes_back_wrong_has_no_form(self) -> None:
        failed = self.failure_of(always(lambda data: data + b"!" * (len(data) > 100)))
        self.assertIn("1 byte not sent by the client came in", failed.finding)

    # -- times ------------------------------------------------------------------------------------

    def test_answers_that_come_in_groups(self) -> None:
        for count in (2, 3):
            for framing in ("chunk", "line"):
                words = f"nothing came back; answers come only after {count} messages, then all at"
                answers = in_groups(count)
                self.assert_named(answers, words, "collects so many messages", framing=framing)

    def test_answers_that_come_with_the_next_message(self) -> None:
        for framing in ("chunk", "line", "length"):
            words = "^no answer to '~.*each answer comes only after the next message$"
            self.assert_named(one_late, words, "only when it reads again", framing=framing)

    def test_a_first_message_that_is_swallowed(self) -> None:
        for prompt in (b"", b"login: "):
            for framing in ("chunk", "line", "length"):
                words = "the first message of a connection is not answered, each later one is$"
                cause = "takes the first message of each connection for something else"
                if not (prompt and framing == "length"):
                    self.assert_named(without_first(prompt), words, cause, framing=framing)

    def test_what_swallows_the_first_message_does_not_hold_it_back(self) -> None:
        for answers, held in ((without_first(), False), (in_groups(2), True)):
            trial = LongerMessageTrial(self.path(Answering(answers), timeout=3.0), 0.5)
            self.assertEqual(self.result(trial.run()), held)

    def test_a_first_line_that_is_swallowed_is_no_proxy_header(self) -> None:
        failed = self.failure_of(without_first_line)
        self.assertIn("takes the first line of each connection for something else", failed.cause)
        self.assertNotIn("proxy", failed.facts)

    def test_answers_that_leave_in_blocks(self) -> None:
        for size, prefix in ((4096, b""), (4096, b"> "), (1000, b"")):
            failed = self.failure_of(in_blocks(size, prefix))
            self.assertIn("nothing came until ", failed.finding)
            self.assertIn("buffered output", failed.cause)
            self.assertEqual(failed.facts["came_bytes"] % size, 0)

    def test_blocks_that_the_server_reads_as_one_message(self) -> None:
        def make() -> Callable[[bytes], bytes]:
            blocks = in_blocks(4096)()

            def answer(data: bytes) -> bytes:
                return b"Sending: " + block if (block := blocks(data)) else b""

            return answer

        failed = self.failure_of(make)
        self.assertIn("nothing came until 4 KiB had been sent", failed.finding)
        self.assertEqual(failed.facts["sent_bytes"], 4096)

    def test_a_server_that_says_nothing_is_accused_of_nothing_else(self) -> None:
        failed = self.failure(echo(self.path(Answering(always(lambda _: b"")), timeout=1.0)))
        self.assertEqual(failed.finding, "no answer to '~' within 1 s: nothing came back")

    # -- nothing wrong ----------------------------------------------------------------------------

    def test_a_read_like_the_last_one_may_be_dropped(self) -> None:
        def make() -> Callable[[bytes], bytes]:
            last = [b""]

            def answer(data: bytes) -> bytes:
                last.append(data)
                return b"" if data == last[-2] else data

            return answer

        self.assertEqual(self.result_of(make).text, "what is sent comes back, no prefix")

    def test_a_prefix_may_contain_the_messages(self) -> None:
        for prefix in (b"~~ ", b"^", b"~^ "):
            finding = self.result_of(always(lambda data, prefix=prefix: prefix + data))
            self.assertIn("prefix", finding.text)

    def test_an_answer_that_is_late_is_no_answer_to_the_next_message(self) -> None:
        for tenths in range(3, 60, 2):
            server = Late(tenths / 10 + 0.05)
            finding: Finding = self.result(echo(self.path(server)))
            self.assertEqual(finding.text, "what is sent comes back, no prefix", tenths)

    def test_what_is_held_back_for_a_time_has_no_other_cause(self) -> None:
        for tenths in range(3, 60, 2):
            server = HoldingBack(tenths / 10 + 0.05)
            finding: Finding = self.result(echo(self.path(server)))
            self.assertEqual(finding.text, "what is sent comes back, no prefix", tenths)

    def test_what_holds_first_bytes_back_until_its_buffer_is_full_has_no_other_cause(self) -> None:
        for tenths in (15, 30, 50):
            finding: Finding = self.result(echo(self.path(UntilFull(tenths / 10))))
            self.assertEqual(finding.text, "what is sent comes back, no prefix", tenths)

    def test_the_slow_one_of_two_servers_is_not_dead(self) -> None:
        path = self.path(SlowByTurns(1.5))
        self.assertIsInstance(self.result(echo(path)), Finding)
        path.close()


class Late(MemoryServer):
    """Answers each message so many seconds after it came."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.clock.callLater(self._seconds, connection.answer, data)


class HoldingBack(Late):
    """Passes on what came once so many seconds have passed since the connection was made."""

    def connected(self, connection: MemoryConnection) -> None:
        connection.opened = connection.clock.seconds()  # type: ignore[attr-defined]

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        age = connection.clock.seconds() - connection.opened  # type: ignore[attr-defined]
        connection.clock.callLater(max(0.0, self._seconds - age), connection.answer, data)


class UntilFull(Late):
    """Passes on what came once so many seconds have passed, or a buffer is full."""

    size = 16384

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._held: dict[MemoryConnection, bytes] = {}

    def connected(self, connection: MemoryConnection) -> None:
        self._held[connection] = b""
        connection.clock.callLater(self._seconds, self._pass_on, connection)

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if connection not in self._held:
            connection.answer(data)
            return
        self._held[connection] += data
        if len(self._held[connection]) >= self.size:
            self._pass_on(connection)

    def _pass_on(self, connection: MemoryConnection) -> None:
        connection.answer(self._held.pop(connection, b""))


class SlowByTurns(Late):
    """The first of each two connections is answered late, the other one at once."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._numbers: dict[MemoryConnection, int] = {}

    def connected(self, connection: MemoryConnection) -> None:
        self._numbers[connection] = len(self._numbers)

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if self._numbers[connection] % 2:
            connection.answer(data)
        else:
            super().received(connection, data)
