"""``echosvc relay`` as a user starts it, seen by plain sockets."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import ECHOSVC, Process, Server, environment
from tests.support.sockets import connect, exchange, half_close, receive_all, receive_exactly
from tests.support.tls_files import Files, context
from tests.support.waiting import LIMIT

LISTENING = r"relay listening on (\S+), to (\S+), seed (\S+)"


@contextmanager
def relay(*options: str, listen: str = "127.0.0.1:0") -> Iterator[tuple[Process, int]]:
    """The command, once it listens, and its port."""
    process = Process([*ECHOSVC, "relay", listen, *options])
    try:
        line = process.wait_line("relay listening on ")
        yield process, int(re.search(r":(\d+), to ", line)[1])
    finally:
        process.close()


@contextmanager
def server() -> Iterator[tuple[socket.socket, str]]:
    """A listener, and how the command line names it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(LIMIT)
        yield connection


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_relays_with_its_faults_says_so_and_ends_by_a_signal(number: int) -> None:
    with (
        server() as (listener, target),
        relay(target, "--fault", "drop=1,at=2", "--fault=close,at=4", "--seed=s1") as (
            process,
            port,
        ),
        connect(("127.0.0.1", port)) as client,
        accepted(listener) as peer,
    ):
        client.sendall(b"up")
        assert receive_exactly(peer, 2) == b"up"
        peer.sendall(b"abcdefgh")
        assert receive_all(client) == b"abde"
        process.wait_line(r"#1 fault drop=1,at=2 down at 2$")
        process.wait_line(r"#1 fault close,at=4 down at 4$")
        assert process.wait_line(LISTENING).endswith("seed s1")
        process.signal(number)
        assert process.wait() == 0


def test_messages_are_logged_escaped_with_their_direction_and_ends() -> None:
    with (
        server() as (listener, target),
        relay(target, "--log=messages") as (process, port),
        connect(("127.0.0.1", port)) as client,
        accepted(listener) as peer,
    ):
        process.wait_line(rf"#1 accepted 127\.0\.0\.1:{client.getsockname()[1]}$")
        client.sendall(b"hello\n\x1b")
        half_close(client)
        assert receive_all(peer) == b"hello\n\x1b"
        peer.sendall(b"ok")
        half_close(peer)
        assert receive_all(client) == b"ok"
        process.wait_line(r"#1 ended$")
        assert process.matching(r"#1 up 7 'hello\\n\\x1b'$")
        assert process.matching(r"#1 up FIN$")
        assert process.matching(r"#1 down 2 'ok'$")
        assert process.matching(r"#1 down FIN$")


def test_a_proxy_header_has_the_addresses_of_the_client() -> None:
    with (
        server() as (listener, target),
        relay(target, "--send-proxy=v1") as (_, port),
        connect(("127.0.0.1", port)) as client,
        accepted(listener) as peer,
    ):
        client.sendall(b"x")
        own = client.getsockname()[1]
        header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n".encode()
        assert receive_exactly(peer, len(header) + 1) == header + b"x"


def test_tls_on_either_side_keeps_bytes_faults_and_ends(tmp_path: Path) -> None:
    files = Files(tmp_path)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={files.server}"
    target = f"--listen=ssl:0:interface=127.0.0.1:privateKey={files.server}"
    server = Server(target, "--log=connections")
    try:
        options = ("--insecure", "--fault=drop=1,at=9", f"tls:localhost:{server.port}")
        with (
            relay(*options, listen=listen) as (process, port),
            connect(("127.0.0.1", port)) as plain,
            context().wrap_socket(plain) as client,
        ):
            client.sendall(b"hello")
            assert receive_exactly(client, 13) == b"Sending: ello"
            process.wait_line("NOTHING IS VERIFIED")
        server.wait_line("Client disconnected")
    finally:
        server.close()


def test_a_server_that_cannot_be_reached_is_named() -> None:
    with server() as (listener, target):
        listener.close()
        with relay(target) as (process, port):
            with pytest.raises(ConnectionResetError):
                exchange(("127.0.0.1", port), b"x")
            process.wait_line(r"#1 no connection to the server: .*ECONNREFUSED")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["0", "8107", "--fault", "latency=5x"], "--fault: 'latency=5x': character 9: time must "),
        (["0", "8107", "--fault", "close"], "--fault: 'close': one of after, at and messages "),
        (["x:y:z", "8107"], "LISTEN 'x:y:z': "),
        (["0", "tls:h:1", "--ca", "/absent"], "--ca: "),
        (["0", "8107", "--insecure"], "--insecure: is for tls: endpoints"),
        ([], "the following arguments are required: LISTEN"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(options: list[str], message: str) -> None:
    done = subprocess.run(
        [*ECHOSVC, "relay", *options],
        capture_output=True, text=True, timeout=LIMIT, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"echosvc: {message}")
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_named() -> None:
    with server() as (_, target):
        done = subprocess.run(
            [*ECHOSVC, "relay", target, "8107"],
            capture_output=True, text=True, timeout=LIMIT, env=environment(), check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"echosvc: {target}: ")
    assert done.stderr.count("\n") == 1


def test_a_fault_of_tcp_listeners_is_refused_on_a_unix_socket(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ECHOSVC, "relay", f"unix:{tmp_path}/relay", "8107", "--fault=accept=refuse"],
        capture_output=True, text=True, timeout=LIMIT, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "accept=refuse is for TCP listeners" in done.stderr
    assert done.stderr.count("\n") == 1
