"""A relay whose listener accepts nobody, or refuses, for the time of a fault."""

from __future__ import annotations

import socket

from tests.support.relayed import Relayed, relayed
from tests.support.sockets import receive_exactly
from tests.support.waiting import wait_until

#: Seconds that are long enough to be seen, and short enough for a test.
SHORT = 0.2


def attempt(port: int, seconds: float) -> str:
    """What becomes of an attempt to connect."""
    with socket.socket() as client:
        client.settimeout(seconds)
        try:
            client.connect(("127.0.0.1", port))
        except OSError as error:
            return type(error).__name__
        return "connected"


def test_a_full_accept_queue_answers_nobody_until_the_fault_is_removed() -> None:
    with relayed("accept=never") as path:
        assert attempt(path.port, SHORT) == "TimeoutError"
        path.call(path.relay.change, None)
        client, server = path.pair()
        client.sendall(b"now")
        assert receive_exactly(server, 3) == b"now"
        assert path.call(lambda: path.relay.plan.accepted) == 1


def test_a_listener_refuses_for_the_time_of_the_fault_and_listens_again() -> None:
    with relayed("accept=refuse") as path:
        wait_until(lambda: attempt(path.port, SHORT) == "ConnectionRefusedError")
        path.call(path.relay.change, "accept=refuse,start=60s")
        client, server = path.pair()
        client.sendall(b"now")
        assert receive_exactly(server, 3) == b"now"


def test_a_listener_that_refuses_and_listens_in_one_turn_listens() -> None:
    def twice(path: Relayed) -> None:
        for faults in (None, "accept=refuse", None):
            path.relay.change(faults)

    with relayed("accept=never") as path:
        path.call(twice, path)
        wait_until(lambda: attempt(path.port, SHORT) == "connected")
        assert path.counts() == {"accept": 2}


def test_a_listener_waits_for_its_address_while_another_has_it() -> None:
    with relayed("accept=refuse") as path:
        wait_until(lambda: attempt(path.port, SHORT) == "ConnectionRefusedError")
        with socket.create_server(("127.0.0.1", path.port)):
            path.call(path.relay.change, None)
        wait_until(lambda: attempt(path.port, SHORT) == "connected")


def test_a_listener_changes_by_itself_when_the_time_has_come() -> None:
    with relayed("accept=refuse,stop=300ms") as path:
        wait_until(lambda: attempt(path.port, SHORT) == "connected")
