"""A mixed load with faults for long: ``python -m tests.programs.faults.soak --minutes N``."""

from __future__ import annotations

import argparse
import random
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.programs.faults.clients import PREFIX, allow_descriptors, descriptors
from tests.programs.faults.registry import Finding, fault
from tests.support.certificates import issue
from tests.support.process import Server
from tests.support.sockets import connect, receive_exactly, reset
from tests.support.waiting import LIMIT, wait_until

#: Length of a wave, seconds; between two, everything must be as before.
WAVE = 6.0
#: A soak of more seconds is a long one, and warm after so many.
LONG, WARM = 600.0, 300.0
#: Waves that are added at most until memory has settled.
MORE = 8
#: Threads of each kind in a wave.
EACH = 3
MIB = 1 << 20


@dataclass
class Soak:
    """One run.

    :ivar done: conversations that were verified.
    :ivar wrong: those in which a byte was lost, damaged, repeated or out of order.
    :ivar memory: resident memory after each wave, bytes.
    """

    server: Server
    path: str
    settings: ssl.SSLContext
    seed: int
    done: int = 0
    wrong: int = 0
    memory: list[int] = field(default_factory=list)
    _until: float = 0.0

    def wave(self) -> None:
        """Load and faults for a while, then look whether anything is left."""
        self._until = time.monotonic() + WAVE
        kinds = (self._ping, self._exchange, self._by_tls, self._read_slowly, self._vanish)
        threads = [
            threading.Thread(target=self._work, args=(kind, self.seed + number), daemon=True)
            for number, kind in enumerate(kinds * EACH)
        ]
        self.seed += len(threads)
        for thread in threads:
            thread.start()
        self._disturb()
        for thread in threads:
            thread.join(WAVE + LIMIT)
            assert not thread.is_alive(), "a client hangs"

    def _work(self, kind: Callable[[random.Random], bool], seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < self._until:
            try:
                right = kind(chance)
            except OSError as error:
                print(f"{kind.__name__}: {error!r}", file=sys.stderr)
                right = False
            self.done += 1
            self.wrong += not right

    def _disturb(self) -> None:
        """Reload, and stop the process for a moment."""
        time.sleep(WAVE / 4)  # the faults' own rhythm: nothing is decided by it
        self.server.signal(signal.SIGHUP)
        time.sleep(WAVE / 4)
        self.server.signal(signal.SIGSTOP)
        time.sleep(0.3)
        self.server.signal(signal.SIGCONT)

    def _client(self, chance: random.Random) -> socket.socket:
        return connect(chance.choice([("127.0.0.1", self.server.port), self.path]))

    def _ping(self, chance: random.Random) -> bool:
        with self._client(chance) as client:
            for number in range(200):
                message = b"%d" % number
                client.sendall(message)
                if receive_exactly(client, 9 + len(message)) != PREFIX + message:
                    return False
        return True

    def _exchange(self, chance: random.Random) -> bool:
        data = chance.randbytes(chance.choice([1, 1000, 100_000, 2_000_000])).replace(b"S", b"s")
        with self._client(chance) as client:
            return _echoed(client, data) == data

    def _by_tls(self, chance: random.Random) -> bool:
        data = chance.randbytes(chance.choice([1, 1000, 16000])).replace(b"S", b"s")
        port = int(str(self.server.listeners[1]["port"]))
        with self.settings.wrap_socket(
            connect(("127.0.0.1", port)), server_hostname="localhost"
        ) as client:
            client.sendall(data)
            heard = b""
            while len(heard) < len(data) and (piece := client.recv(1 << 16)):
                heard = (heard + piece).replace(PREFIX, b"")
        return heard == data

    def _read_slowly(self, chance: random.Random) -> bool:
        data = chance.randbytes(300_000).replace(b"S", b"s")
        with connect(("127.0.0.1", self.server.port), receive_buffer=4096) as client:
            return _echoed(client, data, 8192) == data

    def _vanish(self, chance: random.Random) -> bool:
        """A fault, not a conversation: whatever comes of it is right."""
        port = int(str(self.server.listeners[chance.randrange(2)]["port"]))
        for _ in range(chance.randrange(1, 50)):
            client = connect(("127.0.0.1", port))
            with suppress(OSError):
                client.send(chance.randbytes(chance.randrange(1, 5000)))
            (reset if chance.random() < 0.5 else socket.socket.close)(client)
        return True


def _echoed(client: socket.socket, data: bytes, piece: int = 1 << 16) -> bytes:
    """Send data and FIN; give what comes back, without prefixes."""

    def say() -> None:
        with suppress(OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=say, daemon=True)
    sender.start()
    kept = []
    while got := client.recv(piece):
        kept.append(got)
    sender.join(LIMIT)
    return b"".join(kept).replace(PREFIX, b"")


def run(minutes: float, seed: int, tell: Callable[[str], None]) -> Soak:
    """Soak for so long.

    :raises AssertionError: something was lost, or is left behind.
    """
    allow_descriptors(2000)
    with tempfile.TemporaryDirectory() as directory:
        pem, path = Path(directory) / "server.pem", f"{directory}/s"
        pem.write_bytes(issue("localhost").pem)
        server = Server(
            *("--listen", "tcp:0:interface=127.0.0.1"),
            *("--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}"),
            *("--listen", f"unix:{path}", "--log", "quiet", "--stall-timeout", "10"),
            *("--max-per-peer", "5000", "--handshake-timeout", "3", "--linger", "1"),
        )
        try:
            server.wait_lines("Server listening", 3)
            settings = ssl.create_default_context(cafile=str(pem))
            soak = Soak(server, path, settings, seed)
            _waves(soak, minutes * 60, tell)
            server.stop()
            assert not server.matching("Traceback"), "a traceback in the log"
        finally:
            server.close()
    return soak


def _waves(soak: Soak, seconds: float, tell: Callable[[str], None]) -> None:
    baseline = descriptors(soak.server)
    began = time.monotonic()
    age = 0.0
    warm = 0  # waves until it has what it needs
    more = MORE
    while age < seconds or (grown(soak.memory, warm) and more):
        more -= age >= seconds
        soak.wave()
        wait_until(lambda: descriptors(soak.server) <= baseline, 30)
        soak.memory.append(soak.server.memory())
        age = time.monotonic() - began
        if seconds > LONG and age > WARM and not warm:
            warm = len(soak.memory)
        tell(
            f"{age:.0f} s: {soak.done:,} conversations, {soak.wrong} wrong,"
            f" {soak.memory[-1] / MIB:.1f} MiB"
        )
        assert soak.wrong == 0, "bytes were lost or damaged"
    sizes = [size >> 20 for size in soak.memory]
    assert not grown(soak.memory, warm), f"memory grew: {sizes} MiB"


def grown(memory: list[int], warm: int = 0) -> bool:
    """Return whether it has not settled: more than before, by a twentieth.

    Before are so many waves at the beginning; 0: the third last one, and 2 MiB are forgiven.
    How much happens at once in a wave depends on the machine, and its most is what a process
    keeps: so a step is no leak, while what leaks grows in every wave.
    """
    if warm:
        return memory[-1] > max(memory[:warm]) * 1.05
    return len(memory) < 3 or memory[-1] > memory[-3] * 1.05 + 2 * MIB


@fault(
    "a mixed load with resets, floods, reloads and stops, for long",
    "nothing is lost; after each wave no descriptor is left, at the end memory is as before",
)
def soak(long: bool) -> Finding:
    minutes = 20.0 if long else 0.3
    result = run(minutes, 1, lambda words: print(words, file=sys.stderr) if long else None)
    first, last = result.memory[0] / MIB, result.memory[-1] / MIB
    figures = {"memory": f"{first:.1f} MiB after the first wave, {last:.1f} after the last"}
    waves = len(result.memory)
    return Finding(f"{minutes:g} min, {result.done:,} conversations in {waves} waves",
                   result.wrong, figures)  # fmt: skip


def main() -> int:
    """The exit status: 0 if every promise held."""
    parser = argparse.ArgumentParser("python -m tests.programs.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        run(options.minutes, options.seed, lambda words: print(words, flush=True))
    except AssertionError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
