"""Crowds: many clients, clients that read nothing or drip, storms, no descriptors left."""

from __future__ import annotations

import resource
import select
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.programs.faults.clients import (
    PREFIX,
    Pinger,
    allow_descriptors,
    cpu,
    crowd,
    descriptors,
    echo_all,
)
from tests.programs.faults.registry import Finding, fault
from tests.support.certificates import issue
from tests.support.process import Server, running
from tests.support.sockets import connect, exchange, receive_all, reset
from tests.support.waiting import LIMIT, wait_until

MIB = 1 << 20


def gone(server: Server, baseline: int, limit: float = LIMIT) -> None:
    """Wait until the server has no more descriptors than before."""
    wait_until(lambda: descriptors(server) <= baseline, limit)


def mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"


@fault("10,000 connections at once", "each byte of each comes back, and nothing is left behind")
def many_connections(long: bool) -> Finding:
    count = allow_descriptors(10_000 if long else 1_000)
    with running("--log", "quiet") as server:
        exchange(("127.0.0.1", server.port), b"warm")
        before, baseline = server.memory(), descriptors(server)
        with crowd(server, count) as clients:
            wrong = sum(echo_all(clients, b"round %d" % number) for number in range(3))
            each = (server.memory() - before) / count
        gone(server, baseline)
    return Finding(f"{count:,} connections, 3 rounds", wrong, {"memory each": f"{each:,.0f} bytes"})


@fault(
    "clients that send 1 MiB each and never read",
    "memory stays bounded (1 GiB at 5,000), others are served, the stall time-out ends them",
)
def readers_that_never_read(long: bool) -> Finding:
    count = allow_descriptors(5_000 if long else 300)
    bound = 200_000 * count + 100 * MIB
    stall = "15" if long else "3"
    with running("--log", "quiet", "--stall-timeout", stall) as server:
        baseline = descriptors(server)
        with crowd(server, count) as clients, Pinger(server) as pinger:
            _fill(clients)
            peak = server.peak_memory()
            gone(server, baseline + 2, 60)
        wrong = exchange(("127.0.0.1", server.port), b"x") != PREFIX + b"x"
    worst = pinger.percentile(0.99)
    assert peak < bound, f"{mib(peak)} for {count} clients"
    assert worst < (0.05 if long else 1.0), f"others waited {worst * 1e3:.0f} ms"
    figures = {"server": mib(peak), "p99 of another": f"{worst * 1e3:.1f} ms"}
    return Finding(
        f"{count:,} clients, all reset after {stall} s", int(wrong) + pinger.wrong, figures
    )


def _fill(clients: list[socket.socket]) -> None:
    """Send up to 1 MiB each, until nothing more is taken."""
    left = dict.fromkeys(clients, MIB)
    sent = 1
    while sent:
        sent = 0
        for client, size in left.items():
            with suppress(BlockingIOError):
                taken = client.send(b"x" * min(size, 65536)) if size else 0
                left[client] -= taken
                sent += taken


@fault(
    "clients that drip one byte a second into a PROXY header or a TLS handshake",
    "gone by the handshake time-out, others are served, few lines in the log",
)
def slow_drips(long: bool) -> Finding:
    count = allow_descriptors(2_000 if long else 200)
    took = {}
    for name, words in _DRIPPED.items():
        with _pem() as pem:
            filled = [word.format(pem=pem) for word in words]
            with running(*filled, "--handshake-timeout", "3") as server:
                baseline = descriptors(server)
                began = time.monotonic()
                with crowd(server, count) as clients:
                    _drip(clients, 2)
                    gone(server, baseline, 10)
                    took[name] = time.monotonic() - began
                lines = len(server.matching("handshake|header"))
        assert lines < 100, f"{lines} lines"
        assert took[name] < 3 * 1.2 + 2, f"{name}: gone after {took[name]:.1f} s"
    figures = {f"gone ({name})": f"after {seconds:.1f} s" for name, seconds in took.items()}
    return Finding(f"{count:,} of each, with 3 s for a handshake", 0, figures)


_DRIPPED = {
    "PROXY": ("--proxy-protocol", "require", "--proxy-from", "127.0.0.0/8"),
    "TLS": ("--listen", "ssl:0:interface=127.0.0.1:privateKey={pem}"),
}


def _drip(clients: list[socket.socket], times: int) -> None:
    """What may begin either: the first bytes of a TLS record are no PROXY header."""
    for piece in (b"P", b"R")[:times]:
        for client in clients:
            with suppress(OSError):
                client.send(piece)
        select.select([], [], [], 1.0)


