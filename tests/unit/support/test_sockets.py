"""What the tests' own sockets report of their peer."""

from __future__ import annotations

import socket
from threading import Timer

import pytest

from tests.support.sockets import connect, receive_exactly, send_as_one_read, unread_by_peer
from tests.support.waiting import wait_until, wait_until_settled


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_bytes_that_the_peer_has_not_read_are_counted(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError as error:
        pytest.skip(f"cannot listen on {host}: {error}")
    with listener, connect(listener.getsockname()[:2]) as client:
        peer, _ = listener.accept()
        with peer:
            client.sendall(b"12345")
            wait_until(lambda: unread_by_peer(client) == 5)
            assert receive_exactly(peer, 3) == b"123"
            assert unread_by_peer(client) == 2
            assert receive_exactly(peer, 2) == b"45"
            assert unread_by_peer(client) == 0


def test_what_is_sent_as_one_read_is_read_before_the_call_returns() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, connect(listener.getsockname()) as client, listener.accept()[0] as peer:
        read: list[bytes] = []
        later = Timer(0.05, lambda: read.append(peer.recv(10)))
        later.start()
        send_as_one_read(client, b"one")
        later.join()
    assert read == [b"one"]


def test_a_value_has_settled_only_when_it_stays_the_same() -> None:
    values = iter([1, 1, 2, 2, 2])
    seen: list[int] = []

    def value() -> int:
        seen.append(next(values))
        return seen[-1]

    wait_until_settled(value, polls=3)
    assert seen == [1, 1, 2, 2, 2]
