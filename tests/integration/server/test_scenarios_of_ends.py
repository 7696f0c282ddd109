"""The thirty scenarios: from half-open connections on."""

from __future__ import annotations

import re
import signal
import socket
import time
from contextlib import closing

import pytest
import pytest_twisted
from twisted.internet import reactor

from echosvc import EchoFactory, EchoProtocol, Outcome
from tests.support.commands import require_ipv6, run_client
from tests.support.payload import MIB
from tests.support.process import TWISTD, Process, need, running
from tests.support.reactor import in_thread, serving, until, within
from tests.support.scenarios import (
    ERROR,
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
from tests.support.sockets import (
    connect,
    exchange,
    receive_all,
    receive_exactly,
    reset,
    send_as_one_read,
)
from tests.support.waiting import LIMIT, wait_until

REFUSED = ConnectionRefusedError, ConnectionResetError


def half_open_client(address: tuple[str, int]) -> None:
    with connect(address) as client:
        client.sendall(b"hi")
        finished = time.monotonic()
        finish(client)
        assert receive_exactly(client, 11) == b"Sending: hi"
        assert receive_all(client) == b"bye"
        assert time.monotonic() - finished >= 0.295


@pytest_twisted.ensureDeferred
async def test_16_half_open(peer: Peer) -> None:
    """The application goes on after the client's FIN, and ends when it wants."""
    if peer.kind == "node":
        server = peer.start("--allow-half-open", "--farewell", "bye")
        await in_thread(half_open_client, ("127.0.0.1", server.port))
        assert gone(server) == Gone("finished", 2, 14, 0)
        return

    ends = []

    class Farewell(EchoProtocol):
        def peer_ended(self) -> None:
            reactor.callLater(0.3, self.say_bye)

        def say_bye(self) -> None:
            self.write(b"bye")
            self.finish()

        def ended(self, outcome: Outcome) -> None:
            ends.append((outcome, self.bytes_in, self.bytes_out))

    factory = EchoFactory(allow_half_open=True, log="quiet")
    factory.protocol = Farewell
    async with serving(factory) as address:
        await in_thread(half_open_client, address)
        await within(factory.when_idle())
    assert ends == [(Outcome.CLOSED, 2, 14)]


def unread_client(address: tuple[str, int]) -> None:
    """Send 20,000 bytes, then, late and slowly, take 4,000,000 and the FIN."""
    with connect(address, receive_buffer=SMALL_BUFFER) as client:
        client.sendall(bytes(20_000))
        assert read_slowly(client) == b"x" * 4_000_000


@pytest_twisted.ensureDeferred
async def test_17_end_with_bytes_of_the_client_unread(peer: Peer) -> None:
    """A plain close would reset the connection, and the client lose what was on its way."""
    if peer.kind == "node":
        server = peer.start("--discard", "--end-with", "4000000", "--idle-timeout", "0")
        await in_thread(unread_client, ("127.0.0.1", server.port))
        assert gone(server) == Gone("finished", 20_000, 4_000_000, 0)
        return

    ends = []

    class Abrupt(EchoProtocol):
        def opened(self) -> None:
            reactor.callLater(0.2, self.say_it)

        def say_it(self) -> None:
            assert self.bytes_in == 0
            self.write(b"x" * 4_000_000)
            self.finish()

        def ended(self, outcome: Outcome) -> None:
            ends.append((outcome, self.bytes_in, self.bytes_out))

    factory = EchoFactory(pause_on_connect=True, log="quiet")
    factory.protocol = Abrupt
    async with serving(factory) as address:
        await in_thread(unread_client, address)
        await within(factory.when_idle())
    assert ends == [(Outcome.CLOSED, 20_000, 4_000_000)]


def test_18_client_resets(peer: Peer) -> None:
    server = peer.start()
    with server.connect() as client:
        client.sendall(b"hello")
        assert receive_exactly(client, 14) == b"Sending: hello"
        reset(client)
    assert gone(server) == Gone("reset", 5, 14, 0)
    assert exchange(("127.0.0.1", server.port), b"next") == b"Sending: next"
    gone(server, 2)
    assert len(server.matching(ERROR)) == 1


def test_19_client_resets_while_the_server_is_paused(peer: Peer) -> None:
    server = peer.start("--idle-timeout", "0", node=("--pause",))
    with server.connect(receive_buffer=SMALL_BUFFER) as client:
        assert send_until_stalled(client, payload(24 * MIB)) < 24 * MIB
        reset(client)
    left = gone(server)
    assert (left.outcome, left.remaining) == ("reset", 0)
    assert exchange(("127.0.0.1", server.port), b"next") == b"Sending: next"
    gone(server, 2)
    assert len(server.matching(ERROR)) == 1


@pytest_twisted.ensureDeferred
async def test_19_client_resets_while_the_application_reads_nothing() -> None:
    """Nothing is read and nothing waits to be sent: the reactor alone would never notice."""
    ends = []

    class Noted(EchoProtocol):
        def ended(self, outcome: Outcome) -> None:
            ends.append(outcome)

    factory = EchoFactory(pause_on_connect=True, idle_timeout=0, log="quiet")
    factory.protocol = Noted
    async with serving(factory) as address:
        client = await in_thread(connect, address)
        await until(lambda: factory.accepted)
        reset(client)
        await until(lambda: ends)
    assert ends == [Outcome.RESET]


def refused(port: int) -> bool:
    try:
        connect(("127.0.0.1", port)).close()
    except REFUSED:
        return True
    return False


def test_20_stop_with_a_live_connection(peer: Peer) -> None:
    server = peer.start("--drain", "30", "--idle-timeout", "0")
    port = server.port
    with server.connect() as client:
        server.wait_line("Client connection")
        server.signal(signal.SIGTERM)
        wait_until(lambda: refused(port), 2)
        client.sendall(b"hello")
        assert receive_exactly(client, 14) == b"Sending: hello"
        assert server.popen.poll() is None
        assert not server.matching("Server Terminated")
    assert server.wait(10) == (0 if peer.kind == "node" else -signal.SIGTERM)
    assert len(server.matching("Server Terminated")) == 1


def refused_start(*options: str) -> list[str]:
    """What a server says that cannot start."""
    with closing(Process([*TWISTD, "echosvc", *options])) as process:
        assert process.wait() == 1
        return process.lines


def test_21_second_server_on_the_port() -> None:
    with running("--idle-timeout", "0") as server, server.connect() as client:
        place = f"127.0.0.1:{server.port}"
        (line,) = refused_start("--listen", f"tcp:{server.port}:interface=127.0.0.1")
        assert line.startswith(f"echosvc: cannot listen on {place}: EADDRINUSE")
        client.sendall(b"hello")
        assert receive_exactly(client, 14) == b"Sending: hello"
        assert exchange(("127.0.0.1", server.port), b"new") == b"Sending: new"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_22_every_way_to_this_machine(peer: Peer, host: str) -> None:
    """One listener serves IPv4 and IPv6. Node shows IPv4 peers as IPv6, ours as they are."""
    require_ipv6()
    server = peer.start(host="::")
    assert server.listeners[0]["address"] == "::"
    with socket.create_connection((host, server.port), LIMIT) as client:
        own, port = client.getsockname()[:2]
        client.sendall(b"hello")
        finish(client)
        assert receive_all(client) == b"Sending: hello"
    if ":" in own:
        shown = f"[{own}]:{port}"
    else:
        shown = f"[::ffff:{own}]:{port}" if peer.kind == "node" else f"{own}:{port}"
    assert server.wait_line("Client connection").endswith(f" remote = {shown}")


@pytest.mark.parametrize("kind", ["tcp", "tcp6"])
def test_22_listener_with_escaped_colons(kind: str) -> None:
    """As Twisted's documentation writes it; tcp6 is IPv6 alone."""
    require_ipv6()
    with running("--listen", rf"{kind}:0:interface=\:\:") as server:
        assert server.listeners[0]["address"] == "::"
        assert exchange(("::1", server.port), b"hello") == b"Sending: hello"
        if kind == "tcp":
            assert exchange(("127.0.0.1", server.port), b"hello") == b"Sending: hello"
        else:
            with pytest.raises(ConnectionRefusedError):
                connect(("127.0.0.1", server.port))


def keep_alive_timer(port: int) -> float | None:
    """Seconds until the next probe on the server's side of its connection, as ss says."""
    with closing(Process([need("ss"), "-tnoH", f"sport = :{port}"])) as process:
        assert process.wait() == 0
        found = re.search(r"timer:\(keepalive,(\d+)(?:sec|\.(\d+)ms)", "\n".join(process.lines))
    return float(f"{found[1]}.{found[2] or 0}") if found else None


def test_23_keep_alive(peer: Peer) -> None:
    """ss writes 4.784 seconds as "4.784ms", five as "5sec"."""
    need("ss")
    server = peer.start("--keep-alive", "5")
    with server.connect():
        server.wait_line("Client connection")
        wait_until(lambda: 3 <= (keep_alive_timer(server.port) or 0) <= 5.1)


def test_23_no_keep_alive_where_it_is_off(peer: Peer) -> None:
    need("ss")
    server = peer.start("--keep-alive", "0")
    with server.connect() as client:
        client.sendall(b"hello")
        assert receive_exactly(client, 14) == b"Sending: hello"
        assert keep_alive_timer(server.port) is None


def paused_client(address: tuple[str, int]) -> None:
    begun = time.monotonic()
    with connect(address) as client:
        client.sendall(b"hello")
        assert receive_exactly(client, 14) == b"Sending: hello"
        assert time.monotonic() - begun >= 0.895


@pytest_twisted.ensureDeferred
async def test_24_paused_on_connect(peer: Peer) -> None:
    """Nothing is read before the resume at 0.9 s, but the idle time-out runs from 0 s."""
    if peer.kind == "node":
        server = peer.start(node=("--resume-after", "900"))
        await in_thread(paused_client, ("127.0.0.1", server.port))
        gone(server)
        events = [line[:12] for line in server.matching(f"{TIMED_OUT}|Received data")]
        assert events == ["Socket Timed", "Received dat"]
        return

    events = []

    class Late(EchoProtocol):
        def opened(self) -> None:
            reactor.callLater(0.9, self.go_on)

        def go_on(self) -> None:
            events.append("resume")
            self.resume()

        def idle(self, seconds: float) -> None:
            events.append("idle")
            assert seconds >= 0.5
            assert self.bytes_in == 0

        def reply(self, message: bytes) -> bytes:
            events.append("reply")
            return super().reply(message)

    factory = EchoFactory(pause_on_connect=True, log="quiet")
    factory.protocol = Late
    async with serving(factory) as address:
        await in_thread(paused_client, address)
        await within(factory.when_idle())
    assert events == ["idle", "resume", "reply"]


def test_25_unix_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Removed by a stop, taken over from the dead, refused where one lives."""
    path = tmp_path_factory.mktemp("unix") / "echo"
    listen = "--listen", f"unix:{path}"
    with running(*listen) as server:
        assert server.listeners == [{"path": str(path)}]
        assert exchange(str(path), b"hello") == b"Sending: hello"
        server.stop()
    assert not path.exists()
    with running(*listen) as server:
        server.signal(signal.SIGKILL)
        server.wait()
    assert path.is_socket()
    with running(*listen), connect(str(path)) as client:
        (line,) = refused_start(*listen)
        assert "EADDRINUSE" in line
        assert str(path) in line
        client.sendall(b"hello")
        assert receive_exactly(client, 14) == b"Sending: hello"
        assert exchange(str(path), b"taken over") == b"Sending: taken over"


def test_26_port_0(peer: Peer) -> None:
    """Whoever has read the line with the real port can connect."""
    ports = set()
    for _ in range(2):
        server = peer.start()
        ports.add(server.port)
        connect(("127.0.0.1", server.port)).close()
    assert 0 not in ports
    assert len(ports) == 2


def test_27_no_server() -> None:
    with socket.socket() as reserved:  # bound, so nobody else's, and not listening
        reserved.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{reserved.getsockname()[1]}"
        ended = run_client("send", "--to", f"tcp:{place}", "hello")
    assert ended == (1, "", f"Socket Error: connect ECONNREFUSED {place}\n")


def test_27_no_server_on_the_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("unix") / "nobody"
    ended = run_client("send", "--to", f"unix:{path}", "hello")
    assert ended == (1, "", f"Socket Error: connect ENOENT {path}\n")


def test_28_three_named_clients() -> None:
    with running() as server:
        status, out, err = run_client("demo", "--to", f"tcp:127.0.0.1:{server.port}")
        assert (status, err) == (0, "")
        replies = [line for line in out.splitlines() if "From Server" in line]
        assert sorted(replies) == [
            "Dwarves From Server: Sending: More Axes",
            "Elves From Server: Sending: More Arrows",
            "Hobbits From Server: Sending: More Pipe Weed",
        ]
        lines = server.wait_lines("Client disconnected", 3)
        counts = [int(re.search(r"Remaining Connections: (\d)$", line)[1]) for line in lines]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] == 0


def test_29_every_message_once() -> None:
    """Small ones, then megabytes, to a slow reader: a drain repeats nothing."""
    small = b"".join(b"message %d\n" % number for number in range(12))
    data = small + payload(6 * MIB)
    with running("--idle-timeout", "0") as server:
        with server.connect(receive_buffer=SMALL_BUFFER) as client:
            for line in small.splitlines(keepends=True):
                send_as_one_read(client, line)
            stream = converse(client, data[len(small) :], read_slowly)
        assert unprefixed(stream) == data
        assert gone(server) == Gone("finished", len(data), len(stream), 0)


def test_30_greeting_and_discard(peer: Peer) -> None:
    server = peer.start("--greeting", "Hello", "--discard", "--log", "messages")
    with server.connect() as client:
        assert receive_exactly(client, 5) == b"Hello"
        port = client.getsockname()[1]
        client.sendall(b"some data \r\n")
        finish(client)
        assert receive_all(client) == b""
    line = server.wait_line("Received data")
    assert line.endswith(
        f"Received data from client on port {port}: 'some data \\r\\n'"
        " Bytes received: 12 Bytes sent: 5"
    )
    assert gone(server) == Gone("finished", 12, 5, 0)
