"""No state of a descriptor makes the service use the processor without end."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.process import TWISTD, Process, Serving, handed_over, serving_alone, stays_idle
from tests.support.sockets import connect, exchange, receive_all, receive_exactly
from tests.support.waiting import wait_until

REACTORS = ["default", "lean", "asyncio", "select", "poll"]
CLOSED = r"Server Error: the listener {} is closed: EINVAL \(another process has shut"
READ_ONLY = {"both": socket.SHUT_RDWR, "reading": socket.SHUT_RD}


@contextmanager
def listening(kind: str, place: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket to hand over, and its address for people."""
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(str(place / "s") if kind == "unix" else ("127.0.0.1", 0))
        listener.listen()
        name = listener.getsockname()
        yield listener, f"unix:{name}" if kind == "unix" else f"127.0.0.1:{name[1]}"


def lines(server: Serving, pattern: str) -> int:
    return len(server.matching(pattern))


@pytest.mark.slow
@pytest.mark.parametrize("how", READ_ONLY)
@pytest.mark.parametrize("reactor", REACTORS)
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_listener_that_another_process_shuts_down_is_closed_and_others_go_on(
    kind: str, reactor: str, how: str, tmp_path: Path
) -> None:
    with listening(kind, tmp_path) as (listener, where):
        options = ("-l", "tcp:0:interface=127.0.0.1", "-l", "systemd:index=0")
        with serving_alone(*options, reactor=reactor, inherited=[listener]) as server:
            server.wait_lines("Server listening", 2)
            listener.shutdown(READ_ONLY[how])
            server.wait_line(CLOSED.format(where))
            assert stays_idle(server)
            assert exchange(("127.0.0.1", server.port), b"x") == b"Sending: x"
            assert server.stop() == 0
            assert lines(server, "Server Error") == 1


@pytest.mark.parametrize("reactor", REACTORS)
def test_with_its_last_listener_the_service_ends_as_failed_after_its_clients(
    reactor: str, tmp_path: Path
) -> None:
    with (
        listening("unix", tmp_path) as (listener, where),
        serving_alone(
            "-l", "systemd:index=0", "--drain", "60", reactor=reactor, inherited=[listener]
        ) as server,
    ):
        with connect(str(tmp_path / "s")) as client:
            client.sendall(b"x")
            assert receive_exactly(client, 10) == b"Sending: x"
            listener.shutdown(socket.SHUT_RDWR)
            server.wait_line(CLOSED.format(where))
            server.wait_line("Server Error: no listener is left: the service stops")
            client.sendall(b"y")
            assert receive_exactly(client, 10) == b"Sending: y"
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b""
        assert server.wait() == 1
        assert server.matching("Server Terminated")
        assert not server.matching("Traceback")


def test_twistd_too_ends_as_failed_with_its_last_listener(tmp_path: Path) -> None:
    with listening("unix", tmp_path) as (listener, _):
        command = handed_over([listener], [], [*TWISTD, "echosvc", "-l", "systemd:index=0"])
        server = Process(command, pass_fds=[listener.fileno()])
        try:
            server.wait_line("Server listening")
            listener.shutdown(socket.SHUT_RDWR)
            assert server.wait() == 1
            assert server.matching("no listener is left")
        finally:
            server.close()


def test_a_listener_that_waits_for_a_place_is_closed_once_there_is_one(tmp_path: Path) -> None:
    with (
        listening("unix", tmp_path) as (listener, where),
        serving_alone(
            "-l", "tcp:0:interface=127.0.0.1", "-l", "systemd:index=0", "--max-connections", "1",
            inherited=[listener],
        ) as server,
    ):  # fmt: skip
        with connect(str(tmp_path / "s")) as first, connect(str(tmp_path / "s")) as second:
            first.sendall(b"x")
            receive_exactly(first, 10)
            server.wait_line("at the limit")
            listener.shutdown(socket.SHUT_RDWR)
            second.sendall(b"x")
            assert stays_idle(server)
        server.wait_line(CLOSED.format(where))
        assert server.stop() == 0


# -- connections ------------------------------------------------------------


def fill(client: socket.socket) -> None:
    """Send until nothing more is taken."""
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(bytes(1 << 16))


def filled_and_ended(client: socket.socket) -> None:
    fill(client)
    client.shutdown(socket.SHUT_WR)


def filled_and_deaf(client: socket.socket) -> None:
    fill(client)
    client.shutdown(socket.SHUT_RDWR)


def filled_and_reset(client: socket.socket) -> None:
    fill(client)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def urgent(client: socket.socket) -> None:
    client.send(b"abc")
    client.send(b"x", socket.MSG_OOB)
    client.send(b"y", socket.MSG_OOB)


def ended(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def urgent_and_ended(client: socket.socket) -> None:
    client.send(b"x", socket.MSG_OOB)
    client.shutdown(socket.SHUT_WR)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("reactor", REACTORS)
def test_no_state_of_connections_keeps_the_processor_busy(
    kind: str, reactor: str, tmp_path: Path
) -> None:
    """Hung up, failed, half-closed, paused, with urgent data: all at once."""
    states: list[Callable[[socket.socket], None]] = [
        fill, filled_and_ended, filled_and_deaf, filled_and_reset, urgent, ended, urgent_and_ended,
    ]  # fmt: skip
    listen = f"unix:{tmp_path}/s" if kind == "unix" else "tcp:0:interface=127.0.0.1"
    options = ("-l", listen, "--allow-half-open", "--idle-timeout", "3600", "--linger", "3600")
    with serving_alone(*options, "--stall-timeout", "0", reactor=reactor) as server:
        clients = []
        try:
            for bring in states:
                client = connect(
                    str(tmp_path / "s") if kind == "unix" else ("127.0.0.1", server.port)
                )
                clients.append(client)
                bring(client)
            server.wait_lines("Client connection", len(states))
            wait_until(lambda: stays_idle(server), 60)  # once all of it has been answered
            assert stays_idle(server)
        finally:
            for client in clients:
                client.close()
