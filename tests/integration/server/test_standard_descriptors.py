"""The service with standard input, output or error closed; and a main loop that fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.process import (
    ECHOSVC,
    SERVE,
    TWISTD,
    Process,
    environment,
    handed_over,
    running,
    serving_alone,
    stays_idle,
)
from tests.support.sockets import exchange
from tests.support.waiting import LIMIT, wait_until

REACTORS = ["", "epoll", "lean", "asyncio", "select", "poll"]
CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]


class Daemon(Process):
    """What twistd has put into the background."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def pid(self) -> int:
        return self._pid


def closed(which: str, command: list[str]) -> list[str]:
    """The command, started with these descriptors closed."""
    return ["sh", "-c", f'exec "$@" {which}', "sh", *command]


@contextmanager
def daemon(which: str, reactor: str, place: Path) -> Iterator[tuple[Daemon, Path]]:
    """A server in the background, and its log."""
    pid, log = place / "pid", place / "log"
    twistd = [*TWISTD[:3], f"--pidfile={pid}", f"--logfile={log}"]
    twistd += [f"--reactor={reactor}"] if reactor else []
    command = [*twistd, "echosvc", "-l", f"unix:{place}/s"]
    subprocess.run(closed(which, command), timeout=LIMIT, env=environment(), check=True)
    wait_until(lambda: pid.exists() and pid.read_text())
    server = Daemon(int(pid.read_text()))
    try:
        yield server, log
    finally:
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not pid.exists())


def answers(path: Path) -> bool:
    with suppress(OSError):  # it does not listen yet
        return exchange(str(path), b"x") == b"Sending: x"
    return False


