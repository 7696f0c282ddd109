"""The console script: its lines and exit statuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tests.support.commands import echosvc, one_line, plain_server, slow
from tests.support.process import ECHOSVC, Server, environment, running, with_interrupt
from tests.support.sockets import receive_all
from tests.support.waiting import LIMIT


def test_send_prints_events_and_replies(to: tuple[str, str]) -> None:
    done = echosvc("send", *to, "More Axes")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "echosvc Connected:"
    assert lines[1].startswith("   local = 127.0.0.1:")
    assert lines[2] == f"   remote = {to[1].removeprefix('tcp:')}"
    assert lines[3:] == [
        "echosvc From Server: Sending: More Axes",
        "echosvc Client disconnected",
        "Socket Closed",
    ]
    assert (done.returncode, done.stderr) == (0, b"")


def test_each_message_goes_out_after_the_answer_to_the_one_before(to: tuple[str, str]) -> None:
    done = echosvc("send", *to, "--quiet", "one", "two", "three")
    assert done.stdout == b"Sending: one\nSending: two\nSending: three\n"


def test_raw_adds_and_changes_nothing(to: tuple[str, str]) -> None:
    done = echosvc("send", *to, "--raw", "-", stdin=bytes(range(256)))
    assert done.stdout == b"Sending: " + bytes(range(256))
    assert done.returncode == 0


def test_a_name_is_looked_up(server: Server) -> None:
    assert echosvc("send", "--to", f"tcp:localhost:{server.port}", "hi").returncode == 0


def test_nothing_that_came_can_upset_a_terminal() -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"\x1b[31m\x07\x9b\r\nSending: hi" + "\x85\u202e\u0416".encode())
        client.shutdown(socket.SHUT_WR)
        receive_all(client)

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--name", "a\x1bb", "hi")
    assert r"From Server: \x1b[31m\x07" in done.stdout.decode()
    assert "\\x85\\u202e\u0416" in done.stdout.decode()
    assert all(letter.isprintable() or letter == "\n" for letter in done.stdout.decode())


def test_raw_encoding_shows_bytes(to: tuple[str, str]) -> None:
    done = echosvc("send", *to, "--quiet", "--encoding", "raw", "\u00e9")
    assert done.stdout == b"Sending: \\xc3\\xa9\n"


def test_no_server_is_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        for to in (f"tcp:{address}", f"tcp:localhost:{unused.getsockname()[1]}"):
            done = echosvc("send", "--to", to, "hi")
            assert one_line(done.stderr) == f"Socket Error: connect ECONNREFUSED {address}"
            assert (done.returncode, done.stdout) == (1, b"")


def test_no_socket_is_one_line() -> None:
    done = echosvc("send", "--to", "unix:/no/such/socket", "hi")
    assert one_line(done.stderr) == "Socket Error: connect ENOENT /no/such/socket"
    assert done.returncode == 1


def test_an_unknown_name_is_one_line() -> None:
    done = echosvc("send", "--to", "tcp:no.such.host.invalid:1", "hi")
    assert "ENOTFOUND no.such.host.invalid:1" in one_line(done.stderr)
    assert done.returncode == 1


def test_send_fails_when_a_server_never_replies() -> None:
    with plain_server(receive_all) as to:
        done = echosvc("send", "--to", to, "--deadline", "0.5", "--timeout", "0.1", "hi")
    assert done.stdout.count(b"Socket Timed Out") == 1
    assert one_line(done.stderr) == (
        "echosvc: an answer to 'hi' did not come: no progress for 0.5 s"
    )
    assert done.returncode == 1


def test_a_server_that_ends_early_is_a_failure_and_what_came_is_printed() -> None:
    with plain_server(lambda client: client.recv(9) and client.sendall(b"Sending: h")) as to:
        done = echosvc("send", "--to", to, "hi")
    assert b"From Server: Sending: h\n" in done.stdout
    assert one_line(done.stderr) == "echosvc: the server sent EOF before an answer to 'hi'"
    assert done.returncode == 1


def test_a_server_that_does_not_end_after_our_fin_is_a_failure() -> None:
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(b"Sending: " + client.recv(100))
        ended.wait(LIMIT)

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--deadline", "0.5", "hi")
        ended.set()
    assert "the server's end of the connection did not come" in one_line(done.stderr)
    assert done.returncode == 1


def test_a_reset_is_one_line() -> None:
    def answer(client: socket.socket) -> None:
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "hi")
    assert one_line(done.stderr).startswith("Socket Error: connection lost or reset 127.0.0.1:")
    assert done.returncode == 1


def test_lost_bytes_of_a_stream_are_a_failure() -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"Sending: " + receive_all(client)[1:])

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--raw", "-", stdin=b"0123456789")
    assert "only 9 of 10 bytes came back" in one_line(done.stderr)
    assert done.returncode == 1


def test_a_long_stream_comes_back_whole_in_little_memory(to: tuple[str, str]) -> None:
    data = os.urandom(1 << 20) * 64
    with_peak = (
        "import re, sys; from echosvc.cli.main import main; status = main();"
        " print(re.search('VmHWM:(.*)kB', open('/proc/self/status').read())[1], file=sys.stderr);"
        " sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", with_peak, "send", *to, "--raw", "-"],
        input=data, capture_output=True, timeout=2 * LIMIT, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.replace(b"Sending: ", b"") == data
    assert int(done.stderr) < 100 * 1024


def test_standard_output_that_is_full_is_one_line(to: tuple[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*ECHOSVC, "send", *to, "hi"],
            stdout=full, stderr=subprocess.PIPE, timeout=LIMIT, env=environment(),
        )  # fmt: skip
    assert "standard output: ENOSPC" in one_line(done.stderr)
    assert done.returncode == 1


def test_closed_standard_output_is_one_line(to: tuple[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *ECHOSVC, "send", *to, "hi"],
        stderr=subprocess.PIPE, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert "standard output: EBADF" in one_line(done.stderr)
    assert done.returncode == 1


@pytest.mark.parametrize("words", [["hi"], ["-"], ["--quiet", "--prefix", "", "hi"]])
def test_send_ends_at_once_when_its_output_closes_while_the_server_is_silent(
    words: list[str],
) -> None:
    """What is printed by a timer fails there."""
    quiet = "--quiet" in words
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = f"tcp:127.0.0.1:{silent.getsockname()[1]}"
        deadline = "1" if quiet else str(4 * LIMIT)  # with --quiet a timer prints nothing
        sending = subprocess.Popen(
            [*ECHOSVC, "send", "--to", to, "--deadline", deadline, "--timeout", "1.5", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(),
        )  # fmt: skip
        with sending:
            assert sending.stdout is not None
            for _ in range(0 if quiet else 3):
                sending.stdout.readline()
            sending.stdout.close()
            assert sending.wait(LIMIT) == 1
            assert sending.stderr is not None
            line = one_line(sending.stderr.read())
    expected = "answer to 'hi' did not come" if quiet else "standard output: EPIPE (Broken pipe)"
    assert expected in line


@pytest.mark.parametrize("where", ["&-", "/dev/full"])
def test_a_failure_that_cannot_be_printed_has_its_exit_status(where: str) -> None:
    words = "send", "--to", "unix:/no/such/socket", "hi"
    command = ["sh", "-c", f'exec "$@" 2>{where}', "sh", *ECHOSVC, *words]
    assert subprocess.run(command, timeout=LIMIT, env=environment()).returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_interrupted_while_its_output_blocks(number: int, to: tuple[str, str]) -> None:
    with (
        open("/dev/zero", "rb") as zeros,
        subprocess.Popen(
            with_interrupt([*ECHOSVC, "send", *to, "--raw", "-"]),
            stdin=zeros, stdout=subprocess.PIPE, env=environment(),
        ) as client,
    ):  # fmt: skip
        assert client.stdout.read(1) == b"S"
        client.send_signal(number)
        assert client.wait(LIMIT) == 130


def test_a_pause_of_standard_input_is_no_stall(to: tuple[str, str]) -> None:
    """The deadline is for answers that are owed."""
    client = subprocess.Popen(
        [*ECHOSVC, "send", *to, "--raw", "--deadline", "0.3", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    client.stdin.write(b"one")
    client.stdin.flush()
    assert client.stdout.read(12) == b"Sending: one"
    with pytest.raises(subprocess.TimeoutExpired):
        client.wait(1.0)
    out, _ = client.communicate(b"two", LIMIT)
    assert (out, client.returncode) == (b"Sending: two", 0)


def test_a_standard_input_that_does_not_block_is_read_to_its_end(to: tuple[str, str]) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    client = subprocess.Popen(
        [*ECHOSVC, "send", *to, "--raw", "-"],
        stdin=reading, stdout=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    os.close(reading)
    for _ in range(3):  # it has to wait for each
        os.write(writing, b"x")
        assert client.stdout.read(10) == b"Sending: x"
    os.close(writing)
    assert client.communicate(timeout=LIMIT) == (b"", None)
    assert client.returncode == 0


def test_bytes_that_come_twice_are_a_failure() -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"Hello Sending: " + receive_all(client) + b"89")

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--raw", "-", stdin=b"0123456789")
    assert "12 bytes came back for 10" in one_line(done.stderr)
    assert done.returncode == 1


def test_a_greeting_does_not_make_up_for_lost_bytes() -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"Hello Sending: " + receive_all(client)[5:])

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--raw", "-", stdin=b"0123456789")
    assert "only 5 of 10 bytes came back" in one_line(done.stderr)


def test_a_reply_without_the_prefix_is_shown_with_the_prefix_that_was_expected() -> None:
    with running("--prefix", "other\\x1b: ") as server:
        words = "--to", f"tcp:127.0.0.1:{server.port}", "--deadline", "0.3"
        done = echosvc("send", *words, "--prefix", "{pid}\\n", "h" * 100)
    shown = f"'{{pid}}\\n', came 'other\\x1b: {'h' * 46}..."
    line = f"no progress for 0.3 s, though other data came: expected prefix {shown}'"
    assert one_line(done.stderr).endswith(line)


def test_a_reply_that_is_not_complete_is_shown() -> None:
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(b"Sending: h")
        ended.wait(LIMIT)

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--deadline", "0.3", "hi")
        ended.set()
    assert one_line(done.stderr).endswith(", though other data came: came 'Sending: h'")


@pytest.mark.parametrize(
    ("came", "words", "hint"),
    [
        (b"", [], ": does it expect TLS (tls:HOST:PORT)?"),
        (b"\x15\x03\1\0\2\2\x46", ["--prefix", "> "], ": it expects TLS (tls:HOST:PORT)"),
        (b"What?", ["--prefix", "> "], ""),
    ],
)
def test_an_end_like_that_of_a_tls_server_is_explained(
    came: bytes, words: list[str], hint: str
) -> None:
    with plain_server(lambda client: client.recv(9) and client.sendall(came)) as to:
        done = echosvc("send", "--to", to, *words, "hi")
    assert one_line(done.stderr) == f"echosvc: the server sent EOF before an answer to 'hi'{hint}"
    assert done.returncode == 1


def test_tls_to_a_plain_server_is_explained_as_check_does(to: tuple[str, str]) -> None:
    endpoint = to[1].replace("tcp:127.0.0.1", "tls:localhost")
    line = one_line(echosvc("send", "--to", endpoint, "hi").stderr)
    checked = echosvc("check", endpoint, "--only", "connect").stdout.decode()
    cause = "no TLS there, or another version, or it wants a client's certificate (--cert)"
    assert re.fullmatch(rf"Socket Error: connect TLS: .* \({re.escape(cause)}\) 127.*", line), line
    assert f"likely: {cause}\n" in checked


@pytest.mark.parametrize("prefix", ["{connection}/{message}: ", *slow("", "other: ", "Send", "o")])
def test_without_a_prefix_any_answer_will_do(prefix: str) -> None:
    """And nobody waits for a prefix that was not told: there is no deadline here."""
    with running("--prefix", prefix, "--log", "quiet") as server:
        words = "--to", f"tcp:127.0.0.1:{server.port}", "--deadline", "0", "--quiet"
        done = echosvc("send", *words, "one", "two")
        demo = echosvc("demo", *words[:2])
    shown = [prefix.format(connection=1, message=number) for number in (1, 2)]
    assert done.stdout.decode() == f"{shown[0]}one\n{shown[1]}two\n"
    assert (done.returncode, done.stderr) == (0, b"")
    assert demo.returncode == 0


def test_without_a_prefix_what_is_no_echo_is_printed_when_it_arrives() -> None:
    heard = []

    def answer(client: socket.socket) -> None:
        for word in (b"What?", b"Pardon?"):
            heard.append(client.recv(100))
            client.sendall(word)
        heard.append(client.recv(100))

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--quiet", "one", "two")
    assert heard == [b"one", b"two", b""]
    assert done.stdout == b"What?\nPardon?\n"
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_a_prefix_a_server_may_end_first_but_must_answer_each_message() -> None:
    def answer(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(b"HTTP/1.1 400")

    for messages, status in ((["one"], 0), (["one", "two"], 1)):
        with plain_server(answer) as to:
            done = echosvc("send", "--to", to, "--quiet", *messages)
        assert done.stdout == b"HTTP/1.1 400\n"
        assert done.returncode == status
    assert one_line(done.stderr) == "echosvc: the server sent EOF before an answer to 'two'"


@pytest.mark.parametrize("prefix", ["other: ", *slow("Sending: ", "", "{message}> ")])
def test_without_a_prefix_a_stream_comes_back_whole(prefix: str) -> None:
    data = os.urandom(1 << 20) + bytes(1 << 20) + b"Sending: " * 1000
    with running("--prefix", prefix, "--log", "quiet") as server:
        to = f"tcp:127.0.0.1:{server.port}"
        done = echosvc("send", "--to", to, "--raw", "-", stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) >= len(data)


@pytest.mark.parametrize("prefix", [b"other: ", b"", *slow(b"Sending: ", b"hello\n> ")])
@pytest.mark.parametrize("lost", [5, *slow(0, 9)])
def test_without_a_prefix_a_lost_byte_of_a_stream_is_a_failure(prefix: bytes, lost: int) -> None:
    def answer(client: socket.socket) -> None:
        data = receive_all(client)
        client.sendall(prefix + data[:lost] + data[lost + 1 :])

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--raw", "-", stdin=b"0123456789")
    assert "of 10 bytes came back" in one_line(done.stderr)
    assert done.returncode == 1
