"""The thirty scenarios of the programs that this service replaces.

Where Node behaves the same, a Node server is put through the scenario as well, so
that the expectation itself is checked. A bare sleep here paces what the client does;
what comes of it is always waited for. How late a deadline may be met is not asked here,
where the machine may be late itself, but of an injected clock (test_connection, test_sweep).
"""

from __future__ import annotations

import fcntl
import re
import socket
import termios
import time

import pytest

from tests.support.payload import MIB
from tests.support.process import Server, running
from tests.support.scenarios import (
    ERROR,
    PREFIX,
    SMALL_BUFFER,
    TIMED_OUT,
    Gone,
    Peer,
    converse,
    finish,
    gone,
    payload,
    read_slowly,
    send_until_stalled,
    unprefixed,
)
from tests.support.sockets import exchange, receive_all, receive_exactly, reset, send_as_one_read

UTF8 = ("--encoding", "utf-8")


#: For a server of ours: the most by which its memory may grow, whatever a client does.
MEMORY = 4 * MIB


#: The most that a Node server which pauses may have queued.
QUEUE = 256 << 10


def most_queued(server: Server) -> int:
    line = server.wait_line("Client disconnected")
    return int(re.search(r"most queued = (\d+)", line)[1])


def pause_until(moment: float) -> None:
    """Wait until ``time.monotonic()`` is ``moment``: part of what a client does."""
    time.sleep(max(0.0, moment - time.monotonic()))


def said_by_now(server: Server, client: socket.socket, pattern: str) -> list[str]:
    """The lines up to an exchange that is made now, on a connection that is open still."""
    count = len(server.matching("Received data"))
    client.sendall(b"still here?")
    assert receive_exactly(client, 20) == PREFIX + b"still here?"
    server.wait_lines("Received data", count + 1)
    return server.matching(pattern)


def test_01_data_then_fin(peer: Peer) -> None:
    server = peer.start()
    assert exchange(("127.0.0.1", server.port), b"hello") == b"Sending: hello"
    assert gone(server) == Gone("finished", 5, 14, 0)
    assert not server.matching(ERROR)


def test_02_fin_alone(peer: Peer) -> None:
    server = peer.start()
    assert exchange(("127.0.0.1", server.port), b"") == b""
    assert gone(server) == Gone("finished", 0, 0, 0)
    assert not server.matching(ERROR)


def test_03_three_messages(peer: Peer) -> None:
    """Apart, each has its prefix; back to back, TCP decides how many there are."""
    server = peer.start()
    with server.connect() as client:
        for message in (b"one", b"two", b"three"):
            client.sendall(message)
            expected = PREFIX + message
            assert receive_exactly(client, len(expected)) == expected
        finish(client)
        assert receive_all(client) == b""
    with server.connect() as client:
        for message in (b"one", b"two", b"three"):
            client.sendall(message)
        finish(client)
        stream = receive_all(client)
    assert unprefixed(stream) == b"onetwothree"
    assert stream.startswith(PREFIX)
    assert 1 <= stream.count(PREFIX) <= 3


def test_04_a_million_bytes_then_fin(peer: Peer) -> None:
    server = peer.start()
    data = payload(1_000_000)
    with server.connect() as client:
        stream = converse(client, data, receive_all)
    first, *pieces = stream.split(PREFIX)
    assert first == b""
    assert b"".join(pieces) == data
    assert len(stream) == len(data) + len(PREFIX) * len(pieces)
    assert max(map(len, pieces)) <= 65536
    assert gone(server) == Gone("finished", len(data), len(stream), 0)


def test_05_character_cut_by_reads(peer: Peer) -> None:
    """Three bytes of one character in three reads: the middle one is no event."""
    server = peer.start(*UTF8)
    first, middle, last = (bytes([byte]) for byte in "€".encode())
    with server.connect() as client:
        client.sendall(b"a" + first)
        assert receive_exactly(client, 10) == b"Sending: a"
        send_as_one_read(client, middle)
        client.sendall(last + b"b")
        finish(client)
        assert receive_all(client) == "Sending: €b".encode()
    assert gone(server).bytes_in == 5


def test_06_character_cut_by_the_end(peer: Peer) -> None:
    server = peer.start(*UTF8)
    stream = exchange(("127.0.0.1", server.port), b"a\xe2\x82")
    assert stream == "Sending: aSending: \ufffd".encode()
    assert gone(server) == Gone("finished", 3, 22, 0)


def test_07_bytes_that_are_no_text(peer: Peer) -> None:
    server = peer.start(*UTF8)
    stream = exchange(("127.0.0.1", server.port), b"\xff\xfeok\x80")
    assert stream == "Sending: \ufffd\ufffdok\ufffd".encode()


def test_08_all_bytes_come_back() -> None:
    with running() as server:
        every = bytes(range(256))
        assert exchange(("127.0.0.1", server.port), every) == PREFIX + every


def idle_seconds(line: str) -> float:
    """How long it was idle, as our server itself has measured."""
    return float(re.search(r"idle seconds = ([\d.]+)", line)[1])


def test_09_idle_is_reported_once(peer: Peer) -> None:
    server = peer.start("--log", "messages")
    begun = time.monotonic()
    with server.connect() as client:
        line = server.wait_line(TIMED_OUT)
        assert time.monotonic() - begun >= 0.5 - peer.early
        if peer.kind == "echosvc":
            assert idle_seconds(line) >= 0.5
        pause_until(begun + 1.8)
        assert len(said_by_now(server, client, TIMED_OUT)) == 1