@pytest.mark.slow
@pytest.mark.parametrize("which", ["<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("reactor", REACTORS)
def test_a_daemon_serves_whatever_was_closed(which: str, reactor: str, tmp_path: Path) -> None:
    with daemon(which, reactor, tmp_path) as (server, log):
        wait_until(lambda: "Server listening" in log.read_text())
        assert exchange(str(tmp_path / "s"), b"x") == b"Sending: x"
        assert stays_idle(server)
        assert log.stat().st_size < 10_000
        for number in range(3):
            assert os.readlink(f"/proc/{server.pid}/fd/{number}") == "/dev/null"


@pytest.mark.slow
@pytest.mark.parametrize("which", CLOSED)
@pytest.mark.parametrize("reactor", ["", "epoll"])
def test_in_the_foreground_it_serves_whatever_was_closed(
    which: str, reactor: str, tmp_path: Path
) -> None:
    twistd = [*TWISTD, f"--reactor={reactor}"] if reactor else TWISTD
    for command in ([*twistd, "echosvc"], [*SERVE, "--reactor", reactor or "default"]):
        server = Process(closed(which, [*command, "-l", f"unix:{tmp_path}/s"]))
        try:
            wait_until(lambda: answers(tmp_path / "s"))
            for number in range(3):
                assert "anon_inode" not in os.readlink(f"/proc/{server.pid}/fd/{number}")
                assert "socket" not in os.readlink(f"/proc/{server.pid}/fd/{number}")
            assert stays_idle(server)
            server.signal()
            assert server.wait() in (0, -signal.SIGTERM)
            assert not server.matching("Traceback")
        finally:
            server.close()


def test_what_was_handed_over_is_served_though_standard_input_is_closed(tmp_path: Path) -> None:
    """Also where it has to start again, since the reactor was made before the plugin is read."""
    for reactor in ("epoll", "lean"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command = [*TWISTD, f"--reactor={reactor}", "echosvc", "-l", "systemd:name=echo"]
            command = handed_over([listener], ["echo"], closed("<&-", command))
            # sh has the same process number as what it executes.
            server = Process(command, pass_fds=[listener.fileno()])
            try:
                server.wait_line("Server listening")
                assert exchange(listener.getsockname(), b"x") == b"Sending: x"
            finally:
                server.close()


@pytest.mark.parametrize("which", CLOSED)
def test_a_client_keeps_its_connection_apart_from_them(which: str) -> None:
    with running() as server:
        to = ("--to", f"tcp:127.0.0.1:{server.port}")
        done = subprocess.run(
            closed(which, [*ECHOSVC, "send", *to, "--quiet", "hi"]),
            capture_output=True, timeout=LIMIT, env=environment(),
        )  # fmt: skip
        output_closed = ">&-" in which.replace("2>&-", "")
        assert done.returncode == int(output_closed)
        assert done.stdout == (b"" if output_closed else b"Sending: hi\n")


def test_a_client_that_is_to_send_a_closed_standard_input_says_so() -> None:
    with running() as server:
        command = [*ECHOSVC, "send", "--to", f"tcp:127.0.0.1:{server.port}", "--raw", "-"]
        done = subprocess.run(
            closed("<&-", command), capture_output=True, text=True, timeout=LIMIT,
            env=environment(),
        )  # fmt: skip
    assert done.stderr == "echosvc: standard input: EBADF (Bad file descriptor)\n"
    assert (done.returncode, done.stdout) == (1, "")


# -- a main loop that fails -------------------------------------------------

# Has the reactor lose the descriptor that it waits on, and then run.
_LOSE = """
import os, sys
kind, program = sys.argv[1:3]
def lose(reactor):
    poller = getattr(reactor, "_poller", None)
    if kind == "asyncio":
        poller = reactor._asyncioEventloop._selector._selector
    if kind in ("select", "poll"):
        def fail(timeout): raise OSError(22, "Invalid argument")
        reactor.doIteration = fail
    else:
        os.dup2(os.open(os.devnull, os.O_RDWR), poller.fileno())
from echosvc.cli import serve, twistd
original = twistd.makeService
def make(options):
    from twisted.internet import reactor
    made = original(options)
    reactor.callWhenRunning(reactor.callLater, 0, lose, reactor)
    return made
twistd.makeService = serve.makeService = make
if program == "serve":
    sys.exit(serve.main(["--reactor", kind, "-l", "tcp:0:interface=127.0.0.1"]))
from twisted.scripts.twistd import run
sys.argv[1:] = ["-n", "--pidfile=", "--reactor=" + kind, "echosvc", "-l", "tcp:0"]
run()
"""


@pytest.mark.parametrize("program", ["serve", "twistd"])
@pytest.mark.parametrize("kind", ["lean", "epoll", "asyncio", "select", "poll"])
def test_a_main_loop_that_fails_ends_the_process_as_failed(kind: str, program: str) -> None:
    server = Process([sys.executable, "-c", _LOSE, kind, program])
    try:
        assert server.wait() == 1
        assert len(server.lines) < 100, server.lines
        if program == "serve" or kind != "asyncio":  # where twistd itself shows the exception
            assert len(server.matching("#critical.*the main loop fails: ")) == 1
        if kind == "lean":
            assert not server.matching("Traceback")
    finally:
        server.close()


def test_the_plugin_holds_them_before_there_is_a_reactor() -> None:
    code = (
        "import os, sys; os.close(0); import twisted.plugins.echosvc_plugin\n"
        "null = os.path.samestat(os.fstat(0), os.stat(os.devnull))\n"
        "print(null, 'twisted.internet.reactor' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=LIMIT, env=environment()
    )
    assert done.stdout == b"True False\n"


def test_what_this_process_itself_has_opened_is_known() -> None:
    code = (
        "import os, json\n"
        "from echosvc.cli.standard_descriptors import reserve_descriptors, reused_descriptors\n"
        "os.close(0); os.close(2)\n"
        "mine = os.open('/dev/zero', os.O_RDONLY)\n"
        "before = reused_descriptors()\n"
        "reserve_descriptors()\n"
        "print(json.dumps([mine, before, reused_descriptors(), os.path.samestat(os.fstat(2),"
        " os.stat(os.devnull)), os.get_inheritable(2)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=LIMIT, env=environment()
    )
    assert json.loads(done.stdout) == [0, [0], [0], True, True]


def test_with_them_open_nothing_is_done() -> None:
    with serving_alone() as server:
        before = [os.readlink(f"/proc/{server.pid}/fd/{number}") for number in range(3)]
        assert before[0] == "/dev/null"
        assert before[1].startswith("pipe:")
        assert before[1] == before[2]
