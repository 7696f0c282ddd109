"""A server with faults on purpose, seen by plain sockets."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.payload import payload
from tests.support.process import SERVE, Server, Serving, environment
from tests.support.sockets import half_close, last_word, receive_all, receive_exactly
from tests.support.tls_files import Files, context
from tests.support.waiting import LIMIT


@contextmanager
def served(*faults: str, options: tuple[str, ...] = ()) -> Iterator[Server]:
    """A server with these faults, which sends every byte back."""
    given = [f"--fault={fault}" for fault in faults]
    server = Serving("--prefix", "", *options, *given)
    try:
        yield server
    finally:
        server.close()


def test_a_fault_happens_at_its_byte_and_is_logged() -> None:
    stream = payload(50_000)
    with served("close,at=12345", options=("--seed=s1",)) as server, server.connect() as client:
        client.sendall(stream)
        assert receive_all(client) == stream[:12345]
        server.wait_line(r"Fault: close,at=12345 connection = 1 direction = down offset = 12345$")
        assert server.matching(r"Faults on purpose: close,at=12345 seed = s1$")


def test_faults_of_time_delay_and_leave_every_byte() -> None:
    million = payload(1_000_000)
    with served("latency=100ms", "segments=4000") as server, server.connect() as client:
        begun = time.monotonic()
        client.sendall(b"x")
        assert receive_exactly(client, 1) == b"x"
        assert time.monotonic() - begun >= 0.2 - 0.01  # there and back
        client.sendall(million[:200_000])
        assert receive_exactly(client, 200_000) == million[:200_000]
        half_close(client)
        assert receive_all(client) == b""


def test_a_reset_on_an_idle_connection_is_a_reset() -> None:
    with served("reset,after=200ms") as server, server.connect() as client:
        assert last_word(client) == "ECONNRESET"


def test_whom_a_fault_does_not_concern_is_served() -> None:
    with served("accept=close,first=1") as server:
        with server.connect() as client:
            assert last_word(client) == "EOF"
        with server.connect() as client:
            client.sendall(b"x")
            assert receive_exactly(client, 1) == b"x"


def test_a_listener_refuses_and_the_server_does_not_end() -> None:
    with served("accept=refuse,stop=1s") as server, ExitStack() as stack:
        with pytest.raises(ConnectionRefusedError):
            stack.enter_context(server.connect())
        client = stack.enter_context(connected(server))
        client.sendall(b"x")
        assert receive_exactly(client, 1) == b"x"
        client.close()
        assert server.stop() == 0


def connected(server: Server) -> socket.socket:
    """A connection, as soon as the server accepts one."""
    while True:
        try:
            return server.connect()
        except ConnectionRefusedError:
            time.sleep(0.05)  # only between two attempts


def test_faults_are_within_tls_and_the_peers_name_and_address_are_known(tmp_path: Path) -> None:
    files = Files(tmp_path)
    listen = f"--listen=ssl:0:interface=127.0.0.1:privateKey={files.server}"
    with (
        served("drop=1,at=2", options=(listen, "--prefix", "{tls_version} {peer}: ")) as server,
        server.connect() as plain,
        context().wrap_socket(plain) as client,
    ):
        whole = f"TLSv1.3 127.0.0.1:{client.getsockname()[1]}: hello".encode()
        client.sendall(b"hello")
        assert receive_exactly(client, len(whole) - 1) == whole[:2] + whole[3:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fault=latency=5x"], "--fault: 'latency=5x': character 9: time must "),
        (["--seed=1"], "--seed: is for --fault"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(options: list[str], message: str) -> None:
    done = subprocess.run(
        [*SERVE, *options],
        capture_output=True, text=True, timeout=LIMIT, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"echosvc: {message}")
    assert done.stderr.count("\n") == 1
