"""Peers that keep no rule: any bytes, in any pieces, with any delay, and any end."""

from __future__ import annotations

import json
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from echosvc.cli.commands import DEMO
from echosvc.probe.validation import NAMES
from tests.programs.faults.clients import PREFIX, cpu, descriptors
from tests.programs.faults.registry import Finding, fault
from tests.support.certificates import issue
from tests.support.process import ROOT, Server, environment, running
from tests.support.sockets import connect, exchange, reset
from tests.support.waiting import wait_until

_V2 = b"\r\n\r\n\0\r\nQUIT\n"
#: Longest pause between two steps of a hostile peer, seconds.
_PAUSE = 0.05
#: What is sent byte by byte.
DRIP = b"x"
_REACTORS = ("epoll", "lean", "asyncio", "select", "poll")
#: Settings of the servers that hostile clients talk to; each ends who stops talking.
_LIMITS = (
    "--handshake-timeout", "1", "--linger", "0.5", "--stall-timeout", "1", "--idle-timeout", "0.5",
    "--idle-action", "close", "--max-lifetime", "5",
)  # fmt: skip
_SETTINGS: tuple[tuple[str, ...], ...] = (
    (),
    ("--framing", "line", "--encoding", "utf-8", "--prefix", "{peer} {message}: "),
    ("--framing", "length", "--max-message", "5000", "--log", "messages"),
    ("--proxy-protocol", "require", "--proxy-from", "127.0.0.1"),
)


def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="x").do_handshake()
    return outgoing.read()


