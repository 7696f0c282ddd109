"""The system under the service: clocks that are set, a full disk, stops, links that go down."""

from __future__ import annotations

import glob
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs.faults.clients import PREFIX, descriptors
from tests.programs.faults.registry import Absent, Finding, fault, program
from tests.support.process import TWISTD, Process, Server, environment, running
from tests.support.sockets import exchange, receive_exactly
from tests.support.waiting import LIMIT, wait_until


def faketime() -> str:
    """The library that shifts a process's clock.

    :raises Absent: it is not installed.
    """
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not found:
        raise Absent("libfaketime is not installed")
    return found[0]


@fault(
    "the time of day is set an hour forward or back",
    "no live connection ends early, no deadline is late",
)
def clock_steps(long: bool) -> Finding:
    reactors = ("default", "asyncio", "lean")
    times = 3 if long else 1
    worst = 0.0
    for reactor in reactors:
        for hours in (1, -1) * times:
            worst = max(worst, _step(reactor, hours))
    tried = f"an hour either way, {times} times on each of {', '.join(reactors)}"
    return Finding(tried, 0, {"idle close of 2 s at worst": f"{worst:.2f} s"})


def _step(reactor: str, hours: int) -> float:
    """Set the clock under live connections; how long the idle one lived after its last byte."""
    with tempfile.TemporaryDirectory() as directory:
        shift = Path(directory) / "shift"
        shift.write_text("+0")
        faked = {
            "LD_PRELOAD": faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(shift),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        words = ("--idle-timeout", "2", "--idle-action", "close", "--linger", "1")
        with running(
            *words, twistd=(f"--reactor={reactor}",), env={**environment(), **faked}
        ) as server:
            return _live_through(server, shift, hours)


def _live_through(server: Server, shift: Path, hours: int) -> float:
    with server.connect() as busy, server.connect() as idle:
        for client in (busy, idle):
            client.sendall(b"x")
            assert receive_exactly(client, 10) == PREFIX + b"x"
        began = time.monotonic()
        shift.write_text(f"{hours:+d}h")
        idle.setblocking(False)
        while time.monotonic() < began + 1.5:
            busy.sendall(b"x")
            assert receive_exactly(busy, 10) == PREFIX + b"x", "a live connection ended early"
            assert not select.select([idle], [], [], 0.1)[0], "an idle one ended early"
        idle.settimeout(LIMIT)
        assert idle.recv(1) == b""
        took = time.monotonic() - began
        assert took < 2 * 1.2 + 1.0, f"the idle time-out of 2 s took {took:.1f} s"
        return took


@fault("a full disk under the log", "the service goes on; nothing is lost; it ends as it should")
def full_disk(long: bool) -> Finding:
    count = 500 if long else 50
    lost = 0
    with tempfile.TemporaryDirectory() as directory, open("/dev/full", "wb") as full:
        path = f"{directory}/s"
        server = subprocess.Popen(
            [*TWISTD, "echosvc", "-l", f"unix:{path}", "--log", "messages"],
            stdin=subprocess.DEVNULL, stdout=full, stderr=full, env=environment(),
        )  # fmt: skip
        try:
            wait_until(lambda: os.path.exists(path) and server.poll() is None)
            for number in range(count):
                message = b"message %d" % number
                lost += exchange(path, message) != PREFIX + message
        finally:
            server.terminate()
            status = server.wait(LIMIT)
    assert status == -signal.SIGTERM, status
    return Finding(f"{count} connections with --log messages to /dev/full", lost)


@fault("the process is stopped for a while", "nothing is lost, nobody is cut off")
def stopped(long: bool) -> Finding:
    times, seconds = (5, 3.0) if long else (1, 1.5)
    words = ("--idle-timeout", "1", "--idle-action", "close")
    lost = 0
    for _ in range(times):
        with running(*words) as server, server.connect() as client:
            client.sendall(b"a")
            lost += receive_exactly(client, 10) != PREFIX + b"a"
            server.signal(signal.SIGSTOP)
            client.sendall(b"b")
            select.select([], [], [], seconds)
            with server.connect() as other:
                other.sendall(b"c")
                server.signal(signal.SIGCONT)
                lost += receive_exactly(client, 10) != PREFIX + b"b"
                lost += receive_exactly(other, 10) != PREFIX + b"c"
    return Finding(f"{times} times for {seconds:g} s, with an idle time-out of 1 s", lost)


@fault("a second signal while it drains", "it ends at once, with the status of the signal")
def second_signal(long: bool) -> Finding:
    pairs = [(first, second) for first in _SIGNALS for second in _SIGNALS]
    for first, second in pairs * (3 if long else 1):
        with running("--drain", "60") as server, server.connect() as client:
            client.sendall(b"x")
            assert receive_exactly(client, 10) == PREFIX + b"x"
            server.signal(first)
            server.wait_line("Received SIG")
            client.sendall(b"y")
            assert receive_exactly(client, 10) == PREFIX + b"y", "the drain was no drain"
            began = time.monotonic()
            server.signal(second)
            server.wait()
            assert time.monotonic() - began < 10
    return Finding(f"{len(pairs)} pairs of SIGTERM and SIGINT", 0)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@fault(
    "kill -9, and several servers that start on the dead UNIX path at once",
    "one of them has the path, the others are refused in one line, no socket is taken from it",
)
def unix_takeover(long: bool) -> Finding:
    rounds = 20 if long else 4
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/s"
        for _ in range(rounds):
            with running("-l", f"unix:{path}") as dead:
                dead.signal(signal.SIGKILL)
                dead.wait()
            wrong += _start_together(path, 3)
    return Finding(f"{rounds} times, 3 servers at once", wrong)


def _start_together(path: str, count: int) -> int:
    """How many things were wrong: not just one lives, or its path does not answer."""
    servers = [Process([*TWISTD, "echosvc", "-l", f"unix:{path}"]) for _ in range(count)]
    try:
        for server in servers:
            wait_until(
                lambda server=server: (
                    server.popen.poll() is not None or server.matching("Server listening")
                )
            )
        alive = [server for server in servers if server.popen.poll() is None]
        refused = sum(bool(server.matching("EADDRINUSE")) for server in servers)
        answered = exchange(path, b"x") == PREFIX + b"x"
        for server in alive:
            server.signal()
            server.wait()
        left = os.path.exists(path)
        return (len(alive) != 1) + (refused != count - 1) + (not answered) + left
    finally:
        for server in servers:
            server.close()


@fault(
    "clients whose link goes down, while replies wait and while idle",
    "gone by the stall time-out or keep-alive, nothing is left of them, others are served",
)
def vanished_clients(long: bool) -> Finding:
    count = 50 if long else 5
    words = ("--stall-timeout", "3", "--keep-alive", "2", "--listen", "tcp:0:interface=10.99.7.1")
    with _other_host() as there, running(*words, "--listen", "tcp:0:interface=127.0.0.1") as server:
        server.wait_lines("Server listening", 2)
        port, local = (int(str(each["port"])) for each in server.listeners)
        baseline = descriptors(server)
        client = Process([*there, "python3", "-c", _VANISHING, str(port), str(count)])
        try:
            client.wait_line("ready")
            assert descriptors(server) == baseline + 2 * count
            subprocess.run(["ip", "link", "set", "echosvc-a", "down"], check=True)
            began = time.monotonic()
            wait_until(lambda: descriptors(server) == baseline, 60)
            took = time.monotonic() - began
            wrong = exchange(("127.0.0.1", local), b"x") != PREFIX + b"x"
        finally:
            client.close()
    assert took < 30, f"{took:.0f} s"
    tried = f"{count} that read nothing and {count} idle ones"
    return Finding(tried, int(wrong), {"gone": f"after {took:.1f} s"})


_VANISHING = """
import socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
idle = [socket.create_connection(("10.99.7.1", port), 20) for _ in range(count)]
full = [socket.create_connection(("10.99.7.1", port), 20) for _ in range(count)]
for client in idle:
    client.sendall(b"x")
    client.recv(100)
for client in full:
    client.setblocking(False)
end = time.monotonic() + 1.5
while time.monotonic() < end:
    for client in full:
        try:
            client.send(b"x" * 65536)
        except BlockingIOError:
            pass
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def _other_host() -> Iterator[list[str]]:
    """A network namespace that is linked to ours; gives what runs a command there."""
    ip = program("ip")
    commands = (
        f"{ip} netns add echosvc-test",
        f"{ip} link add echosvc-a type veth peer name echosvc-b",
        f"{ip} link set echosvc-b netns echosvc-test",
        f"{ip} addr add 10.99.7.1/24 dev echosvc-a",
        f"{ip} link set echosvc-a up",
        f"{ip} -n echosvc-test addr add 10.99.7.2/24 dev echosvc-b",
        f"{ip} -n echosvc-test link set echosvc-b up",
    )
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True, timeout=LIMIT)
            if done.returncode:
                raise Absent(f"no network namespace can be made: {done.stderr.strip()}")
        yield [ip, "netns", "exec", "echosvc-test"]
    finally:
        for command in (f"{ip} link del echosvc-a", f"{ip} netns del echosvc-test"):
            subprocess.run(command.split(), capture_output=True, timeout=LIMIT)
