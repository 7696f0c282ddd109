"""A relay seen by plain sockets on both sides: what passes, and how it ends."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from echosvc.faults.spec import FaultSpec
from tests.support.payload import payload
from tests.support.relayed import Relayed, relayed
from tests.support.sockets import (
    half_close,
    last_word,
    push,
    receive_all,
    receive_exactly,
    reset,
)
from tests.support.waiting import wait_until

STREAM = payload(100_000)
#: Seconds that are long enough to be seen, and short enough for a test.
SHORT = 0.2


def is_silent(client: socket.socket) -> bool:
    """Whether nothing has come, no end either."""
    client.setblocking(False)
    try:
        return not client.recv(1) and False
    except BlockingIOError:
        return True
    finally:
        client.setblocking(True)


def end_at_once(path: Relayed) -> str:
    """How a connection ends that may end before the client knows that it was made."""
    try:
        return last_word(path.connect())
    except ConnectionResetError:
        return "ECONNRESET"


# -- without faults --------------------------------------------------------------------------------


def test_bytes_and_each_fin_pass_by_themselves() -> None:
    with relayed() as path:
        client, server = path.pair()
        client.sendall(STREAM)
        half_close(client)
        assert receive_all(server) == STREAM
        server.sendall(STREAM)
        assert receive_exactly(client, len(STREAM)) == STREAM
        half_close(server)
        assert receive_all(client) == b""
        wait_until(lambda: not path.open_connections())


def test_a_client_may_go_on_after_the_servers_fin() -> None:
    with relayed() as path:
        client, server = path.pair()
        half_close(server)
        assert receive_all(client) == b""
        client.sendall(STREAM)
        half_close(client)
        assert receive_all(server) == STREAM
        wait_until(lambda: not path.open_connections())


@pytest.mark.parametrize("from_client", [True, False], ids=["client", "server"])
def test_a_reset_passes_behind_the_bytes_before_it(from_client: bool) -> None:
    with relayed() as path:
        client, server = path.pair()
        sender, receiver = (client, server) if from_client else (server, client)
        sender.sendall(b"last")
        assert receive_exactly(receiver, 4) == b"last"
        reset(sender)
        assert last_word(receiver) == "ECONNRESET"
        wait_until(lambda: not path.open_connections())


def test_a_reset_passes_after_a_fin() -> None:
    with relayed() as path:
        client, server = path.pair()
        half_close(client)
        assert receive_all(server) == b""
        server.sendall(b"made")
        assert receive_exactly(client, 4) == b"made"
        reset(server)
        assert last_word(client) == "ECONNRESET"


def test_a_reset_is_seen_while_nobody_reads() -> None:
    with relayed() as path:
        client, server = path.pair()
        push(client)
        wait_until(lambda: not push(client))
        reset(client)
        wait_until(lambda: not path.open_connections())
        assert last_word(server) == "ECONNRESET"


def test_a_server_that_refuses_is_a_reset_for_the_client() -> None:
    with relayed() as path:
        path.refuse()
        assert end_at_once(path) == "ECONNRESET"
        wait_until(lambda: not path.open_connections())


def test_back_pressure_passes_and_loses_nothing() -> None:
    with relayed() as path:
        client, server = path.pair()
        sent = 0
        while taken := push(client, payload(1 << 20)[:61_440]):
            sent += taken
            time.sleep(0.05)  # what the relay reads meanwhile is looked at by the next push
        assert sent < 32 << 20, "the relay and two kernels hold no more"
        client.setblocking(True)
        half_close(client)
        assert len(receive_all(server)) == sent


def test_a_client_that_leaves_before_the_server_answers_ends_the_attempt() -> None:
    with relayed() as path:
        reset(path.connect())
        wait_until(lambda: not path.open_connections())


# -- ends ------------------------------------------------------------------------------------------


def ends(path: Relayed, data: bytes = STREAM) -> tuple[bytes, str, str]:
    """What a client gets of a stream, and how it and the server see the end."""
    client, server = path.pair()
    client.sendall(b"unread by the fault")
    threading.Thread(target=send_what_is_taken, args=(server, data)).start()
    got = b""
    try:
        while piece := client.recv(1 << 16):
            got += piece
        end = "EOF"
    except ConnectionResetError:
        end = "ECONNRESET"
    return got, end, last_word(server)


def send_what_is_taken(server: socket.socket, data: bytes) -> None:
    try:
        server.sendall(data)
    except OSError:  # the fault has ended it
        return


@pytest.mark.parametrize("size", [0, 1, 4096, 77_777])
@pytest.mark.parametrize(("kind", "end"), [("close", "EOF"), ("reset", "ECONNRESET")])
def test_an_end_at_an_offset_is_exact(kind: str, end: str, size: int) -> None:
    with relayed(FaultSpec(kind, at=size)) as path:
        got, seen, _ = ends(path)
        assert got == STREAM[:size]
        assert seen == end
        wait_until(lambda: not path.open_connections())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("messages=2", b""),
        ("messages=2,reply=before", b"first\n"),
        ("messages=2,reply=middle", b"first\nseco"),
        ("messages=2,reply=after", b"first\nsecond\n"),
    ],
)
def test_an_end_at_a_message_is_exact(fault: str, expected: bytes) -> None:
    with relayed(f"close,{fault}") as path:
        client, server = path.pair()
        client.sendall(b"1\n2\n3\n")
        asked = receive_exactly(server, 4)
        assert asked == b"1\n2\n"
        if "reply" in fault:
            server.sendall(b"first\nsecond\nthird\n")
        assert receive_all(client) == expected


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("close,after=200ms", "EOF"),
        ("reset,after=200ms", "ECONNRESET"),
        ("idle=200ms", "EOF"),
        ("idle=200ms,end=reset", "ECONNRESET"),
    ],
)
def test_an_idle_connection_ends_after_its_time_on_both_sides(fault: str, end: str) -> None:
    with relayed(fault) as path:
        begun = time.monotonic()
        client, server = path.pair()
        assert last_word(client) == end
        assert time.monotonic() - begun >= SHORT - 0.01
        assert last_word(server) == end


def test_silence_ends_nothing_and_passes_nothing() -> None:
    with relayed("idle=200ms,end=silence") as path:
        client, server = path.pair()
        path.happened("idle")
        server.sendall(b"lost")
        client.sendall(b"lost")
        half_close(server)
        wait_until(lambda: path.open_connections() == 1)
        assert is_silent(client)
        half_close(client)
        wait_until(lambda: not path.open_connections())


@pytest.mark.parametrize("from_client", [True, False], ids=["client", "server"])
def test_a_fin_may_close_both_directions(from_client: bool) -> None:
    with relayed("fin=close") as path:
        client, server = path.pair()
        half_close(client if from_client else server)
        assert last_word(client) == last_word(server) == "EOF"
        wait_until(lambda: not path.open_connections())


def test_a_fin_may_be_dropped() -> None:
    with relayed("fin=drop,direction=up") as path:
        client, server = path.pair()
        client.sendall(b"all")
        half_close(client)
        assert receive_exactly(server, 3) == b"all"
        path.happened("fin")
        assert is_silent(server)
        server.sendall(b"answer")
        half_close(server)
        assert receive_all(client) == b"answer"
        assert last_word(server) == "EOF"


def test_a_fin_may_come_late() -> None:
    with relayed("fin=late,time=200ms") as path:
        client, server = path.pair()
        begun = time.monotonic()
        half_close(client)
        assert receive_all(server) == b""
        assert time.monotonic() - begun >= SHORT - 0.01


@pytest.mark.parametrize("how", ["fin", "drop"])
def test_a_reset_may_be_hidden(how: str) -> None:
    with relayed(FaultSpec("rst", how=how)) as path:
        client, server = path.pair()
        server.sendall(b"made")
        assert receive_exactly(client, 4) == b"made"  # the relay has its connection, too
        reset(server)
        path.happened("rst")
        if how == "fin":
            assert last_word(client) == "EOF"
        else:
            assert is_silent(client)
            half_close(client)
            wait_until(lambda: not path.open_connections())


@pytest.mark.parametrize(("how", "end"), [("close", "EOF"), ("reset", "ECONNRESET")])
def test_a_connection_may_end_as_soon_as_it_is_accepted(how: str, end: str) -> None:
    with relayed(f"accept={how},first=1") as path:
        assert end_at_once(path) == end
        client, server = path.pair()
        client.sendall(b"second")
        assert receive_exactly(server, 6) == b"second"


def test_a_connection_may_be_accepted_and_left_in_silence() -> None:
    with relayed("accept=silence") as path:
        client = path.connect()
        client.sendall(STREAM)
        path.happened("accept")
        assert is_silent(client)


# -- time and bytes --------------------------------------------------------------------------------


def test_a_latency_is_of_its_direction_alone() -> None:
    with relayed("latency=200ms,direction=up") as path:
        client, server = path.pair()
        begun = time.monotonic()
        client.sendall(b"up")
        assert receive_exactly(server, 2) == b"up"
        assert time.monotonic() - begun >= SHORT - 0.01
        server.sendall(b"down")
        assert receive_exactly(client, 4) == b"down"
        assert path.counts() == {"latency": 1}


def test_a_rate_is_kept() -> None:
    with relayed("rate=100k,direction=down") as path:
        client, server = path.pair()
        begun = time.monotonic()
        server.sendall(STREAM[:30_720])
        assert receive_exactly(client, 30_720) == STREAM[:30_720]
        assert time.monotonic() - begun >= 0.3 - 0.01


def test_segments_arrive_one_by_one() -> None:
    with relayed("segments=3,pause=20ms,direction=down") as path:
        client, server = path.pair()
        server.sendall(b"abcdefgh")
        half_close(server)
        pieces = []
        while piece := client.recv(100):
            pieces.append(piece)
        assert b"".join(pieces) == b"abcdefgh"
        assert pieces[0] == b"abc"


@pytest.mark.parametrize(
    "faults",
    [
        ["latency=50ms,jitter=40ms"],
        ["rate=8M"],
        ["segments=1000,variation=999"],
        ["segments=500", "latency=20ms", "rate=16M", "buffer=2M", "greeting=50ms"],
    ],
)
def test_a_million_bytes_come_whole_through_harmless_faults(faults: list[str]) -> None:
    million = payload(1_000_000)
    with relayed(faults) as path:
        client, server = path.pair()
        threads = [
            threading.Thread(target=lambda each=each: (each.sendall(million), half_close(each)))
            for each in (client, server)
        ]
        for thread in threads:
            thread.start()
        got = {}
        reader = threading.Thread(target=lambda: got.update(up=receive_all(server)))
        reader.start()
        got["down"] = receive_all(client)
        for thread in (*threads, reader):
            thread.join()
        assert got["down"] == million
        assert got["up"] == million


def test_a_buffer_takes_what_nobody_reads() -> None:
    with relayed("buffer=64M") as path:
        client, _ = path.pair()
        sent = 0
        while sent < 40 << 20:
            taken = push(client)
            sent += taken
            if not taken:
                time.sleep(0.01)  # the relay reads it meanwhile
        assert path.counts() == {"buffer": 1}


# -- changes ---------------------------------------------------------------------------------------


def test_a_change_concerns_open_connections_and_lets_go_what_was_held() -> None:
    with relayed("stall=forever,at=2") as path:
        client, server = path.pair()
        server.sendall(b"abcd")
        assert receive_exactly(client, 2) == b"ab"
        path.happened("stall")
        path.call(path.relay.change, "drop=1")
        assert receive_exactly(client, 2) == b"cd"
        server.sendall(b"efg")
        assert receive_exactly(client, 2) == b"fg"


def test_faults_of_new_connections_leave_open_ones_alone() -> None:
    with relayed("drop=1,at=2") as path:
        client, server = path.pair()
        path.call(setattr, path.relay, "faults", "drop=2")
        server.sendall(b"abcd")
        assert receive_exactly(client, 3) == b"abd"
        client, server = path.pair()
        server.sendall(b"abcd")
        assert receive_exactly(client, 2) == b"cd"


def test_the_same_seed_concerns_the_same_connections() -> None:
    def concerned(seed: int) -> list[bool]:
        with relayed("close,at=0,share=50%", seed=seed) as path:
            found = []
            for _ in range(12):
                client, server = path.pair()
                server.sendall(b"x")
                found.append(client.recv(1) == b"")
            return found

    assert concerned(5) == concerned(5)
    assert 0 < sum(concerned(5)) < 12