def _pieces(chance: random.Random) -> bytes:
    """What is sent in one go."""
    size = chance.choice((1, 2, 3, 10, 100, 5000, 70_000))
    made: tuple[Callable[[], bytes], ...] = (
        lambda: chance.randbytes(size),
        lambda: bytes([chance.randrange(256)]) * size,
        lambda: PREFIX * (1 + size // len(PREFIX)),
        lambda: PREFIX + chance.randbytes(size),
        lambda: b"\n" * size,
        lambda: struct.pack("!I", chance.choice((0, size, 2**32 - 1))) + chance.randbytes(size),
        lambda: b"PROXY TCP4 192.0.2.7 192.0.2.9 4000 443\r\n"[: chance.randrange(1, 43)],
        lambda: (
            _V2 + bytes((0x21, 0x11)) + struct.pack("!H", size % 65536) + chance.randbytes(size)
        ),
        lambda: _client_hello()[: chance.randrange(1, 600)],
        lambda: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda: "\x1b[2Jü€🚀".encode()[chance.randrange(8) :],
    )
    return chance.choice(made)()


def misbehave(peer: socket.socket, chance: random.Random, limit: float) -> None:
    """Do anything with a connection, for at most about ``limit`` seconds; close it."""
    end = time.monotonic() + limit
    try:
        for _ in range(chance.randrange(6)):
            if time.monotonic() > end:
                break
            _step(peer, chance)
        _end(peer, chance, end)
    except OSError:  # the other side has ended: its right
        pass
    finally:
        peer.close()


def _step(peer: socket.socket, chance: random.Random) -> None:
    peer.settimeout(0.2)
    kind = chance.randrange(10)
    if kind < 5:
        with suppress(TimeoutError):
            peer.sendall(_pieces(chance))
    elif kind < 7:
        with suppress(TimeoutError):
            data = peer.recv(chance.choice((1, 100, 1 << 16)))
            peer.sendall(chance.choice((b"", PREFIX, b"x")) + data)
    elif kind == 7:
        peer.send(b"!", socket.MSG_OOB)
    elif kind == 8:
        peer.shutdown(socket.SHUT_WR)
    else:
        time.sleep(chance.random() * _PAUSE)


def _end(peer: socket.socket, chance: random.Random, end: float) -> None:
    kind = chance.randrange(5)
    if kind == 0:
        reset(peer)
    elif kind == 1:
        peer.shutdown(socket.SHUT_WR)
        _read_until(peer, end)
    elif kind == 2:  # silence: the other side has to end it
        peer.settimeout(max(0.01, end - time.monotonic()))
        with suppress(TimeoutError):
            while peer.recv(1 << 16):
                pass
    elif kind == 3:  # drip
        while time.monotonic() < end:
            peer.send(DRIP)
            time.sleep(_PAUSE)


def _read_until(peer: socket.socket, end: float) -> None:
    with suppress(TimeoutError):
        while time.monotonic() < end:
            peer.settimeout(max(0.01, end - time.monotonic()))
            if not peer.recv(1 << 16):
                return


# -- clients --------------------------------------------------------------------------------


@fault(
    "clients that send any bytes in any pieces, with any end and any delay, on five reactors",
    "each connection ends within its limits, others are served, no exception, nothing left",
)
def hostile_clients(long: bool) -> Finding:
    each = 500 if long else 40
    rounds = [(reactor, words) for reactor in _REACTORS for words in _SETTINGS]
    if not long:
        rounds = [(reactor, _SETTINGS[n % 4]) for n, reactor in enumerate(_REACTORS)]
    with _listeners() as listen:
        for number, (reactor, words) in enumerate(rounds):
            options = (*listen(number), *_LIMITS, *words)
            with running(*options, twistd=(f"--reactor={reactor}",)) as server:
                _attack(server, each, number, "--proxy-protocol" in words)
    tried = f"{each * len(rounds):,} connections by TCP, UNIX and TLS, {len(rounds)} servers"
    return Finding(tried, 0)


@contextmanager
def _listeners() -> Iterator[Callable[[int], tuple[str, ...]]]:
    with tempfile.TemporaryDirectory(prefix="echo") as directory:
        (Path(directory) / "pem").write_bytes(issue("localhost").pem)

        def words(number: int) -> tuple[str, ...]:
            tls = f"ssl:0:interface=127.0.0.1:privateKey={directory}/pem"
            unix = f"unix:{directory}/{number}"
            return ("-l", "tcp:0:interface=127.0.0.1", "-l", tls, "-l", unix)

        yield words


def _check_rest(server: Server) -> None:
    """Check that a server needs no processor while nothing happens."""
    before, began = cpu(server), time.monotonic()
    time.sleep(1.0)
    used = (cpu(server) - before) / (time.monotonic() - began)
    assert used < 0.5, f"{used:.0%} of a processor while nothing happens"


def _attack(server: Server, count: int, seed: int, proxied: bool) -> None:
    server.wait_lines("Server listening", 3)
    facts = server.listeners
    ports = [("127.0.0.1", each["port"]) for each in facts if "port" in each]
    addresses = [*ports, str(next(each["path"] for each in facts if "path" in each))]
    baseline = descriptors(server)

    def converse(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        with suppress(ConnectionError):
            misbehave(connect(chance.choice(addresses)), chance, 1.0)

    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(converse, range(count)):
            pass
    wait_until(lambda: descriptors(server) <= baseline)
    header = b"PROXY TCP4 192.0.2.7 192.0.2.9 4000 443\r\n" if proxied else b""
    for address in addresses:
        if address != ports[1]:  # the TLS listener, of which the next lines tell
            assert exchange(address, header + b"\0\0\0\1a\n"), server.lines[-5:]
    _check_rest(server)
    status = server.stop()
    assert status in (143, -15), (status, server.lines[-5:])
    wrong = server.matching("Traceback|Unhandled|Unexpected|the application failed|Exception")
    assert not wrong, wrong[:3]


# -- servers --------------------------------------------------------------------------------

#: Seconds without progress after which a command gives up.
DEADLINE = 1.0
#: Seconds that a conversation may take: the server may get on for a while, then comes the deadline,
#: and two seconds.
_MOST = 1.5 + DEADLINE + 2.0
AT_ONCE = 20


@contextmanager
def hostile_server(seed: int) -> Iterator[int]:
    """A server of which each connection misbehaves in its own way; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=511)
    stopped = threading.Event()

    def serve() -> None:
        with ThreadPoolExecutor(4 * AT_ONCE) as pool:
            number = 0
            while not stopped.is_set():
                with suppress(OSError):
                    peer, _ = listener.accept()
                    number += 1
                    chance = random.Random(f"{seed} {number}")
                    pool.submit(misbehave, peer, chance, 5 * DEADLINE * chance.random())

    thread = threading.Thread(target=serve)
    listener.settimeout(0.1)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        thread.join()
        listener.close()


@fault(
    "servers that send any bytes in any pieces, with any end and any delay, to `echosvc send`",
    "each ends at most 2 s after a deadline that begins anew while the server gets on, in one"
    " line, with no exception",
)
def hostile_servers(long: bool) -> Finding:
    count = 10_000 if long else 200
    with hostile_server(1) as port:
        command = [
            sys.executable,
            "-m",
            "tests.programs.faults.conversations",
            str(port),
            str(count),
        ]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=3600
        )
    assert (done.returncode, done.stderr) == (0, ""), (done.stderr or done.stdout)[-1000:]
    facts = json.loads(done.stdout)
    assert not facts["wrong"], facts["wrong"][:3]
    assert facts["slowest"][0] < _MOST, facts
    figures = {"slowest": f"{facts['slowest'][0]:.2f} s", "ended well": str(facts["good"])}
    return Finding(f"{count:,} conversations, deadline {DEADLINE:g} s", 0, figures)


@fault(
    "the same servers, to the commands `send`, `check` and `demo` as processes",
    "each ends in its time, with exit status 0 or 1 and at most one line of error",
)
def hostile_servers_to_processes(long: bool) -> Finding:
    count = 300 if long else 24
    slowest = 0.0
    with hostile_server(2) as port, ThreadPoolExecutor(2) as pool:
        for words, seconds, done in pool.map(lambda n: _run(n, port), range(count)):
            slowest = max(slowest, seconds)
            lines = done.stderr.splitlines()
            assert done.returncode in (0, 1), (words, done)
            assert len(lines) <= (len(DEMO) if "demo" in words else 1), (words, done)
            assert "internal error" not in done.stdout + done.stderr, (words, done)
    return Finding(f"{count:,} processes", 0, {"slowest": f"{slowest:.1f} s"})


def _run(number: int, port: int) -> tuple[tuple[str, ...], float, Any]:
    chance = random.Random(number)
    words = chance.choice(_commands(f"tcp:127.0.0.1:{port}", chance))
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "echosvc", *words], cwd=ROOT, env=environment(), timeout=90,
        input="D" * chance.choice((0, 10, 300_000)), capture_output=True, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    return words, time.monotonic() - began, done


def _commands(where: str, chance: random.Random) -> tuple[tuple[str, ...], ...]:
    send = ("send", "--to", where, "--deadline", str(DEADLINE))
    probe = chance.choice([name for name in NAMES if name != "find-idle"])
    check = ("check", where, "--timeout", "0.5", "--max-size", "2k", "--idle", "0.1")
    return (
        (*send, "hello"),
        (*send, "--quiet", "--prefix", "{message}: ", "a", "b"),
        (*send, "--prefix", "{hostname}-{peer}-{local}: ", "a"),
        (*send, "--raw", "-"),
        (*send, "--encoding", "raw", "--prefix", "", "-"),
        (*check, "--only", probe),
        (*check, "--only", probe, "--json", "--prefix", "{hostname}-{peer}-{local}: "),
        ("demo", "--to", where),
    )
