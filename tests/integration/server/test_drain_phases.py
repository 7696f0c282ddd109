"""The phases of a drain, in a process of its own."""

from __future__ import annotations

import signal
import time

from tests.support.process import refused, serving_alone
from tests.support.sockets import exchange, last_word, receive_all, receive_exactly
from tests.support.waiting import LIMIT, wait_until


def test_a_client_that_comes_during_the_delays_is_served() -> None:
    with serving_alone("--drain-delay", "1", "--unready-delay", "1") as server:
        started = time.monotonic()
        server.signal()
        address = ("127.0.0.1", server.port)
        assert exchange(address, b"early") == b"Sending: early"
        server.wait_line("Server not ready")
        assert time.monotonic() - started >= 1
        assert exchange(address, b"late") == b"Sending: late"
        assert server.wait() == 0
        assert time.monotonic() - started >= 2


def test_a_second_signal_ends_the_delays_too() -> None:
    with serving_alone("--drain-delay", "3600") as server, server.connect() as live:
        live.sendall(b"x")
        assert receive_exactly(live, 10) == b"Sending: x"
        server.signal()
        assert exchange(("127.0.0.1", server.port), b"x") == b"Sending: x"
        server.signal(signal.SIGINT)
        assert last_word(live) == "ECONNRESET"
        assert server.wait() == 0


def test_connections_end_one_after_the_other_and_each_by_fin() -> None:
    with serving_alone("--drain-spread", "1.5", "--drain", "30") as server:
        clients = [server.connect() for _ in range(4)]
        for client in clients:
            client.sendall(b"x")
            assert receive_exactly(client, 10) == b"Sending: x"
        server.signal()
        started, ends = time.monotonic(), []
        for client in clients:  # the oldest first
            assert receive_all(client) == b""
            ends.append(time.monotonic() - started)
            client.close()
        assert server.wait(LIMIT) == 0
        assert len(server.matching("outcome = drained")) == 4
        assert ends == sorted(ends)
        assert ends[0] < ends[-1] - 0.5, ends


def test_once_the_spread_begins_nobody_is_accepted() -> None:
    with serving_alone("--drain-spread", "3600") as server, server.connect() as live:
        live.sendall(b"x")
        receive_exactly(live, 10)
        server.signal()
        wait_until(lambda: refused(server))
        live.sendall(b"y")
        assert receive_exactly(live, 10) == b"Sending: y"
        server.signal()
        assert server.wait() == 0
