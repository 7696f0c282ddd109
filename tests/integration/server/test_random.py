"""Random clients against real servers: nothing may be lost, repeated or reordered.

The seed fixes what every client sends and does; the kernel decides on the moments.
The oracle knows nothing of the server's code: it computes what must come back from
what was sent.

    python -m tests.integration.server.test_random --operations 1000000 --seed 7
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import select
import socket
import struct
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.process import Server
from tests.support.sockets import connect, reset
from tests.support.waiting import LIMIT

KINDS = [(framing, text) for framing in ("chunk", "line", "length") for text in (False, True)]
#: The longest message that the servers take, bytes.
LONGEST = 5000
#: Bytes that occur in no payload. Prefixes are made of them, so that taking them out
#: gives back the payload; long ones, so that replies soon have to wait.
RAW_MARK, TEXT_MARK = b"\xff", b"\x01"
PREFIX = 300
#: Seconds for which the kernel must take nothing until a greedy client is held up.
HELD_UP = 0.02
CONNECTIONS = 24
_LETTERS = "aé€😀\r\0\ufeff"
_HOSTILE = b"a\x80\xc0\xc3\xe0\xe2\x82\xac\xed\xa0\xf0\x9f\x98\xf4\x90\xf5\xfe\r\n"


class Wrong(AssertionError):
    """What came back is not what was sent."""


# -- the oracle -------------------------------------------------------------------------


def decoded(message: bytes) -> bytes:
    return message.decode("utf-8", "replace").encode("utf-8")


class Oracle:
    """What one client sends, and what it must get back.

    :ivar unsent: bytes that are to go next.
    :ivar over: a message that is too long goes, or has gone, and ends it all.
    """

    def __init__(self, framing: str, text: bool, rng: random.Random) -> None:
        self.framing, self.text, self.rng = framing, text, rng
        self.mark = TEXT_MARK if text else RAW_MARK
        self._prefix = self.mark * PREFIX
        self.unsent = bytearray()
        self._due = bytearray()  # what must come next, without the marks of chunk framing
        self._messages: deque[tuple[int, bytes]] = deque()  # bytes still to go, reply
        self._part = b""  # the message that has gone in part
        self._last = b""  # the last bytes that came
        self.over = False  # the server takes no more

    # sending

    def plan(self, size: int) -> None:
        """Have at least ``size`` bytes to send."""
        while len(self.unsent) < size and not self.over:
            message, reply = getattr(self, f"_{self.framing}")(self._body())
            self.unsent += message
            self._messages.append((len(message), reply))

    def plan_offence(self) -> bool:
        """Send, after what is planned, a message that is too long; then nothing more."""
        if self.framing == "chunk" or self.over:
            return False
        offence = b"x" * (LONGEST + 1) if self.framing == "line" else b"\0\0\x13\x89x"
        self.unsent += offence
        self._messages.append((len(offence), b""))
        self.over = True
        return True

    def sent(self, size: int) -> None:
        """``size`` bytes have gone: the messages that they complete are to be answered."""
        gone = bytes(self.unsent[:size])
        del self.unsent[:size]
        while gone and self._messages:
            rest, reply = self._messages.popleft()
            if len(gone) < rest:
                self._messages.appendleft((rest - len(gone), reply))
                self._part += gone
                if self.framing == "chunk":
                    self._due += gone
                return
            self._due += gone[:rest] if self.framing == "chunk" else reply
            self._part, gone = b"", gone[rest:]

    def finished(self) -> None:
        """Our FIN has gone: nothing of what is unsent will."""
        self.unsent.clear()
        if self.framing == "line" and self._part:
            self._due += self._answer(self._part)
        if self.framing == "chunk" and self.text:
            self._end_text()

    def _end_text(self) -> None:
        """A character that is incomplete at the end is shown as the replacement one."""
        start = 0  # behind what is left of a character that has come in part
        while start < len(self._due) and self._due[start] & 0xC0 == 0x80:
            start += 1
        self._due[start:] = decoded(bytes(self._due[start:]))

    # receiving

    def received(self, data: bytes) -> None:
        """``data`` has come.

        :raises Wrong: something else had to come, or nothing yet.
        """
        payload = self._without_marks(data) if self.framing == "chunk" else data
        expected = bytes(self._due[: len(payload)])
        if payload != expected:
            raise Wrong(difference(payload, expected))
        del self._due[: len(payload)]

    def ended(self) -> None:
        """EOF has come."""
        if self._due:
            raise Wrong(f"EOF, {len(self._due)} bytes are missing: {bytes(self._due[:60])!r}")
        if self.framing == "chunk" and self._last.endswith(self.mark):
            raise Wrong("EOF after a prefix")

    def _without_marks(self, data: bytes) -> bytes:
        seen = self._last + data
        if not self._prefix.startswith(seen[:PREFIX]) and not self._last:
            raise Wrong(f"a reply without prefix: {data[:60]!r}")
        if self._prefix + self.mark in seen:
            raise Wrong("an empty reply, or more than a prefix")
        self._last = seen[-PREFIX:]
        return data.replace(self.mark, b"")

    # messages

    def _body(self) -> bytes:
        kind = self.rng.random()
        size = int(LONGEST ** self.rng.random()) if kind < 0.97 else LONGEST
        if not self.text:
            return self.rng.randbytes(size).replace(RAW_MARK, b"\0")
        if self.framing == "chunk" or kind < 0.5:
            return "".join(self.rng.choices(_LETTERS, k=size // 4 + 1)).encode()[:LONGEST]
        return bytes(self.rng.choices(_HOSTILE, k=size))

    def _chunk(self, body: bytes) -> tuple[bytes, bytes]:
        return (decoded(body) if self.text else body), b""

    def _line(self, body: bytes) -> tuple[bytes, bytes]:
        message = body.replace(b"\n", b"\r")[: LONGEST - 1] + b"\n"
        return message, self._answer(message)

    def _length(self, body: bytes) -> tuple[bytes, bytes]:
        body = body[self.rng.random() < 0.05 and len(body) :]  # some are empty
        reply = self._answer(body)
        return struct.pack("!I", len(body)) + body, struct.pack("!I", len(reply)) + reply

    def _answer(self, message: bytes) -> bytes:
        return self._prefix + (decoded(message) if self.text else message)


def difference(came: bytes, expected: bytes) -> str:
    place = next(
        (n for n, (one, other) in enumerate(zip(came, expected, strict=False)) if one != other),
        min(len(came), len(expected)),
    )
    start = max(0, place - 8)
    came, expected = came[start : place + 30], expected[start : place + 30]
    return f"{came!r} came where {expected!r} was due (they differ from byte {place - start} on)"


# -- the clients ------------------------------------------------------------------------


class Client:
    """One connection that does random things."""

    def __init__(self, name: str, address: object, oracle: Oracle, rng: random.Random) -> None:
        self.name, self.oracle, self.rng = name, oracle, rng
        self.socket = connect(address, rng.choice((0, 0, 2048, 16384)))
        if rng.random() < 0.3:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.socket.setblocking(False)
        self.reading = self.open = True
        self.finished = False
        self.greedy = rng.random() < 0.12  # sends, and reads nothing, until it is held up
        self._sent_at = time.monotonic()

    def act(self) -> str:
        """Do something; give its name, or nothing where the kernel did not let us."""
        if self.greedy:
            return self.send(40_000) or self._held_up()
        choice = self.rng.random()
        if choice < 0.55:
            return self.send()
        if choice < 0.96:
            return self.read() if self.reading else ""
        if choice < 0.985:
            self.reading = not self.reading
            return "resume" if self.reading else "pause"
        if choice < 0.995:
            return self.finish()
        if choice < 0.998:
            return "offend" if self.oracle.plan_offence() else ""
        return self.reset()

    def _held_up(self) -> str:
        if time.monotonic() - self._sent_at < HELD_UP:
            return ""
        self.greedy = False
        choice = self.rng.random()
        if choice < 0.4:
            self.finish()
        elif choice < 0.5:
            self.reset()
        return "held up"

    def send(self, size: int = 0) -> str:
        if self.finished:
            return ""
        size = size or self.rng.choice((1, 2, 3, 7, 60, 1000, 5000, 40000))
        size = self.rng.randint(1, size)
        self.oracle.plan(size)
        if not self.oracle.unsent:
            return ""
        try:
            taken = self.socket.send(bytes(self.oracle.unsent[:size]))
        except BlockingIOError:
            return ""
        self.oracle.sent(taken)
        self._sent_at = time.monotonic()
        return "send"

    def read(self) -> str:
        try:
            data = self.socket.recv(self.rng.choice((1, 10, 1000, 65536)))
        except BlockingIOError:
            return ""
        if data:
            self.oracle.received(data)
            return "read"
        if not self.finished and not self.oracle.over:
            raise Wrong("EOF before our own FIN")
        self.oracle.ended()
        self.close()
        return "end"

    def finish(self) -> str:
        if self.finished:
            return ""
        self.finished = True
        self.oracle.finished()
        self.socket.shutdown(socket.SHUT_WR)
        return "finish"

    def reset(self) -> str:
        reset(self.socket)
        self.open = False
        return "reset"

    def close(self) -> None:
        self.socket.close()
        self.open = False

    def wind_up(self) -> str:
        """Do what is left to do."""
        return self.finish() or self.read()


class Run:
    """Random operations of several clients at once.

    :param servers: address lists, one for each of :data:`KINDS`.
    """

    def __init__(self, servers: list[list[object]], seed: int, progress: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._servers = servers
        self._seed = seed
        self._progress = progress
        self._names = itertools.count()
        self._clients: list[Client] = []
        self._since = time.monotonic()

    def run(self, operations: int) -> None:
        rng = random.Random(self._seed)
        step = max(1, operations // 20)
        try:
            while (done := self.counts.total()) < operations:
                self._connect_missing()
                if self._do(rng.choice(self._clients), Client.act) and done % step == 0:
                    self._tell(done, operations)
            while self._clients:
                self._do(rng.choice(self._clients), Client.wind_up)
        finally:
            for client in self._clients:
                client.close()

    def _connect_missing(self) -> None:
        while len(self._clients) < CONNECTIONS:
            number = next(self._names)
            kind = number % len(KINDS)
            framing, text = KINDS[kind]
            rng = random.Random(f"{self._seed}/{number}")
            where = rng.randrange(len(self._servers[kind]))
            encoding = "utf-8" if text else "raw"
            name = f"connection {number} ({framing}, {encoding}, {('tcp', 'unix')[where]})"
            oracle = Oracle(framing, text, rng)
            self._clients.append(Client(name, self._servers[kind][where], oracle, rng))
            self.counts["connect"] += 1

    def _do(self, client: Client, act: object) -> bool:
        try:
            done = act(client)
        except (OSError, AssertionError) as error:
            raise Wrong(f"seed {self._seed}, {client.name}: {error!r}") from error
        if not client.open:
            self._clients.remove(client)
        if done:
            self.counts[done] += 1
            self._since = time.monotonic()
        elif time.monotonic() - self._since > LIMIT:
            raise Wrong(f"seed {self._seed}: nothing moves for {LIMIT} s")
        elif time.monotonic() - self._since > 0.002:
            self._wait()
        return bool(done)

    def _wait(self) -> None:
        """Until a server has done something, or a moment."""
        waiting = [client.socket for client in self._clients]
        select.select(waiting, [], [], 0.002)

    def _tell(self, done: int, operations: int) -> None:
        if self._progress:
            sys.stderr.write(f"{done} of {operations}\n")


# -- running it -------------------------------------------------------------------------


def start(directory: str, framing: str, text: bool) -> Server:
    return Server(
        "--listen=tcp:0:interface=127.0.0.1",
        f"--listen=unix:{directory}/{framing}-{text}",
        f"--framing={framing}",
        f"--encoding={'utf-8' if text else 'raw'}",
        "--prefix=" + PREFIX * ("\\x01" if text else "\\xFF"),
        f"--max-message={LONGEST}",
        "--idle-timeout=0",
        f"--linger={LIMIT}",  # who offends may be slow to notice
        "--log=quiet",
    )


@contextmanager
def all_servers() -> Iterator[list[Server]]:
    """One for each of :data:`KINDS`, each on TCP and on a UNIX path."""
    servers: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="echo") as directory:
        try:
            with ThreadPoolExecutor(len(KINDS)) as pool:
                for starting in [pool.submit(start, directory, *kind) for kind in KINDS]:
                    servers.append(starting.result())
            yield servers
        finally:
            for server in servers:
                server.close()


def addresses(server: Server) -> list[object]:
    server.wait_lines("Server listening", 2)
    path = next(facts["path"] for facts in server.listeners if "path" in facts)
    return [("127.0.0.1", server.port), path]


def perform(operations: int, seed: int, progress: bool = False) -> Counter[str]:
    """Do it all; give how often each operation was done."""
    with all_servers() as servers:
        run = Run([addresses(server) for server in servers], seed, progress)
        run.run(operations)
        for server in servers:
            assert server.popen.poll() is None
            assert not server.matching("Error|Traceback"), server.lines
            server.stop()
            assert not server.matching("Error|Traceback"), server.lines
    return run.counts


@pytest.mark.slow
def test_a_random_run_loses_repeats_and_reorders_nothing():
    operations = int(os.environ.get("ECHOSVC_OPERATIONS", "20000"))
    seed = int(os.environ.get("ECHOSVC_SEED") or random.SystemRandom().getrandbits(32))
    print(f"ECHOSVC_SEED={seed}")  # pytest shows it where the test fails
    counts = perform(operations, seed)
    assert counts.total() >= operations
    assert {"connect", "send", "read", "pause", "finish", "end", "held up"} <= set(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description="random clients against real servers")
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    words = parser.parse_args()
    print(f"seed {words.seed}", flush=True)
    began = time.monotonic()
    counts = perform(words.operations, words.seed, progress=True)
    print(f"{counts.total()} operations in {time.monotonic() - began:.1f} s: {dict(counts)}")


if __name__ == "__main__":
    main()
