"""How long a connection took, as the kernel has it: decoded, and against ``ss``."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from echosvc.probe.engine import connect_time
from echosvc.probe.engine.connect_time import (
    Resolution,
    handshake,
    resolve_name,
    try_connect,
)
from tests.support.process import environment, need
from tests.support.waiting import LIMIT

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux alone")


@contextmanager
def connected() -> Iterator[socket.socket]:
    """A client, over which nothing is sent."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), LIMIT) as client,
    ):
        yield client


@LINUX
def test_the_kernel_tells_others_the_same() -> None:
    need("ss")
    with connected() as client:
        own = handshake(client)
        command = ["ss", "-tinH", f"sport = :{client.getsockname()[1]}"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    found = re.search(r"\brtt:([\d.]+)/", told.stdout)
    assert found is not None, told.stdout
    assert own is not None
    assert own.seconds == pytest.approx(float(found[1]) / 1000, abs=1e-6)
    assert own.seconds > 0
    assert own.syn_retransmits == 0


def test_what_is_no_tcp_has_no_handshake() -> None:
    one, other = socket.socketpair()
    with closing(one), closing(other):
        assert handshake(one) is None
    assert handshake(None) is None


def test_another_kernel_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """FreeBSD's structure of that name is another one."""
    monkeypatch.setattr(sys, "platform", "freebsd14")
    with connected() as client:
        assert handshake(client) is None


def test_a_plain_connection_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        once = try_connect(socket.AF_INET, address, LIMIT)
        assert (once.error, once.syn_retransmits) == ("", 0)
        assert 0 < once.seconds < 1
        monkeypatch.setattr(sys, "platform", "freebsd14")
        assert 0 < try_connect(socket.AF_INET, address, LIMIT).seconds < 1
    refused = try_connect(socket.AF_INET, address, LIMIT)
    assert refused.error == "ECONNREFUSED"
    assert refused.seconds < 1
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert try_connect(socket.AF_UNIX, str(tmp_path / "s"), LIMIT).error == ""


@LINUX
def test_a_full_queue_is_given_up_at_the_limit() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.create_connection(server.getsockname(), LIMIT),
    ):
        late = try_connect(socket.AF_INET, server.getsockname(), 0.2)
    assert late.error == "ETIMEDOUT"
    assert late.seconds >= 0.2


_LOSING = """
import json, socket, subprocess, threading
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from echosvc import check

def rule(how):
    subprocess.run(["iptables", how, "INPUT", "-p", "tcp", "--syn", "-j", "DROP"], check=True)

async def run():
    result = await check(f"tcp:127.0.0.1:{server.getsockname()[1]}", only=("connect",))
    print(json.dumps(result.as_dict()["probes"][0]))
    reactor.stop()

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 0))
rule("-A")
threading.Timer(0.5, rule, ["-D"]).start()
reactor.callWhenRunning(lambda: ensureDeferred(run()))
reactor.run()
"""


@LINUX
@pytest.mark.programs
def test_lost_syns_are_counted_and_their_time_is_told() -> None:
    """In a network of its own, which is root's to make."""
    for program in ("iptables", "ip", "unshare"):
        need(program)
    command = ["unshare", "-n", sys.executable, "-c", _LOSING]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=2 * LIMIT, env=environment()
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no network of its own: {done.stderr.strip()}")
    probe = json.loads(done.stdout)
    assert probe["syn_retransmits"] == 1, done.stderr
    assert 0.5 < probe["connect_seconds"] < LIMIT
    assert probe["finding"].endswith(" s after 1 retransmitted SYN")


@pytest.mark.parametrize("name", ["", "x", "/run/s", "/run/s:80", "a:b:80", ":80", "h:x", "h:"])
def test_what_is_no_host_and_port_is_not_looked_up(name: str) -> None:
    assert resolve_name(name) == Resolution()


def test_an_address_is_no_name() -> None:
    four, six = (socket.AF_INET, ("192.0.2.7", 80)), (socket.AF_INET6, ("2001:db8::7", 80, 0, 0))
    assert resolve_name("192.0.2.7:80") == Resolution(None, (four,))
    assert resolve_name("[2001:db8::7]:80") == Resolution(None, (six,))


def test_a_look_up_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((100.0, 107.5))
    monkeypatch.setattr(connect_time, "perf_counter", lambda: next(times))
    assert resolve_name("localhost:80").seconds == 7.5


def test_a_name_that_is_none_has_nothing() -> None:
    found = resolve_name("nothing.invalid:80")
    assert found.found == ()
    assert found.seconds is not None


class Queue(Clock):
    """A reactor whose calls from threads are made when the test asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()
        self.calls: list[tuple[object, ...]] = []

    def callFromThread(self, *call: object) -> None:
        self.calls.append(call)
        self.called.set()

    def run(self) -> None:
        assert self.called.wait(LIMIT)
        for do, *arguments in self.calls:
            do(*arguments)  # type: ignore[operator]


def test_what_a_thread_gives_and_raises_arrives() -> None:
    for function, wanted in ((lambda: 7, 7), (lambda: [][1], IndexError)):
        reactor, seen = Queue(), []
        connect_time.call_in_thread(reactor, function).addBoth(seen.append)
        reactor.run()
        (result,) = seen
        assert result == 7 if wanted == 7 else result.check(IndexError)


def test_what_comes_after_a_cancellation_is_dropped() -> None:
    reactor, seen = Queue(), []
    waiting = connect_time.call_in_thread(reactor, lambda: 7)
    waiting.addErrback(seen.append)
    waiting.cancel()
    reactor.run()
    assert len(seen) == 1
