"""The console script: its lines and exit statuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from echosvc.cli import main as cli
from tests.support.process import (
    LIMIT,
    ROOT,
    Process,
    Server,
    environment,
    heeding,
    receive_all,
    running,
)

COMMAND = [sys.executable, "-m", "echosvc"]
TLS = ("--to", "tls:localhost:1")


def echosvc(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the console script to its end."""
    return subprocess.run(
        [*COMMAND, *words], input=stdin, capture_output=True, timeout=LIMIT, env=environment()
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as it:
        yield it


@pytest.fixture
def to(server: Server) -> tuple[str, str]:
    return "--to", f"tcp:127.0.0.1:{server.port}"


@contextmanager
def plain_server(answer: object) -> Iterator[str]:
    """A server whose connections are handed to ``answer``, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, suppress(ConnectionError):
                client.settimeout(LIMIT)
                answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"
        thread.join(LIMIT)


def one_line(stderr: bytes) -> str:
    text = stderr.decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text[:-1]


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
            [*COMMAND, "send", *to, "hi"],
            stdout=full, stderr=subprocess.PIPE, timeout=LIMIT, env=environment(),
        )  # fmt: skip
    assert "standard output: ENOSPC" in one_line(done.stderr)
    assert done.returncode == 1


def test_closed_standard_output_is_one_line(to: tuple[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "send", *to, "hi"],
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
            [*COMMAND, "send", "--to", to, "--deadline", deadline, "--timeout", "0.2", *words],
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
    command = ["sh", "-c", f'exec "$@" 2>{where}', "sh", *COMMAND, *words]
    assert subprocess.run(command, timeout=LIMIT, env=environment()).returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_interrupted_while_its_output_blocks(number: int, to: tuple[str, str]) -> None:
    with (
        open("/dev/zero", "rb") as zeros,
        subprocess.Popen(
            heeding([*COMMAND, "send", *to, "--raw", "-"]),
            stdin=zeros, stdout=subprocess.PIPE, env=environment(),
        ) as client,
    ):  # fmt: skip
        assert client.stdout.read(1) == b"S"
        client.send_signal(number)
        assert client.wait(LIMIT) == 130


def test_a_pause_of_standard_input_is_no_stall(to: tuple[str, str]) -> None:
    """The deadline is for answers that are owed."""
    client = subprocess.Popen(
        [*COMMAND, "send", *to, "--raw", "--deadline", "0.3", "-"],
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
        [*COMMAND, "send", *to, "--raw", "-"],
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


def test_a_wrong_prefix_is_suggested_as_the_cause() -> None:
    with running("--prefix", "other: ") as server:
        to = f"tcp:127.0.0.1:{server.port}"
        done = echosvc("send", "--to", to, "--prefix", "Sending: ", "--deadline", "0.3", "hi")
    assert "is the prefix right?" in one_line(done.stderr)


# -- without --prefix -------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["other: ", "", "{connection}/{message}: ", "Send", "o"])
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


@pytest.mark.parametrize("prefix", ["Sending: ", "other: ", "", "{message}> "])
def test_without_a_prefix_a_stream_comes_back_whole(prefix: str) -> None:
    data = os.urandom(1 << 20) + bytes(1 << 20) + b"Sending: " * 1000
    with running("--prefix", prefix, "--log", "quiet") as server:
        to = f"tcp:127.0.0.1:{server.port}"
        done = echosvc("send", "--to", to, "--raw", "-", stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) >= len(data)


@pytest.mark.parametrize("prefix", [b"Sending: ", b"other: ", b"", b"hello\n> "])
@pytest.mark.parametrize("lost", [0, 5, 9])
def test_without_a_prefix_a_lost_byte_of_a_stream_is_a_failure(prefix: bytes, lost: int) -> None:
    def answer(client: socket.socket) -> None:
        data = receive_all(client)
        client.sendall(prefix + data[:lost] + data[lost + 1 :])

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--raw", "-", stdin=b"0123456789")
    assert "of 10 bytes came back" in one_line(done.stderr)
    assert done.returncode == 1


# -- hostile servers --------------------------------------------------------------------

SEVERAL = "{hostname}-{peer}-{local}: "


@pytest.mark.parametrize("flood", [b"x", b"Sending: ", b"-", b"1"])
@pytest.mark.parametrize(
    "words",
    [["hi"], ["--prefix", "> ", "hi"], ["--prefix", SEVERAL, "hi"], ["-"], ["--prefix", "> ", "-"],
     ["--prefix", SEVERAL, "-"]],
    ids=" ".join,
)  # fmt: skip
def test_send_fails_at_the_deadline_when_a_server_sends_without_end(
    words: list[str], flood: bytes
) -> None:
    def answer(client: socket.socket) -> None:
        client.recv(1)
        while True:
            client.sendall(flood * (65536 // len(flood)))

    with plain_server(answer) as to:
        done = echosvc("send", "--to", to, "--deadline", "0.5", "--raw", *words, stdin=b"input")
    assert "did not come: no progress for 0.5 s" in one_line(done.stderr)
    assert done.returncode == 1


@pytest.mark.parametrize("letter", [b"-", b"1", b"x"])
@pytest.mark.parametrize("template", [SEVERAL, "{peer}-{peer}-{local}-{local}: ", "{message}" * 9])
def test_data_that_matches_a_template_in_many_ways_does_not_block_the_client(
    template: str, letter: bytes
) -> None:
    """Whatever the few bytes are that a server sends, the deadline strikes."""
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(letter * 3000 + b" ")
        ended.wait(LIMIT)

    for message in ("hi", "-"):
        with plain_server(answer) as to:
            words = "--to", to, "--deadline", "0.5", "--prefix", template, "--raw", message
            done = echosvc("send", *words, stdin=b"input " * 100)
            ended.set()
        assert "no progress for 0.5 s" in one_line(done.stderr)
        ended.clear()


def test_send_fails_when_a_server_keeps_sending_after_its_reply() -> None:
    """What was not asked for is no progress."""
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(b"Sending: " + client.recv(100))
        while not ended.wait(0.05):
            client.sendall(b"x")

    for words in ([], ["--prefix", "Sending: "]):
        with plain_server(answer) as to:
            done = echosvc("send", "--to", to, "--deadline", "0.5", *words, "hi")
            ended.set()
        assert "the server's end of the connection did not come" in one_line(done.stderr)
        assert done.returncode == 1
        ended.clear()


@pytest.mark.parametrize("prefix", ["p" * 60_000, "p" * 30_000 + "{message}" + "p" * 30_000])
def test_a_long_prefix_is_found_in_small_pieces(prefix: str) -> None:
    """By its length once, and not at each byte again."""
    data = b"q" * 20_000

    def answer(client: socket.socket) -> None:
        stream = prefix.format(message=1).encode() + receive_all(client)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(stream), 100):
            client.sendall(stream[start : start + 100])

    with plain_server(answer) as to:
        words = "--to", to, "--prefix", prefix, "--deadline", "10", "--raw", "-"
        done = echosvc("send", *words, stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(data)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_is_130(number: int) -> None:
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(b"Hello")
        ended.wait(LIMIT)

    with plain_server(answer) as to:
        client = Process([*COMMAND, "send", "--to", to, "hi"])
        client.wait_line("From Server: Hello")
        client.signal(number)
        assert client.wait() == 130
        assert not client.matching("Traceback")
        ended.set()
        client.close()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["send"], "MESSAGE"),
        (["send", "--timeout", "nan", "x"], "--timeout"),
        (["send", "--timeout", "soon", "x"], "'soon'"),
        (["send", "--deadline=-1", "x"], "--deadline"),
        (["send", "--prefix", "{nope}", "x"], "unknown field '{nope}'"),
        (["send", "--to", "tcp:localhost", "x"], "the port is missing: write tcp:HOST:PORT"),
        (["send", "--to", "tcp:localhost:0", "x"], "port must be"),
        (["send", "--to", "carrier:pigeon", "x"], "carrier"),
        (["send", "--to", "tcp:a..b:5", "x"], "'a..b' is no host name"),
        (["send", "--to", "tcp:a b:5", "x"], "'a b' is no host name"),
        (["send", "--to", f"tcp:{'a' * 64}:5", "x"], "is no host name"),
        (["send", "--to", f"unix:/{'a' * 110}", "x"], "longer than 107 bytes"),
        (["send", "--to", "unix:", "x"], "the path is missing: write unix:PATH"),
        (["send", "-", "x"], "'-' must be the last"),
        (["send", "--name\n", "x"], "--name\\n"),
        (["send", "--ca", "", "x"], "--ca: must not be empty"),
        (["send", "--ca", "/no/such", "x"], "--ca: is for tls: endpoints, and --to is 'tcp:"),
        (["send", "--insecure", "x"], "--insecure: is for tls: endpoints"),
        (["demo", "--insecure", "--to", "unix:/x"], "--insecure: is for tls: endpoints"),
        (["send", "--cert", "c", "x"], "--cert: is for tls: endpoints"),
        (["send", "--key", "c", "x"], "--key: is for tls: endpoints"),
        (["send", "--server-name", "c", "x"], "--server-name: is for tls: endpoints"),
        (["send", *TLS, "--server-name", "a b", "x"], "--server-name: 'a b' is no host name"),
        (["send", *TLS, "--server-name", "", "x"], "--server-name: '' is no host name"),
        (["send", *TLS, "--key", "k", "x"], "--key: needs --cert"),
        (["send", *TLS, "--ca", "/no/such", "x"], "/no/such: ENOENT"),
        (["send", *TLS, "--cert", "/no/such", "x"], "/no/such: ENOENT"),
        (["send", *TLS, "--insecure", "--ca", "c", "x"], "--insecure: verifies nothing, but"),
        (
            ["send", *TLS[:1], f"{TLS[1]}:trustRoots=c", "--insecure", "x"],
            "--insecure: verifies nothing, but",
        ),
        (["send", *TLS[:1], f"{TLS[1]}:trustRoots=c", "--ca", "d", "x"], "trustRoots is given twi"),
        (
            ["send", *TLS[:1], f"{TLS[1]}:certificate=c", "--cert", "d", "x"],
            "certificate is given twice",
        ),
        (["send", "--send-proxy", "v3", "x"], "--send-proxy: invalid choice: 'v3'"),
        (["demo", "--to", ""], "--to ''"),
        (["demo", "x"], "x"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(words: list[str], complaint: str) -> None:
    done = echosvc(*words)
    assert complaint in one_line(done.stderr)
    assert one_line(done.stderr).startswith("echosvc: ")
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize(
    "words",
    [
        *(["send", f"{option}=--", "x"] for option in (
            "--to", "--send-proxy", "--deadline", "--timeout", "--encoding", "--server-name",
            "--ca", "--cert", "--key",
        )),
        *(["check", "127.0.0.1:1", f"{option}=--"] for option in (
            "--connections", "--timeout", "--max-size", "--only", "--skip", "--framing",
            "--idle", "--find-idle",
        )),
        ["demo", "--to=--"],
    ],
)  # fmt: skip
def test_two_dashes_are_a_value_like_another(words: list[str]) -> None:
    done = echosvc(*words)
    option = next(each for each in words if each.endswith("=--"))[:-3]
    expected = "there is no probe '--'" if option in ("--only", "--skip") else option
    assert expected in one_line(done.stderr)
    assert (done.returncode, done.stdout) == (2, b"")


def test_two_dashes_can_be_a_prefix() -> None:
    with running("--prefix=--") as server:
        to = f"127.0.0.1:{server.port}"
        for option in (["--prefix=--"], ["-p--"]):
            done = echosvc("send", "--to", to, "--quiet", *option, "x")
            assert (done.stdout, done.stderr) == (b"--x\n", b"")


def test_a_value_for_a_flag_is_refused_in_plain_words() -> None:
    line = one_line(echosvc("send", "--quiet=2", "x").stderr)
    assert line == "echosvc: argument --quiet: takes no value, and '2' was given"


@pytest.mark.parametrize(
    "words",
    [
        "serve --listen 0 --logfile some",
        "serve --listen unix:some",
        "serve --listen ssl:0:privateKey=some",
        "serve --listen tls:some:0",
        "send --to unix:some x",
        "send --to tls:localhost:1 --ca some x",
        "send --to tls:localhost:1 --cert some x",
    ],
)
def test_a_path_is_named_where_the_working_directory_is_gone(words: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'cd "$0"; rmdir "$0"; exec "$@"', here, *COMMAND, *words.split()],
        capture_output=True, timeout=LIMIT,
        env={**environment(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    line = one_line(done.stderr)
    assert "some: ENOENT (No such file or directory" in line
    assert done.returncode in (1, 2)


@pytest.mark.parametrize("text", ["-1", "inf", "1e400"])
def test_a_number_is_refused_as_it_was_written(text: str) -> None:
    must = f"must be a number of seconds, 0 or more, not '{text}'"
    assert one_line(echosvc("send", f"--timeout={text}", "x").stderr).endswith(must)
    assert one_line(echosvc("serve", f"--idle-timeout={text}").stderr).endswith(must)


def test_an_expression_is_refused_in_plain_words() -> None:
    line = one_line(echosvc("check", "--identity", "(", "1").stderr)
    assert line == "echosvc: identity: '(' is no regular expression (at character 1)"


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    done = subprocess.run(
        [*COMMAND, "send", "--to", b"\xff:1", "x"], capture_output=True, timeout=LIMIT,
        env=environment(),
    )  # fmt: skip
    assert one_line(done.stderr).startswith(r"echosvc: --to '\xff:1': '\xff' is no host name")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_of_serve_is_that_of_the_others(option: str) -> None:
    done = echosvc("serve", option)
    assert done.stdout.startswith(b"Usage: echosvc serve")
    assert (done.returncode, done.stderr) == (0, b"")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "serve", option],
        stderr=subprocess.PIPE, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert one_line(closed.stderr) == "echosvc: standard output: EBADF (it is closed)"
    assert closed.returncode == 1


def test_a_long_wrong_argument_is_cut_in_the_middle() -> None:
    line = one_line(echosvc("send", "--to", f"carrier:{'a' * 5000}", "x").stderr)
    assert len(line) < 600
    assert line.startswith("echosvc: --to 'carrier:aaa")
    assert "'carrier' is no kind of endpoint, and no port follows it: write PORT" in line


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["send", "--help"]])
def test_what_cannot_be_printed_is_a_failure(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            env=environment(),
        )
    assert one_line(done.stderr).startswith("echosvc: standard output: ENOSPC")
    assert done.returncode == 1


def test_a_handshake_without_an_answer_is_reported_in_plain_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = f"tls:localhost:{silent.getsockname()[1]}:timeout=1"
        for words in (["--deadline", "0.3"], ["--deadline", "0"]):
            done = echosvc("send", *words, "--to", to, "x")
            assert one_line(done.stderr).startswith("Socket Error: connect ETIMEDOUT 127.0.0.1:")
            assert done.returncode == 1


#: SIGINT arrives just when the conversation's modules are about to be imported.
_INTERRUPTED_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN if {ignored} else signal.default_int_handler)
class Interrupt:
    def find_spec(self, name, *_):
        if name == "echosvc.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from echosvc.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_while_python_imports_is_silent(ignored: bool) -> None:
    """Unless it is ignored, as in a shell's background: then nothing happens."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_IMPORT.format(ignored=ignored), "--version"],
        capture_output=True, text=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert done.stderr == ""
    assert (done.returncode, done.stdout != "") == ((0, True) if ignored else (130, False))


@pytest.mark.parametrize("words", [["--help"], ["send", "--help"], ["demo", "--help"]])
def test_help_has_examples(words: list[str]) -> None:
    done = echosvc(*words)
    assert done.returncode == 0
    assert b"examples:" in done.stdout


def test_demo_runs_three_sessions(to: tuple[str, str]) -> None:
    done = echosvc("demo", *to)
    lines = done.stdout.decode().splitlines()
    for name, message in cli.DEMO:
        assert f"{name} From Server: Sending: {message}" in lines
        assert f"{name} Client disconnected" in lines
    assert lines.count("Socket Closed") == 3
    assert done.returncode == 0


def test_demo_fails_if_one_is_not_answered() -> None:
    with running("--discard") as server:
        done = echosvc("demo", "--to", f"tcp:127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 3

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = echosvc("demo", "--to", f"tcp:127.0.0.1:{unused.getsockname()[1]}")
    assert "ECONNREFUSED" in one_line(done.stderr)  # once, not three times


def test_the_exit_status_is_the_worst_of_all_sessions() -> None:
    """In process, for what a subprocess cannot show."""
    reactor = MemoryReactorClock()
    reactor.run = lambda: reactor.whenRunningHooks[0][0]()  # not the signal handlers

    async def fine() -> None:
        return

    async def broken() -> None:
        raise ValueError("boo")

    assert cli._run(reactor, lambda: [fine()]) == cli.EXIT_OK
    assert reactor.hasStopped
    reactor.whenRunningHooks.clear()
    assert cli._run(reactor, lambda: [fine(), broken()]) == cli.EXIT_FAILURE
    reactor.whenRunningHooks.clear()

    async def endless() -> None:
        await Deferred()

    def interrupt() -> None:
        reactor.whenRunningHooks[0][0]()
        for trigger, _, _ in reactor.triggers["before"]["shutdown"]:
            trigger()

    reactor.run = interrupt
    assert cli._run(reactor, lambda: [endless()]) == cli.EXIT_INTERRUPTED


def test_arguments_become_sessions() -> None:
    reactor = MemoryReactorClock()
    for words in (["send", "--quiet", "a", "b"], ["demo"]):
        parsed = cli.parser().parse_args(words)
        talks = parsed.run(parsed, reactor, cli.target_from_args(reactor, parsed))
        assert len(talks) == (3 if words == ["demo"] else 1)
        for talk in talks:
            talk.close()
