"""``echosvc send`` against hostile servers, full disks and closed outputs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from echosvc.cli import main as cli
from echosvc.cli.commands import DEMO, parser
from echosvc.cli.coroutines import run_coroutines
from echosvc.cli.target import target_from_args
from echosvc.cli.terminal import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK
from tests.support.commands import echosvc, one_line, plain_server
from tests.support.process import ECHOSVC, ROOT, Process, environment, running
from tests.support.sockets import receive_all
from tests.support.waiting import LIMIT

TLS = ("--to", "tls:localhost:1")
#: Runs a command in this process that refuses its arguments; gives what it says.
Refused = Callable[..., str]


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Refused:
    def run(*words: str) -> str:
        try:
            status = cli.main(list(words))
        except SystemExit as leaving:
            status = leaving.code
        out, err = capfd.readouterr()
        assert (status, out) == (2, "")
        return one_line(err.encode())

    return run


SEVERAL = "{hostname}-{peer}-{local}: "


@pytest.mark.slow
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


@pytest.mark.slow
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
        client = Process([*ECHOSVC, "send", "--to", to, "hi"])
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
        (["send", *TLS, "--ca", "/no/such", "x"], "echosvc: --ca: /no/such: ENOENT"),
        (["send", *TLS, "--cert", "/no/such", "x"], "echosvc: --cert: /no/such: ENOENT"),
        (["send", *TLS, "--insecure", "--ca", "c", "x"], "--insecure: verifies nothing, but"),
        (
            ["send", *TLS[:1], f"{TLS[1]}:trustRoots=c", "--insecure", "x"],
            "--insecure: verifies nothing, but",
        ),
        (["send", *TLS[:1], f"{TLS[1]}:trustRoots=/no", "x"], "echosvc: --to 'tls:localhost:1:"),
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
def test_wrong_arguments_are_one_line_and_status_2(
    words: list[str], complaint: str, refused: Refused
) -> None:
    line = refused(*words)
    assert complaint in line
    assert line.startswith("echosvc: ")


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
def test_two_dashes_are_a_value_like_another(words: list[str], refused: Refused) -> None:
    option = next(each for each in words if each.endswith("=--"))[:-3]
    expected = "there is no probe '--'" if option in ("--only", "--skip") else option
    assert expected in refused(*words)


def test_two_dashes_can_be_a_prefix() -> None:
    with running("--prefix=--") as server:
        to = f"127.0.0.1:{server.port}"
        for option in (["--prefix=--"], ["-p--"]):
            done = echosvc("send", "--to", to, "--quiet", *option, "x")
            assert (done.stdout, done.stderr) == (b"--x\n", b"")


def test_a_value_for_a_flag_is_refused_in_plain_words(refused: Refused) -> None:
    line = refused("send", "--quiet=2", "x")
    assert line == "echosvc: --quiet: takes no value, and '2' was given"


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
        ["sh", "-c", 'cd "$0"; rmdir "$0"; exec "$@"', here, *ECHOSVC, *words.split()],
        capture_output=True, timeout=LIMIT,
        env={**environment(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    line = one_line(done.stderr)
    assert "some: ENOENT (No such file or directory" in line
    assert done.returncode in (1, 2)


@pytest.mark.parametrize("text", ["-1", "inf", "1e400"])
def test_a_number_is_refused_as_it_was_written(text: str, refused: Refused) -> None:
    must = f"must be a time such as 30, 1.5s, 500ms, 10m or 2h, at most 30 days, not '{text}'"
    assert refused("send", f"--timeout={text}", "x").endswith(must)
    must = f"must be a number of seconds, 0 or more, not '{text}'"
    assert one_line(echosvc("serve", f"--idle-timeout={text}").stderr).endswith(must)


def test_an_expression_is_refused_in_plain_words(refused: Refused) -> None:
    line = refused("check", "--identity", "(", "1")
    assert line == "echosvc: --identity: '(' is no regular expression (at character 1)"


@pytest.mark.parametrize("command", ["send", "check", "serve"])
def test_every_command_names_an_option_and_a_place_alike(command: str) -> None:
    line = one_line(echosvc(command, "--prefix", "ab}", *["1"] * (command != "serve")).stderr)
    assert line == "echosvc: --prefix: a single '}' at character 3: write '}}'"


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    done = subprocess.run(
        [*ECHOSVC, "send", "--to", b"\xff:1", "x"], capture_output=True, timeout=LIMIT,
        env=environment(),
    )  # fmt: skip
    assert one_line(done.stderr).startswith(r"echosvc: --to '\xff:1': '\xff' is no host name")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_of_serve_is_that_of_the_others(option: str) -> None:
    done = echosvc("serve", option)
    assert done.stdout.startswith(b"Usage: echosvc serve")
    assert (done.returncode, done.stderr) == (0, b"")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *ECHOSVC, "serve", option],
        stderr=subprocess.PIPE, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert one_line(closed.stderr) == "echosvc: standard output: EBADF (it is closed)"
    assert closed.returncode == 1


def test_a_long_wrong_argument_is_cut_in_the_middle(refused: Refused) -> None:
    line = refused("send", "--to", f"carrier:{'a' * 5000}", "x")
    assert len(line) < 600
    assert line.startswith("echosvc: --to 'carrier:aaa")
    assert "'carrier' is no kind of endpoint, and no port follows it: write PORT" in line


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["send", "--help"]])
def test_what_cannot_be_printed_is_a_failure(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*ECHOSVC, *words],
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
def test_help_has_examples(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert "examples:" in capfd.readouterr().out


def test_demo_runs_three_sessions(to: tuple[str, str]) -> None:
    done = echosvc("demo", *to)
    lines = done.stdout.decode().splitlines()
    for name, message in DEMO:
        assert f"{name} From Server: Sending: {message}" in lines
        assert f"{name} Client disconnected" in lines
    assert lines.count("Socket Closed") == 3
    assert done.returncode == 0


@pytest.mark.slow
def test_demo_fails_if_one_is_not_answered() -> None:
    with running("--discard") as server:
        done = echosvc("demo", "--to", f"tcp:127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 3


def test_demo_reports_once_that_no_server_listens() -> None:
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

    assert run_coroutines(reactor, lambda: [fine()]) == EXIT_OK
    assert reactor.hasStopped
    reactor.whenRunningHooks.clear()
    assert run_coroutines(reactor, lambda: [fine(), broken()]) == EXIT_FAILURE
    reactor.whenRunningHooks.clear()

    async def endless() -> None:
        await Deferred()

    def interrupt() -> None:
        reactor.whenRunningHooks[0][0]()
        for trigger, _, _ in reactor.triggers["before"]["shutdown"]:
            trigger()

    reactor.run = interrupt
    assert run_coroutines(reactor, lambda: [endless()]) == EXIT_INTERRUPTED


def test_arguments_become_sessions() -> None:
    reactor = MemoryReactorClock()
    for words in (["send", "--quiet", "a", "b"], ["demo"]):
        parsed = parser().parse_args(words)
        talks = parsed.start(parsed, reactor, target_from_args(reactor, parsed))
        assert len(talks) == (3 if words == ["demo"] else 1)
        for talk in talks:
            talk.close()
