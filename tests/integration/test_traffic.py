"""The messages of a load, over real sockets, against the real server and through the relay."""

from __future__ import annotations

import socket
import time

import pytest

from echosvc.faults.spec import FaultSpec
from echosvc.probe.traffic.exchange import CLOSED, Exchange
from echosvc.probe.traffic.messages import Messages, Ring
from echosvc.probe.traffic.replies import ReplyFormat
from echosvc.probe.traffic.schedule import ClosedLoop
from echosvc.probe.traffic.tally import COUNTERS, Tally
from echosvc.wire.template import Template
from tests.support.stream_faults import stream_faults

pytest_plugins = ["echosvc.testing"]

COUNT, SIZE = 300, 64
#: The stream before the message that a fault hits.
BEFORE = 100 * SIZE


def run(port: int, framing: str, prefix: str, depth: int, size: int = SIZE) -> dict[str, int]:
    """Exchange messages with a server; return the counters of messages that are not 0."""
    replies = ReplyFormat(framing, Template.parse(prefix))
    ring = Ring(3, size, replies.excluded, lines=framing == "line")
    tally = Tally()
    exchange = Exchange(Messages(ring, 1, size), replies, ClosedLoop(depth), tally)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        while tally.sent < COUNT:
            connection.sendall(exchange.due(time.monotonic()))
            exchange.received(connection.recv(65536), time.monotonic())
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            exchange.received(data, time.monotonic())
    exchange.ended(CLOSED, time.monotonic())
    assert tally.owed == 0
    return {name: found for name in COUNTERS[1:10] if (found := getattr(tally, name))}


@pytest.mark.parametrize(("depth", "size"), [(1, 64), (16, 64), (4, 20_000)])
@pytest.mark.parametrize(
    ("framing", "prefix"),
    [
        ("chunk", "Sending: "),
        ("chunk", ""),
        ("chunk", "{hostname}#{message}: "),
        ("line", "Sending: "),
        ("length", "{message} {peer}> "),
    ],
)
def test_a_clean_path_answers_everything(echo_server, framing, prefix, depth, size):
    echo_server.start(framing=framing, prefix=prefix)
    counted = run(echo_server.port, framing, prefix, depth, size)
    assert counted.keys() == {"answered"}
    assert counted["answered"] >= COUNT


@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize(("fault", "kind"), stream_faults(BEFORE, SIZE))
def test_each_fault_of_a_relay_gives_exactly_its_count(
    echo_server, misbehaving_relay, fault, kind, upstream
):
    echo_server.start(prefix="")
    counted = run(misbehaving_relay(FaultSpec(upstream=upstream, **fault)), "chunk", "", 16)
    assert counted.keys() == {"answered", kind}
    assert counted[kind] == 1


def test_a_fault_between_replies_with_prefixes_is_found(echo_server, misbehaving_relay):
    echo_server.start(framing="line", prefix="Sending: ")
    reply = SIZE + len("Sending: ")
    for fault, kind in (({"drop": (50 * reply, reply)}, "lost"), ({"flip": 50 * reply}, "damaged")):
        counted = run(misbehaving_relay(FaultSpec(**fault)), "line", "Sending: ", 16)
        assert counted.keys() == {"answered", kind}
        assert counted[kind] == 1
