"""``check`` names a path that drops long packets, with its limit, and counts what others drop.

Each in a network of its own, which is root's to make; others skip. The first interface of such a
network delivers long packets as one, so a rule sees them as the kernel of the client sends them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.networks import in_own_network

pytestmark = [pytest.mark.programs, pytest.mark.slow]

_RUN = """
import json, subprocess, sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from echosvc import EchoFactory, check

class Choosy(Protocol):
    def dataReceived(self, data):
        if len(data) <= 1000:
            self.transport.write(data)

class Late(Protocol):
    def dataReceived(self, data):
        reactor.callLater(1.8 if len(data) > 1000 else 0, self.answer, data)

    def answer(self, data):
        self.transport.connected and self.transport.write(data)

SERVERS = {"echo": lambda: EchoFactory(log="quiet"),
           "choosy": lambda: Factory.forProtocol(Choosy), "late": lambda: Factory.forProtocol(Late)}

async def ask(port):
    settings = {"timeout": 3, "max_size": 65536, "only": tuple(sys.argv[3:])}
    result = await check(f"tcp:127.0.0.1:{port}", **settings)
    print(json.dumps(result.as_dict()))
    reactor.stop()

def start():
    for rule in sys.argv[2].split(";"):
        if rule:
            subprocess.run(["iptables", *rule.format(port=PORT).split()], check=True)
    Deferred.fromCoroutine(ask(PORT)).addErrback(lambda failure: print(failure))

subprocess.run("ip link set lo mtu 1500; ip link set lo up", shell=True, check=True)
factory = SERVERS[sys.argv[1]]()
PORT = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
reactor.callWhenRunning(start)
reactor.run()
"""

_LONG = "-A INPUT -p tcp {} -m length --length 1401: -j DROP"
TO_SERVER, TO_CLIENT = _LONG.format("--dport {port}"), _LONG.format("--sport {port}")


def found(server: str, rules: str, *names: str) -> dict[str, dict[str, Any]]:
    result = json.loads(in_own_network(_RUN, server, rules, *names))
    return {probe["name"]: probe for probe in result["probes"]}


@pytest.mark.parametrize(
    ("rules", "direction"),
    [
        (TO_SERVER, "to the server"),
        (TO_CLIENT, "from the server"),
        (f"{TO_SERVER};{TO_CLIENT}", "to the server"),
    ],
)
def test_the_limit_of_packets_and_the_direction_are_found(rules: str, direction: str) -> None:
    probes = found("echo", rules, "path", "bytes", "half-close")
    limit = probes["path-mtu"]
    assert (limit["result"], limit["max_packet"], limit["max_segment"]) == ("fail", 1400, 1360)
    assert limit["direction"] == direction
    assert "clamp the MSS to 1360" in limit["cause"]
    assert [name for name, probe in probes.items() if probe["result"] == "fail"] == ["path-mtu"]


def test_a_probe_that_is_asked_alone_finds_it_too() -> None:
    probes = found("echo", TO_SERVER, "half-close")
    assert probes["path-mtu"]["max_packet"] == 1400
    assert probes["half-close"]["result"] != "fail"


def test_a_server_that_answers_no_long_message_is_no_narrow_path() -> None:
    """Its kernel acknowledges them, and smaller segments change nothing."""
    probes = found("choosy", "", "bytes")
    assert "path-mtu" not in probes
    assert probes["message-size"]["max_message"] == 1000
    assert "server does not answer long messages" in probes["message-size"]["cause"]


def test_a_server_that_answers_long_messages_late_is_accused_of_nothing() -> None:
    probes = found("late", "", "path", "bytes")
    assert {probe["result"] for probe in probes.values()} == {"info", "pass"}, probes


def test_segments_that_were_sent_again_are_counted_for_each_probe() -> None:
    every = "-A INPUT -p tcp --dport {port} -m statistic --mode nth --every 9 --packet 8 -j DROP"
    probes = found("echo", every, "order", "text")
    assert {probe["result"] for probe in probes.values()} == {"pass"}, probes
    assert all(probe["retransmits"] > 0 for probe in probes.values())