@contextmanager
def _pem() -> Iterator[Path]:
    """A server's certificate and key, in a file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.write_bytes(issue("localhost").pem)
        yield path


@fault(
    "more clients than places",
    "all are served in the end, the others wait at no cost; or are closed at once",
)
def connection_limit(long: bool) -> Finding:
    count = allow_descriptors(500 if long else 300)  # the kernel's queue holds so many
    with running("--log", "quiet", "--max-connections", "50") as server:
        address = ("127.0.0.1", server.port)
        with crowd(server, count) as clients:
            for client in clients:
                client.send(b"x")
            wait_until(lambda: descriptors(server) >= 50)
            idle = cpu(server)
            select.select([], [], [], 1.0)
            idle = cpu(server) - idle
            wrong = sum(_served(client) for client in clients)
        wrong += exchange(address, b"x") != PREFIX + b"x"
    assert idle < 0.2, f"{idle:.2f} s of CPU in a second with nothing to do"
    refused = _refused(count)
    figures = {"CPU while they wait": f"{idle:.0%} of a core", "lines of refusals": f"{refused}"}
    return Finding(f"{count:,} clients for 50 places, waiting; then refused", wrong, figures)


def _served(client: socket.socket) -> int:
    """Return whether this one was not, in its turn."""
    client.setblocking(True)
    client.settimeout(LIMIT)
    client.shutdown(socket.SHUT_WR)
    wrong = int(receive_all(client) != PREFIX + b"x")
    client.close()
    return wrong


def _refused(count: int) -> int:
    """Close those over the limit; how many lines that made."""
    with running("--max-connections", "5", "--over-limit", "refuse") as server:
        baseline = descriptors(server)
        with crowd(server, 5) as clients:
            wait_until(lambda: descriptors(server) == baseline + 5)
            for _ in range(count):
                with connect(("127.0.0.1", server.port)) as other, suppress(ConnectionResetError):
                    assert other.recv(1) == b""
            assert echo_all(clients, b"x") == 0
        return len(server.matching("refused"))


@fault(
    "no descriptors left",
    "no busy loop, few lines, live connections are served, it goes on by itself",
)
def no_descriptors(long: bool) -> Finding:
    count = 200 if long else 60
    with running("--max-connections", "0", "--log", "quiet") as server:
        used = descriptors(server)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
        with crowd(server, count) as clients:
            for client in clients:
                client.send(b"x")
            server.wait_line("EMFILE")
            spent = cpu(server)
            select.select([], [], [], 2.0)
            spent = cpu(server) - spent
            lines = len(server.lines)
            wrong = sum(_served(client) for client in clients)
        wrong += exchange(("127.0.0.1", server.port), b"x") != PREFIX + b"x"
    assert spent < 0.4, f"{spent:.2f} s of CPU in 2 s"
    assert lines < 20, f"{lines} lines"
    return Finding(f"{count} clients, 20 descriptors", wrong, {"CPU in 2 s": f"{spent:.2f} s"})


@fault(
    "storms of resets and of connections closed at once",
    "nothing is left behind: no descriptor, no connection, little memory; few lines of bad clients",
)
def storms(long: bool) -> Finding:
    count = 20_000 if long else 1_500
    with _pem() as pem:
        tls = ("--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}")
        with running("--listen", "tcp:0:interface=127.0.0.1", *tls) as server:
            server.wait_lines("Server listening", 2)
            ports = [int(str(each["port"])) for each in server.listeners]
            baseline = descriptors(server)
            _storm(ports, count // 2)
            gone(server, baseline)
            before = server.memory()
            began = time.monotonic()
            _storm(ports, count)
            gone(server, baseline)
            seconds = time.monotonic() - began
            grown = server.memory() - before
            wrong = exchange(("127.0.0.1", ports[0]), b"x") != PREFIX + b"x"
            server.wait_line("Remaining Connections: 0")
            bad = len(server.matching("Socket Error"))
            faults = len(server.matching("Traceback"))
    assert bad <= 40 * (seconds + 10), f"{bad} lines"
    assert grown < 16 * MIB, mib(grown)
    figures = {"grown by": mib(grown), "lines of errors": f"{bad}"}
    return Finding(f"{count:,} connections, TCP and TLS", int(wrong) + faults, figures)


def _storm(ports: list[int], count: int) -> None:
    """Connect; say nothing, or some bytes, or half a handshake; close, or reset."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00"
    for number in range(count):
        client = connect(("127.0.0.1", ports[number % len(ports)]))
        with suppress(OSError):
            client.send((b"", b"x" * 1000, hello)[number % 3])
            if number % 5 < 3:
                reset(client)
        client.close()


@fault(
    "SIGTERM under load",
    "each client gets whole replies to a beginning of what it sent, then a FIN, never a reset",
)
def drain_under_load(long: bool) -> Finding:
    count = 200 if long else 40
    with running("--log", "quiet", "--drain", "1", "--linger", "25") as server:
        address = ("127.0.0.1", server.port)
        senders = [Sender(address) for _ in range(count)]
        wait_until(lambda: all(sender.heard > 10_000 for sender in senders))
        server.signal()
        for sender in senders:
            sender.join(LIMIT)
        server.wait()
    wrong = sum(not sender.right for sender in senders)
    heard = sum(sender.heard for sender in senders)
    return Finding(f"{count} clients that sent all the time", wrong, {"echoed": mib(heard)})


class Sender(threading.Thread):
    """Sends numbers for ever; what it hears must be them, from the first, then a FIN."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.heard = 0
        self.right = False
        self._socket = connect(address)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self.start()

    def run(self) -> None:
        self._writer.start()
        kept = []
        try:
            while piece := self._socket.recv(1 << 16):
                kept.append(piece)
                self.heard += len(piece)
        except OSError:
            return  # a reset, or silence: not right
        finally:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            self._writer.join(LIMIT)
            self._socket.close()
        said = b"".join(kept).replace(PREFIX, b"")
        self.right = said == _numbers(len(said))

    def _write(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                self._socket.sendall(b"".join(b"%08d" % n for n in range(number, number + 100)))
                number += 100


def _numbers(size: int) -> bytes:
    """The first so many bytes that a :class:`Sender` sends."""
    return b"".join(b"%08d" % number for number in range(size // 8 + 1))[:size]
