"""On a system without epoll and the other things that only Linux has, such as macOS.

They are hidden from processes of their own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.process import ROOT, TWISTD, Process, Serving, environment, stays_idle
from tests.support.sockets import connect, exchange, receive_all, receive_exactly
from tests.support.waiting import LIMIT, wait_until

#: What a Python without epoll lacks, or a macOS without the rest.
HIDING = """
import select, socket, sys, termios
for module, names in (
    (select, [name for name in dir(select) if name.lower().startswith("epoll")]),
    (select, ["POLLRDHUP"]),
    (socket, ["TCP_KEEPIDLE", "TCP_USER_TIMEOUT", "TCP_CORK", "TCP_INFO", "TCP_QUICKACK",
              "SO_PEERCRED", "SO_PASSCRED"]),
    (termios, ["TIOCOUTQ"]),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.modules.pop("selectors", None)  # which looks for epoll when it is imported
"""
REACTORS = ["default", "asyncio", "select", "poll"]
LACKS = r"echosvc#warn\] This system has no epoll: "


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process from which they are hidden."""
    place = tmp_path_factory.mktemp("hiding")
    (place / "sitecustomize.py").write_text(HIDING)
    return {**environment(), "PYTHONPATH": os.pathsep.join((str(place), str(ROOT)))}


@contextmanager
def serving(hidden: dict[str, str], *options: str, reactor: str = "default") -> Iterator[Serving]:
    """A server from which they are hidden."""
    server = Serving(*options, reactor=reactor, env=hidden)
    try:
        yield server
    finally:
        server.close()


def run(hidden: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=hidden, capture_output=True, text=True, timeout=4 * LIMIT
    )


def test_they_are_hidden(hidden: dict[str, str]) -> None:
    code = "import select, socket; print(hasattr(select, 'epoll'), hasattr(socket, 'TCP_CORK'))"
    assert run(hidden, "-c", code).stdout == "False False\n"


def test_every_module_but_the_lean_reactor_can_be_imported(hidden: dict[str, str]) -> None:
    code = (
        "import importlib, pkgutil, echosvc\n"
        "for each in pkgutil.walk_packages(echosvc.__path__, 'echosvc.'):\n"
        "    if each.name != 'echosvc.net.reactor': importlib.import_module(each.name)\n"
        "print([bool(getattr(echosvc, name)) for name in echosvc.__all__].count(True))"
    )
    done = run(hidden, "-c", code)
    assert done.stderr == ""
    assert int(done.stdout) == len(__import__("echosvc").__all__)


@pytest.mark.parametrize("reactor", REACTORS)
def test_the_server_serves_and_says_what_it_lacks(reactor: str, hidden: dict[str, str]) -> None:
    with serving(hidden, "--keep-alive", "30", reactor=reactor) as server:
        assert len(server.wait_lines(LACKS)) == 1
        address = ("127.0.0.1", server.port)
        assert exchange(address, b"x") == b"Sending: x"
        data = os.urandom(1 << 20)
        with connect(address) as client:
            client.sendall(b"one")
            assert receive_exactly(client, 12) == b"Sending: one"
            client.shutdown(socket.SHUT_WR)
            assert receive_all(client) == b""
        assert exchange(address, data).replace(b"Sending: ", b"") == data
        server.wait_lines("outcome = finished", 3)
        assert stays_idle(server)
        assert server.stop() == 0
        assert not server.matching("Traceback")


@pytest.mark.parametrize("reactor", REACTORS)
def test_limits_back_pressure_and_ends_hold(reactor: str, hidden: dict[str, str]) -> None:
    """A full house waits; who never reads is stopped, and reset; a reset is noticed."""
    options = ("--max-connections", "1", "--stall-timeout", "1", "--framing", "line")
    with serving(hidden, *options, reactor=reactor) as server:
        address = ("127.0.0.1", server.port)
        with connect(address) as first, connect(address) as second:
            first.sendall(b"x\n")
            assert receive_exactly(first, 11) == b"Sending: x\n"
            second.sendall(b"y\n")
            server.wait_line("at the limit of 1 connections")
            first.close()
            assert receive_exactly(second, 11) == b"Sending: y\n"
        with connect(address, receive_buffer=4096) as deaf:
            deaf.setblocking(False)
            with suppress(BlockingIOError):
                for _ in range(10_000):
                    deaf.send(b"z" * 65535 + b"\n")
            server.wait_line("outcome = stalled")
        assert server.memory() < 150 << 20


def test_more_clients_than_select_can_watch_have_to_wait(hidden: dict[str, str]) -> None:
    """It knows no descriptor above 1023 (select(2), FD_SETSIZE)."""
    with serving(hidden, "--log", "quiet", reactor="select") as server, ExitStack() as stack:
        address, clients = ("127.0.0.1", server.port), []
        for _ in range(1100):
            clients.append(stack.enter_context(connect(address)))
        server.wait_line("at the limit of 960 connections")
        for client in clients[:960:50]:
            client.sendall(b"x")
            assert receive_exactly(client, 10) == b"Sending: x"
        for client in clients[:200]:
            client.close()
        clients[-1].sendall(b"x")
        assert receive_exactly(clients[-1], 10) == b"Sending: x"
        assert not server.matching("descriptor")


def test_a_proxy_header_is_read(hidden: dict[str, str]) -> None:
    options = ("--proxy-protocol", "require", "--proxy-from", "127.0.0.1", "--prefix", "{peer} ")
    with serving(hidden, *options) as server:
        sent = b"PROXY TCP4 192.0.2.7 192.0.2.8 1111 2222\r\nx"
        assert exchange(("127.0.0.1", server.port), sent) == b"192.0.2.7:1111 x"


@pytest.mark.parametrize("reactor", REACTORS)
def test_a_stop_drains_and_a_listener_that_ended_is_closed(
    reactor: str, hidden: dict[str, str], tmp_path: Path
) -> None:
    with serving(hidden, "-l", f"unix:{tmp_path}/s", "--drain", "60", reactor=reactor) as server:
        with connect(f"{tmp_path}/s") as client:
            client.sendall(b"x")
            assert receive_exactly(client, 10) == b"Sending: x"
            server.signal()
            wait_until(lambda: not (tmp_path / "s").exists())
            client.sendall(b"y")
            assert receive_exactly(client, 10) == b"Sending: y"
        assert server.wait() == 0


def test_send_check_and_demo_work(hidden: dict[str, str]) -> None:
    with serving(hidden) as server:
        to = f"tcp:127.0.0.1:{server.port}"
        done = run(hidden, "-m", "echosvc", "send", "--to", to, "--quiet", "hi")
        assert (done.stdout, done.stderr) == ("Sending: hi\n", "")
        assert run(hidden, "-m", "echosvc", "demo", "--to", to).returncode == 0
        done = run(
            hidden, "-m", "echosvc", "check", to, "--only", "echo,order,half-close,back-pressure"
        )
        assert done.returncode == 0, done.stdout
        assert done.stdout.count("PASS") == 4


_EMBEDDED = """
import sys
from twisted.internet import {reactor}reactor
{reactor}reactor.install()
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import serverFromString, clientFromString
from echosvc import EchoFactory, EchoService, check, connect

async def main():
    service = EchoService(EchoFactory(prefix="> ", log="quiet"),
                          [serverFromString(reactor, "tcp:0:interface=127.0.0.1")])
    service.startService()
    port = service.ports[0].getHost().port
    client = await connect(clientFromString(reactor, "tcp:127.0.0.1:%d" % port))
    await client.write(b"x")
    print(await client.receive())
    client.finish()
    print(str(await client.when_closed()))
    result = await check("tcp:127.0.0.1:%d" % port, only=("half-close",), prefix="> ")
    print(result.ok)
    await service.stopService()

def ended(result):
    if result is not None: result.printTraceback()
    reactor.stop()

reactor.callWhenRunning(lambda: ensureDeferred(main()).addBoth(ended))
reactor.run()
"""


@pytest.mark.parametrize("reactor", ["asyncio", "select", "poll"])
def test_an_application_has_server_client_and_check(reactor: str, hidden: dict[str, str]) -> None:
    done = run(hidden, "-c", _EMBEDDED.format(reactor=reactor))
    assert done.stdout.split() == ["b'>", "x'", "finished", "True"], done.stderr


def test_the_lean_reactor_is_refused_in_words(hidden: dict[str, str]) -> None:
    done = run(hidden, "-m", "echosvc", "serve", "--reactor", "lean")
    assert (done.returncode, done.stderr) == (
        2, "echosvc: --reactor: this system has no lean\n",
    )  # fmt: skip


def test_twistd_serves_too(hidden: dict[str, str]) -> None:
    server = Process([*TWISTD, "echosvc", "-l", "tcp:0:interface=127.0.0.1"], env=hidden)
    try:
        server.wait_line(LACKS)
        server.signal()
        assert server.wait() == -signal.SIGTERM
    finally:
        server.close()
