"""Programs written for Node's net module, and ours, as each other's peers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.commands import require_ipv6, run_client, run_client_bytes
from tests.support.process import NODE, NodeServer, Process, Server, need, running

pytestmark = pytest.mark.programs


DEMO = {"Dwarves": "More Axes", "Elves": "More Arrows", "Hobbits": "More Pipe Weed"}


SOME_DATA = '"Sending: some data \\r\\n"'


def node(program: str, *words: str) -> list[str]:
    """Run a Node program to its good end; its lines."""
    with closing(Process([need("node"), str(NODE / program), *words])) as process:
        assert process.wait() == 0, process.lines
        return process.lines


@contextmanager
def node_server(*options: str) -> Iterator[NodeServer]:
    with closing(NodeServer(*options)) as server:
        yield server


def send_to(server: Server, *words: str) -> tuple[int, str, str]:
    return run_client("send", "--to", f"tcp:127.0.0.1:{server.port}", *words)


def without_ports(text: str) -> str:
    return re.sub(r"(127\.0\.0\.1|\[::1\]):\d+", r"\1:PORT", text)


def talk(*middle: str, name: str = "echosvc") -> str:
    """What a conversation looks like, with these lines in its middle."""
    lines = [
        f"{name} Connected:",
        "   local = 127.0.0.1:PORT",
        "   remote = 127.0.0.1:PORT",
        *middle,
        f"{name} Client disconnected",
        "Socket Closed",
    ]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_three_node_clients(host: str) -> None:
    with running("--idle-timeout", "0") as server:
        lines = node("client.js", str(server.port), host)
        for name, message in DEMO.items():
            own = [line for line in lines if line.startswith(name)]
            assert own == [
                f"{name} Connected:",
                f"{name} From Server: Sending: {message}",
                f"{name} Client disconnected",
                f"{name} Socket Closed: false",
            ]
        ends = server.wait_lines("Client disconnected", 3)
        assert ends[-1].endswith("Remaining Connections: 0")
        assert all("outcome = finished" in line for line in ends)


def test_node_client_with_some_data() -> None:
    with running("--log", "messages") as server:
        lines = node("some_data.js", str(server.port))
        assert lines == [f"came: {SOME_DATA}", "end", "close: error = false read = 21 written = 12"]
        assert "'some data \\r\\n'" in server.wait_line("Received data")


def test_node_client_that_ends_right_after_its_data() -> None:
    with running() as server:
        lines = node("some_data.js", str(server.port), "at-once")
        assert lines == [f"came: {SOME_DATA}", "end", "close: error = false read = 21 written = 12"]


def test_node_client_on_a_unix_path(tmp_path: Path) -> None:
    path = str(tmp_path / "echo")
    with running("--listen", f"unix:{path}"):
        assert node("some_data.js", path)[0] == f"came: {SOME_DATA}"


def test_node_client_is_greeted_and_not_answered() -> None:
    with running("--greeting", "Hello", "--discard", "--log", "messages") as server:
        assert node("some_data.js", str(server.port))[:2] == ['came: "Hello"', "end"]
        assert "'some data \\r\\n'" in server.wait_line("Received data")


def test_node_client_sees_an_idle_close() -> None:
    """Node's ``end`` and ``close(false)``: no error."""
    options = "--discard", "--idle-action", "close", "--idle-timeout", "0.2"
    with running(*options) as server:
        lines = node("some_data.js", str(server.port))
        assert lines == ["end", "close: error = false read = 0 written = 12"]
        assert "outcome = timed-out" in server.wait_line("Client disconnected")


def test_node_client_sees_an_idle_reset() -> None:
    options = "--discard", "--idle-action", "reset", "--idle-timeout", "0.2"
    with running(*options) as server:
        command = [need("node"), str(NODE / "some_data.js"), str(server.port)]
        with closing(Process(command)) as process:
            assert process.wait() == 1
            assert process.lines[0] == "error: ECONNRESET"


def test_send_to_node() -> None:
    with node_server() as server:
        status, out, err = send_to(server, "More Axes")
        assert (status, err) == (0, "")
        assert without_ports(out) == talk("echosvc From Server: Sending: More Axes")
        assert f"   remote = 127.0.0.1:{server.port}\n" in out
        local = re.search(r"local = (\S+)", out)[1]
        assert server.wait_line("Client connection").endswith(f" remote = {local}")
        end = server.wait_line("Client disconnected")
        assert "outcome = finished bytes in = 9 bytes out = 18 " in end


