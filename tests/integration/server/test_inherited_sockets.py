"""Listening sockets that somebody else has opened: which are served, and which are not."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from echosvc import EchoFactory, EchoService
from echosvc.net.systemd import InheritedListener, unclaimed_sockets
from tests.support.process import SERVE, TWISTD, Process, handed_over, need, serving_alone
from tests.support.reactor import in_thread, within
from tests.support.sockets import connect, exchange, receive_exactly

UNSERVED = r"Inherited socket not served: index = {} name = '{}' address = {}: its clients"


def listeners(stack: ExitStack, count: int) -> list[socket.socket]:
    made = (socket.create_server(("127.0.0.1", 0)) for _ in range(count))
    return [stack.enter_context(each) for each in made]


def test_all_sockets_of_one_name_are_served(tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, two, other = listeners(stack, 3)
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(str(tmp_path / "s"))
        local.listen()
        with serving_alone(
            "-l", "systemd:name=echo", inherited=[one, other, two, local],
            names=["echo", "web", "echo", "echo"],
        ) as server:  # fmt: skip
            server.wait_lines("Server listening", 3)
            for address in (one.getsockname(), two.getsockname(), str(tmp_path / "s")):
                assert exchange(address, b"x") == b"Sending: x"
            where = re.escape(f"127.0.0.1:{other.getsockname()[1]}")
            server.wait_line(UNSERVED.format(1, "web", where))
            assert len(server.matching("not served")) == 1
            assert server.stop() == 0


def test_a_socket_that_no_listener_takes_is_said(tmp_path: Path) -> None:
    with ExitStack() as stack:
        sockets = listeners(stack, 2)
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        local.bind(str(tmp_path / "s"))
        local.listen()
        with serving_alone(
            "-l", "tcp:0:interface=127.0.0.1", inherited=[*sockets, local]
        ) as server:
            server.wait_lines("not served", 3)
            for index, each in enumerate(sockets):
                where = f"127.0.0.1:{each.getsockname()[1]}"
                assert server.matching(UNSERVED.format(index, "", where))
            assert server.matching(UNSERVED.format(2, "", f"unix:{tmp_path}/s"))
            assert server.matching("--listen systemd:index=2 serves it")


def test_a_name_can_bring_no_other_line_into_the_log() -> None:
    with ExitStack() as stack:
        one, two = listeners(stack, 2)
        with serving_alone(
            "-l", "systemd:index=0", inherited=[one, two], names=["a", "b\x1b[31m\nforged"]
        ) as server:
            server.wait_line(r"index = 1 name = 'b\\x1b\[31m\\nforged'")


def test_where_all_are_taken_nothing_is_said() -> None:
    with ExitStack() as stack:
        one, two = listeners(stack, 2)
        options = ("-l", "systemd:index=1", "-l", "systemd:index=0")
        with serving_alone(*options, inherited=[one, two]) as server:
            server.wait_lines("Server listening", 2)
            for each in (one, two):
                assert exchange(each.getsockname(), b"x") == b"Sending: x"
            assert server.stop() == 0
            assert not server.matching("not served")


def test_twistd_says_it_too() -> None:
    with ExitStack() as stack:
        one, two = listeners(stack, 2)
        command = handed_over([one, two], [], [*TWISTD, "echosvc", "-l", "systemd:index=0"])
        server = Process(command, pass_fds=[one.fileno(), two.fileno()])
        stack.callback(server.close)
        server.wait_line(UNSERVED.format(1, "", ".*"))


@pytest.mark.programs
def test_systemd_hands_them_over_as_we_take_them() -> None:
    """One ``.socket`` unit with two addresses gives both the same name."""
    program = need("systemd-socket-activate")
    with ExitStack() as stack:
        names = [each.getsockname() for each in listeners(stack, 2)]
        stack.close()
        addresses = [word for name in names for word in ("-l", f"127.0.0.1:{name[1]}")]
        command = [program, *addresses, "--fdname=echo:echo", "-E", "PATH", "-E", "PYTHONPATH"]
        server = Process([*command, *SERVE, "-l", "systemd:name=echo"])
        try:
            server.wait_line("Listening on")
            for name in names:
                assert exchange(name, b"x") == b"Sending: x"
            server.signal()
            assert server.wait() == 0
        finally:
            server.close()


def test_what_is_no_stream_socket_of_ours_is_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets:
        packets.bind(str(tmp_path / "s"))
        packets.listen()
        command = handed_over([packets], [], [*SERVE, "-l", "systemd:index=0"])
        server = Process(command, pass_fds=[packets.fileno()])
        assert server.wait() == 1
        (line,) = server.lines
        server.close()
        assert line.startswith(
            "echosvc: cannot listen on inherited descriptor 3: EPROTOTYPE (it is"
        )


def test_a_port_of_none_of_them_is_told_of_nothing() -> None:
    assert list(unclaimed_sockets([], {})) == []
    assert list(unclaimed_sockets([], {"LISTEN_FDS": "1", "LISTEN_PID": "1"})) == []


@pytest_twisted.ensureDeferred
async def test_in_an_application_each_of_several_is_a_port_of_the_service() -> None:
    with ExitStack() as stack:
        sockets = listeners(stack, 2)
        endpoint = InheritedListener(reactor, tuple(each.fileno() for each in sockets))
        service = EchoService(EchoFactory(), [endpoint], reactor=reactor)
        service.startService()
        assert [port.getHost().port for port in service.ports] == [
            each.getsockname()[1] for each in sockets
        ]
        for each in sockets:
            assert await in_thread(exchange, each.getsockname(), b"x") == b"Sending: x"
        await within(service.stopService())
        port = await endpoint.listen(EchoFactory())
        assert port.getHost().port == sockets[0].getsockname()[1]
        await within(port.stopListening())


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("reactor_name", ["default", "lean", "asyncio", "select", "poll"])
def test_a_listener_that_another_process_makes_blocking_blocks_nobody(
    tmp_path: Path, reactor_name: str, kind: str
) -> None:
    """O_NONBLOCK is a flag of the open file, which both processes have."""
    with ExitStack() as stack:
        if kind == "tcp":
            (shared,) = listeners(stack, 1)
        else:
            shared = stack.enter_context(socket.socket(socket.AF_UNIX))
            shared.bind(str(tmp_path / "s"))
            shared.listen()
        words = ("--reactor", reactor_name, "-l", "systemd:index=0")
        with serving_alone(*words, inherited=[shared]) as server:
            old = stack.enter_context(connect(shared.getsockname()))
            for _ in range(3):
                shared.setblocking(True)
                assert exchange(shared.getsockname(), b"x") == b"Sending: x"
                old.sendall(b"y")
                assert receive_exactly(old, 10) == b"Sending: y"
            # One turn of the reactor may accept several clients; it looks at the flag once.
            server.wait_line("made the listener .* blocking: reset to non-blocking")
            old.close()
            shared.setblocking(True)
            assert server.stop() == 0


def test_a_socket_that_nothing_can_serve_is_not_advised_to_be_served() -> None:
    with ExitStack() as stack:
        (one,) = listeners(stack, 1)
        datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        with serving_alone("-l", "systemd:index=0", inherited=[one, datagrams]) as server:
            server.wait_line("Inherited socket not served: index = 1 .* neither TCP nor")
            assert server.stop() == 0
