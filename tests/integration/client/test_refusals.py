"""Connections that are refused on the way, on every reactor."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import environment, need
from tests.support.waiting import LIMIT

REACTORS = ["epoll", "poll", "select", "asyncio", "lean"]
#: What ``iptables`` sends back, and the error of a socket that gets it.
REFUSALS = {
    "tcp-reset": "ECONNREFUSED",
    "icmp-port-unreachable": "ECONNREFUSED",
    "icmp-host-unreachable": "EHOSTUNREACH",
    "icmp-net-unreachable": "ENETUNREACH",
    "icmp-proto-unreachable": "ENOPROTOOPT",
    "icmp-net-prohibited": "ENETUNREACH",
    "icmp-host-prohibited": "EHOSTUNREACH",
    "icmp-admin-prohibited": "EHOSTUNREACH",
}

_BEGIN = """
import json, subprocess, sys
from importlib import import_module
from echosvc.cli.serve import REACTORS
import_module(REACTORS[sys.argv[1]]).install()
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.protocol import Factory, Protocol
from echosvc.net.connector import TCPConnector
from echosvc.endpoints import client_endpoint
from echosvc.net.errors import describe_error

def end(errors):
    print(json.dumps(errors))
    reactor.stop()

def attempts(connectors):
    factory = Factory.forProtocol(Protocol)
    every = [each.connect(factory).addErrback(lambda failure: describe_error(failure.value))
             for each in connectors]
    gatherResults(every).addBoth(end)
"""

_FIREWALL = (
    _BEGIN
    + """
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
connectors = []
for port, kind in enumerate(sys.argv[2:], 9000):
    rule = ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", str(port), "-j", "REJECT"]
    subprocess.run([*rule, "--reject-with", kind], check=True)
    connectors.append(TCPConnector(reactor, "127.0.0.1", port, 20.0))
reactor.callWhenRunning(attempts, connectors)
reactor.run()
"""
)

_FULL = (
    _BEGIN
    + """
reactor.callWhenRunning(attempts, [client_endpoint(reactor, "unix:" + sys.argv[2]).endpoint])
reactor.run()
"""
)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment())


@pytest.mark.programs
@pytest.mark.parametrize("reactor", REACTORS)
def test_the_error_of_a_refusal_by_a_firewall_is_named(reactor: str) -> None:
    """In a network of its own, which is root's to make."""
    for program in ("iptables", "ip", "unshare"):
        need(program)
    done = _run(["unshare", "-n", sys.executable, "-c", _FIREWALL, reactor, *REFUSALS])
    if done.returncode and ("unshare" in done.stderr or "iptables" in done.stderr):
        pytest.skip(f"no firewall of its own: {done.stderr.strip()}")
    found = dict(zip(REFUSALS, json.loads(done.stdout), strict=True))
    assert found == REFUSALS, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="others wait for room")
@pytest.mark.parametrize("reactor", REACTORS)
def test_a_unix_listener_without_room_is_named(reactor: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        done = _run([sys.executable, "-c", _FULL, reactor, path])
    assert json.loads(done.stdout) == ["EAGAIN"], done.stderr