def test_send_waits_for_each_answer() -> None:
    with node_server() as server:
        status, out, err = send_to(server, "--name", "Elves", "one", "two", "three")
        assert (status, err) == (0, "")
        replies = [f"Elves From Server: Sending: {word}" for word in ("one", "two", "three")]
        assert without_ports(out) == talk(*replies, name="Elves")
        assert len(server.matching("Received data")) == 3


def test_send_quietly() -> None:
    with node_server() as server:
        ended = send_to(server, "--quiet", "one", "two")
        assert ended == (0, "Sending: one\nSending: two\n", "")


def test_send_reports_silence_and_what_comes_late() -> None:
    with node_server("--resume-after", "900") as server:
        status, out, err = send_to(server, "More Axes")
        assert (status, err) == (0, "")
        reply = "echosvc From Server: Sending: More Axes"
        assert without_ports(out) == talk("Socket Timed Out", reply)


@pytest.mark.parametrize("words", [(), ("--prefix", "")])
def test_send_to_a_server_without_prefix(words: tuple[str, ...]) -> None:
    with node_server("--prefix", "") as server:
        status, out, err = send_to(server, *words, "More Axes", "More Arrows")
        assert (status, err) == (0, "")
        replies = "echosvc From Server: More Axes", "echosvc From Server: More Arrows"
        assert without_ports(out) == talk(*replies)


def test_send_to_a_server_that_greets_and_answers() -> None:
    with node_server("--greeting", "Hello") as server:
        status, out, err = send_to(server, "--quiet", "More Axes")
        assert (status, err) == (0, "")
        assert out.replace("\n", "") == "HelloSending: More Axes"


def test_send_to_a_server_that_only_greets() -> None:
    with node_server("--greeting", "Hello", "--discard") as server:
        begun = time.monotonic()
        words = ("--prefix", "Sending: ", "--deadline", "1", "More Axes")
        status, out, err = send_to(server, *words)
        assert time.monotonic() - begun >= 1
        assert status == 1
        assert without_ports(out) == talk("echosvc From Server: Hello", "Socket Timed Out")
        assert re.fullmatch(r"echosvc: .*More Axes.*\n", err)
        assert "'More Axes'" in server.wait_line("Received data")


def test_send_prints_what_comes_where_no_prefix_is_told() -> None:
    with node_server("--greeting", "Hello", "--discard") as server:
        status, out, err = send_to(server, "--quiet", "More Axes")
        assert (status, out, err) == (0, "Hello\n", "")


def test_send_to_a_server_that_ends_without_an_answer() -> None:
    with node_server("--discard", "--greeting", "Hello", "--end-with", "0") as server:
        status, out, err = send_to(server, "--prefix", "Sending: ", "More Axes")
        assert status == 1
        assert without_ports(out) == talk("echosvc From Server: Hello")
        assert re.fullmatch(r"echosvc: .*More Axes.*\n", err)


def test_standard_input_through_node() -> None:
    """A stream of any size, through a server that stops reading while replies wait."""
    data = bytes(range(256)) * 8192
    with node_server("--prefix", "", "--pause") as server:
        words = "send", "--to", f"tcp:127.0.0.1:{server.port}", "--raw", "--prefix", "", "-"
        assert run_client_bytes(*words, stdin=data) == (0, data, b"")
        assert f"bytes in = {len(data)} " in server.wait_line("Client disconnected")


def test_demo_with_node() -> None:
    with node_server() as server:
        status, out, err = run_client("demo", "--to", f"tcp:127.0.0.1:{server.port}")
        assert (status, err) == (0, "")
        lines = out.splitlines()
        for name, message in DEMO.items():
            assert [line for line in lines if line.startswith(name)] == [
                f"{name} Connected:",
                f"{name} From Server: Sending: {message}",
                f"{name} Client disconnected",
            ]
        assert lines.count("Socket Closed") == 3
        assert lines.count(f"   remote = 127.0.0.1:{server.port}") == 3
        server.wait_line("Remaining Connections: 0")


def test_demo_where_nobody_is_answered() -> None:
    with node_server("--discard", "--end-with", "0") as server:
        status, out, err = run_client("demo", "--to", f"tcp:127.0.0.1:{server.port}")
        assert status == 1
        assert "From Server" not in out
        complaints = err.splitlines()
        assert len(complaints) == 3
        for message in DEMO.values():
            assert sum(message in line for line in complaints) == 1


def test_send_to_node_over_ipv6() -> None:
    require_ipv6()
    with node_server("--host", "::1") as server:
        status, out, err = run_client("send", "--to", f"tcp:[::1]:{server.port}", "hello")
        assert (status, err) == (0, "")
        expected = talk("echosvc From Server: Sending: hello").replace("127.0.0.1", "[::1]")
        assert without_ports(out) == expected