def send_paced(client: socket.socket, begun: float, moments: tuple[float, ...]) -> float | None:
    """Send a byte at each of ``moments``; when the last was sent, or ``None`` if late."""
    before = begun
    for moment in moments:
        pause_until(begun + moment)
        if time.monotonic() - before > 0.36:
            return None
        before = time.monotonic()
        client.sendall(b".")
    return before


def test_10_activity_puts_the_time_out_off(peer: Peer) -> None:
    """A byte at 0.3 s and at 0.6 s, time-out 0.4 s: one report at 1.0 s."""
    for _ in range(3):  # again where this process itself was held up
        server = peer.start("--log", "messages", "--idle-timeout", "0.4")
        begun = time.monotonic()
        with server.connect() as client:
            last = send_paced(client, begun, (0.3, 0.6))
            if last is None:
                continue
            line = server.wait_line(TIMED_OUT)
            assert time.monotonic() - last >= 0.4 - peer.early
            if peer.kind == "echosvc":
                assert idle_seconds(line) >= 0.4
            assert receive_exactly(client, 20) == b"Sending: .Sending: ."
            pause_until(begun + 1.8)
            assert len(said_by_now(server, client, TIMED_OUT)) == 1
            return
    pytest.fail("this machine is too busy to send two bytes in time")


def test_11_idle_close_is_polite() -> None:
    """What comes after our FIN is read, not answered, and is no error."""
    with running("--idle-action", "close") as server:
        begun = time.monotonic()
        with server.connect() as client:
            assert client.recv(1) == b""
            assert time.monotonic() - begun >= 0.5
            send_as_one_read(client, b"too")
            client.sendall(b"late")
            finish(client)
            assert gone(server) == Gone("timed-out", 7, 0, 0)
            assert client.recv(1) == b""
        assert not server.matching(ERROR)
        assert len(server.matching(TIMED_OUT)) == 1


def test_12_idle_close_of_a_client_that_stays() -> None:
    with running("--idle-action", "close", "--linger", "0.6") as server:
        with server.connect() as client:
            assert client.recv(1) == b""
            assert not server.matching("Client disconnected")
            assert gone(server) == Gone("timed-out", 0, 0, 0)
            line = server.wait_line("Client disconnected")
        assert float(re.search(r"seconds = ([\d.]+)", line)[1]) >= 1.1
        assert not server.matching(ERROR)


def test_13_fin_while_megabytes_are_queued(peer: Peer) -> None:
    server = peer.start("--idle-timeout", "0", node=("--pause",))
    data = payload(16 * MIB)
    before = server.peak_memory()
    with server.connect(receive_buffer=SMALL_BUFFER) as client:
        stream = converse(client, data, read_slowly)
    assert unprefixed(stream) == data
    assert gone(server) == Gone("finished", len(data), len(stream), 0)
    assert not server.matching(ERROR)
    assert_bounded(peer, server, before)


def assert_bounded(peer: Peer, server: Server, before: int) -> None:
    """The server itself has queued little. Node's memory waits for its collector."""
    if peer.kind == "node":
        assert most_queued(server) < QUEUE
    else:
        assert server.peak_memory() - before < MEMORY


def test_14_client_that_never_reads(peer: Peer) -> None:
    server = peer.start("--idle-timeout", "0", node=("--pause",))
    address = "127.0.0.1", server.port
    assert exchange(address, b"before") == b"Sending: before"
    before = server.peak_memory()
    with server.connect(receive_buffer=SMALL_BUFFER) as client:
        assert send_until_stalled(client, payload(24 * MIB)) < 24 * MIB
        assert exchange(address, b"meanwhile") == b"Sending: meanwhile"
        reset(client)
    assert gone(server, 3).remaining == 0
    assert_bounded(peer, server, before)


def moved(client: socket.socket) -> tuple[bytes, bytes]:
    """What tells whether any byte got anywhere: how many wait to go, and to be read (tcp(7))."""
    waiting = (fcntl.ioctl(client, kind, bytes(4)) for kind in (termios.TIOCOUTQ, termios.FIONREAD))
    return next(waiting), next(waiting)


def read_up_to_now(server: Server) -> None:
    """Wait until the lines have come that the server has written by now."""
    gone_before = len(server.matching("Client disconnected"))
    assert exchange(("127.0.0.1", server.port), b"barrier") == b"Sending: barrier"
    gone(server, gone_before + 1)


def reports_while_nothing_moves(server: Server, client: socket.socket, reports: str) -> int:
    """How often it was reported in 2.5 s in which nothing got anywhere, the first that there are.

    On a busy machine the server may be idle before the client has sent all, and be told so.
    """
    for _ in range(10):
        read_up_to_now(server)
        before, said = moved(client), len(server.matching(reports))
        pause_until(time.monotonic() + 2.5)
        read_up_to_now(server)
        if moved(client) == before:
            return len(server.matching(reports)) - said
    pytest.fail("it goes on and on")


def test_15_stalled_client_is_reported_once(peer: Peer) -> None:
    server = peer.start()
    with server.connect(receive_buffer=SMALL_BUFFER) as client:
        begun = time.monotonic()
        send_until_stalled(client, payload(24 * MIB))
        own = f"{TIMED_OUT}.* remote = 127.0.0.1:{client.getsockname()[1]}\\b"
        line = server.wait_line(own)
        assert time.monotonic() - begun >= 0.5 - peer.early
        if peer.kind == "echosvc":
            assert idle_seconds(line) >= 0.5
        # None where it was reported already, one where it was not; then five periods have gone.
        assert reports_while_nothing_moves(server, client, own) <= 1
        reset(client)
