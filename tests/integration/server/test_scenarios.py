"""The thirty scenarios of the programs that this service replaces.

Where Node behaves the same, a Node server is put through the scenario as well, so
that the expectation itself is checked. A bare sleep here paces what the client does;
what comes of it is always waited for. How late a deadline may be met is not asked here,
where the machine may be late itself, but of an injected clock (test_connection, test_sweep).
"""

from __future__ import annotations

import fcntl
import random
import re
import select
import signal
import socket
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import NamedTuple

import pytest
import pytest_twisted
from twisted.internet import reactor

from echosvc import EchoFactory, EchoProtocol, Outcome
from tests.programs.test_node import require_ipv6, run_client
from tests.support.process import (
    LIMIT,
    TWISTD,
    NodeServer,
    Process,
    Server,
    connect,
    exchange,
    in_thread,
    need,
    receive_all,
    receive_exactly,
    reset,
    running,
    serving,
    until,
    wait_until,
    within,
)

PREFIX = b"Sending: "
MIB = 1 << 20
#: So small that the server soon has to wait for the reader.
SMALL_BUFFER = 16384
UTF8 = ("--encoding", "utf-8")
TIMED_OUT = "Socket Timed out"
ERROR = "Socket Error"
REFUSED = ConnectionRefusedError, ConnectionResetError
#: For a server of ours: the most by which its memory may grow, whatever a client does.
MEMORY = 4 * MIB
#: The most that a Node server which pauses may have queued.
QUEUE = 256 << 10


class Peer:
    """Starts servers of one kind, and ends them.

    :ivar early: by how much a time-out may seem early: Node counts whole milliseconds.
    """

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.kind = kind
        self.early = 0.005 if kind == "node" else 0.0
        self._stack = stack

    def start(self, *options: str, host: str = "127.0.0.1", node: tuple[str, ...] = ()) -> Server:
        """
        :param options: of both kinds.
        :param node: options of the Node server alone.
        """
        if self.kind == "node":
            server: Server = NodeServer("--host", host, *options, *node)
        else:
            listen = "tcp:0" if host == "::" else f"tcp:0:interface={host}"
            server = Server("--listen", listen, *options)
        self._stack.callback(server.close)
        return server


@pytest.fixture(params=["echosvc", pytest.param("node", marks=pytest.mark.programs)])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    with ExitStack() as stack:
        yield Peer(request.param, stack)


class Gone(NamedTuple):
    """What a "Client disconnected" line says."""

    outcome: str
    bytes_in: int
    bytes_out: int
    remaining: int


def gone(server: Server, count: int = 1) -> Gone:
    """Wait until ``count`` clients have left; what was said of the last."""
    line = server.wait_lines("Client disconnected", count)[count - 1]
    outcome, *numbers = re.search(
        r"outcome = (\S+) bytes in = (\d+) bytes out = (\d+) .*Remaining Connections: (\d+)$", line
    ).groups()
    return Gone(outcome, *map(int, numbers))


def most_queued(server: Server) -> int:
    line = server.wait_line("Client disconnected")
    return int(re.search(r"most queued = (\d+)", line)[1])


def payload(size: int) -> bytes:
    """Bytes without a pattern: whatever is lost, repeated or moved shows."""
    data = random.Random(size).randbytes(size)
    assert PREFIX not in data
    return data


def unprefixed(stream: bytes) -> bytes:
    return stream.replace(PREFIX, b"")


def finish(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def converse(client: socket.socket, data: bytes, read: Callable[[socket.socket], bytes]) -> bytes:
    """Send ``data`` and FIN in a thread while ``read`` reads."""

    def send() -> None:
        client.sendall(data)
        finish(client)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        stream = read(client)
        sending.result(LIMIT)
    return stream


def read_slowly(client: socket.socket) -> bytes:
    """Nothing for a while, then in small pieces, everything until the FIN."""
    time.sleep(0.5)
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
        time.sleep(0.001)
    return b"".join(pieces)


def send_until_stalled(client: socket.socket, data: bytes) -> int:
    """Send all of ``data``, or until nothing was taken for half a second; say how much went."""
    sent = 0
    client.setblocking(False)
    view = memoryview(data)
    while sent < len(data) and select.select([], [client], [], 0.5)[1]:
        sent += client.send(view[sent : sent + 65536])
    client.settimeout(LIMIT)
    return sent


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
            time.sleep(0.05)
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
        time.sleep(0.15)
        client.sendall(middle)
        time.sleep(0.15)
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
            client.sendall(b"too")
            time.sleep(0.1)
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
        time.sleep(0.3)
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
        wait_until(lambda: keep_alive_timer(server.port))
        assert 3 <= keep_alive_timer(server.port) <= 5.1


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
                client.sendall(line)
                time.sleep(0.005)
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
