"""``check`` and ``send`` say in words what a firewall answers by ICMP, at any time."""

from __future__ import annotations

import json

import pytest

from tests.support.networks import in_own_network

#: What ``iptables`` and ``ip6tables`` answer with, and what is said of it.
KINDS = {
    "icmp-net-unreachable": "ENETUNREACH (no route to the network, or a firewall prohibits it)",
    "icmp-host-unreachable": "EHOSTUNREACH (no route to the host, or a firewall prohibits it)",
    "icmp-proto-unreachable": "ENOPROTOOPT (protocol unreachable: a firewall, or the host, refuses",
    "icmp-port-unreachable": "ECONNREFUSED",
    "icmp-net-prohibited": "ENETUNREACH (",
    "icmp-host-prohibited": "EHOSTUNREACH (",
    "icmp-admin-prohibited": "EHOSTUNREACH (",
    "tcp-reset": "ECONNREFUSED",
    "icmp6-no-route": "ENETUNREACH (",
    "icmp6-adm-prohibited": "EACCES (a firewall, or a route, prohibits it)",
    "icmp6-addr-unreachable": "EHOSTUNREACH (",
    "icmp6-port-unreachable": "ECONNREFUSED",
    "icmp6-policy-fail": "EACCES (",
    "icmp6-reject-route": "EACCES (",
}

#: In a network of its own: a port for each kind, and all attempts at once.
_REJECTED = """
import json, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

def run(*words):
    return subprocess.run(words, capture_output=True, text=True)

def ask(entry):
    port, kind = entry
    six = kind.startswith("icmp6")
    rule = ["ip6tables" if six else "iptables", "-w", "-A", "INPUT", "-p", "tcp",
            "--dport", str(port), "-j", "REJECT", "--reject-with", kind]
    made = run(*rule)
    if made.returncode:
        sys.exit(made.stderr)
    where = f"[::1]:{port}" if six else f"127.0.0.1:{port}"
    program = [sys.executable, "-m", "echosvc"]
    checked = run(*program, "check", where, "--only", "connect", "--json")
    sent = run(*program, "send", "--to", where, "hi")
    return json.loads(checked.stdout)["probes"][0], sent.stderr

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with ThreadPoolExecutor(4) as pool:
    print(json.dumps(list(pool.map(ask, enumerate(sys.argv[1:], 9000)))))
"""


@pytest.mark.programs
@pytest.mark.slow
def test_a_refusal_of_any_kind_is_told_in_words() -> None:
    """Root can make a network of its own; others skip."""
    found = dict(zip(KINDS, json.loads(in_own_network(_REJECTED, *KINDS)), strict=True))
    for kind, (probe, sent) in found.items():
        assert f": {KINDS[kind]}" in probe["finding"], kind
        assert probe["cause"], kind
        assert sent.startswith(f"Socket Error: connect {KINDS[kind]}"), kind
        assert "Failure" not in sent + probe["finding"], kind


#: The rule comes when the connection is there. What is sent then is refused, and the kernel
#: repeats it.
_REFUSED_LATER = """
import json, subprocess
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from echosvc import EchoFactory
from echosvc.endpoints import client_endpoint
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.settings import CheckSettings

async def ask(port):
    number = port.getHost().port
    target, settings = client_endpoint(reactor, f"tcp:127.0.0.1:{number}"), CheckSettings(timeout=2)
    path = Path(reactor, target, settings)
    connection = await path.open()
    rule = ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", str(number), "-j", "REJECT"]
    subprocess.run([*rule, "--reject-with", "icmp-host-prohibited"], check=True)
    try:
        await connection.exchange(path.payload(100, connection))
    except Failed as failed:
        print(json.dumps([failed.cause, failed.facts]))
    path.close()
    reactor.stop()

def start():
    port = reactor.listenTCP(0, EchoFactory(log="quiet"), interface="127.0.0.1")
    Deferred.fromCoroutine(ask(port))

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
reactor.callWhenRunning(start)
reactor.run()
"""


@pytest.mark.programs
@pytest.mark.slow
def test_an_icmp_message_after_the_connection_was_made_is_the_cause() -> None:
    cause, facts = json.loads(in_own_network(_REFUSED_LATER))
    assert cause.startswith("packets of ours are refused on the way, by ICMP: EHOSTUNREACH (")
    assert facts["soft_error"] == "EHOSTUNREACH"
    assert facts["tcp"]["unacked"] > 0
