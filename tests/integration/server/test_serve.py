"""``echosvc serve``: the service in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from echosvc.wire.framing import FRAMINGS
from tests.support.process import ROOT, SERVE, Process, denied, environment, refused, serving_alone
from tests.support.sockets import exchange, receive_exactly
from tests.support.waiting import LIMIT, wait_until


def failed(*words: str, status: int, **popen: object) -> str:
    """Start one that cannot; give its one line of complaint."""
    done = subprocess.run(
        [*SERVE, *words], capture_output=True, text=True, timeout=LIMIT, env=environment(), **popen
    )
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.startswith("echosvc: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize("reactor", ["default", "lean", "asyncio", "epoll", "poll", "select"])
def test_it_serves_on_any_reactor_and_a_signal_stops_it(reactor: str) -> None:
    with serving_alone(reactor=reactor) as server:
        assert exchange(("127.0.0.1", server.port), b"x") == b"Sending: x"
        server.wait_line(r"echosvc#info\] Client disconnected: .* outcome = finished")
        assert server.stop() == 0
        assert server.matching("Server Terminated")
        assert not server.matching("Traceback")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_clients_finish_and_a_second_one_ends_them(number: int) -> None:
    with serving_alone("--drain", "3600") as server, server.connect() as client:
        client.sendall(b"x")
        assert receive_exactly(client, 10) == b"Sending: x"
        server.signal(number)
        wait_until(lambda: refused(server))
        client.sendall(b"y")
        assert receive_exactly(client, 10) == b"Sending: y"
        server.signal(number)
        assert server.wait() == 0
        assert len(server.matching("Client disconnected.* outcome = aborted")) == 1


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    """As in ``command &`` of a shell without job control."""
    with serving_alone(ignores_interrupt=True) as server:
        server.signal(signal.SIGINT)
        assert exchange(("127.0.0.1", server.port), b"x") == b"Sending: x"
        assert server.stop() == 0


def test_a_hangup_reads_certificates_again_and_does_not_end_it(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
        check=True, capture_output=True, timeout=LIMIT,
    )  # fmt: skip
    listen = f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/key:certKey={tmp_path}/cert"
    with serving_alone("--listen", listen) as server:
        server.signal(signal.SIGHUP)
        server.wait_line("Certificates reloaded")
        assert server.stop() == 0


def test_it_writes_nothing_and_needs_no_home(tmp_path: Path) -> None:
    """In a directory, and as a user, where nothing can be written."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o555)
    bare = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with serving_alone(cwd=place, env=bare, preexec_fn=denied) as server:
        assert exchange(("127.0.0.1", server.port), b"x") == b"Sending: x"
        assert server.stop() == 0
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--framing", "no"], f"--framing: must be one of {', '.join(FRAMINGS)}, not 'no'"),
        (["--reactor", "no"], "--reactor: must be one of default, lean, asyncio,"),
        (["--reactor", "kqueue"], "--reactor: this system has no kqueue"),
        (["--listen", "tcp:0", "--logfile", "/no/such/file"], "--logfile: /no/such/file: ENOENT"),
        (["--listen", "tcp:http"], "--listen 'tcp:http': "),
        (["--tls-client-ca", "/no/such"], "--tls-client-ca: no --listen speaks TLS"),
        (["word"], "unexpected argument 'word'"),
        (["--pidfile", "x"], "option --pidfile not recognized"),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(words: list[str], why: str) -> None:
    """As that of the other commands."""
    assert failed(*words, status=2).startswith(f"echosvc: {why}")


def test_a_listener_that_cannot_open_is_one_line_and_status_1() -> None:
    line = failed("--listen", "unix:/no/such/directory/socket", status=1)
    assert line.startswith("echosvc: cannot listen on unix:/no/such/")


def test_the_help_has_every_option_and_examples() -> None:
    done = subprocess.run(
        [*SERVE, "--help"], capture_output=True, text=True, timeout=LIMIT, env=environment()
    )
    assert done.returncode == 0
    for words in (
        "Usage: echosvc serve [options]\n", "--listen=", "--prefix=", "--tls-client-ca=",
        "--reactor=", "--logfile=", "\n  echosvc serve --prefix",
        "\nExit status: 0 stopped by a signal, 1 it cannot listen or run on, 2 usage error.\n",
    ):  # fmt: skip
        assert words in done.stdout
    assert "twistd" not in done.stdout


def test_help_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*SERVE, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=LIMIT,
            env=environment(), text=True,
        )  # fmt: skip
    assert done.stderr == "echosvc: standard output: ENOSPC (No space left on device)\n"
    assert done.returncode == 1


def test_the_log_goes_to_a_file_that_can_be_moved(tmp_path: Path) -> None:
    log, moved = tmp_path / "log", tmp_path / "log.1"
    options = ("--logfile", "log", "--listen", f"unix:{tmp_path}/s")
    server = Process([*SERVE, *options], cwd=tmp_path)
    try:
        wait_until(lambda: log.exists() and "Server listening" in log.read_text())
        log.rename(moved)
        server.signal(signal.SIGUSR1)
        wait_until(log.exists)
        assert exchange(f"{tmp_path}/s", b"x") == b"Sending: x"
        wait_until(lambda: "Client disconnected" in log.read_text())
        assert "Client" not in moved.read_text()
        server.signal()
        assert server.wait() == 0
        assert server.lines == []
    finally:
        server.close()


def test_a_log_that_cannot_be_opened_again_stays_in_use(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    server = Process(
        [*SERVE, "--logfile", str(place / "log"), "--listen", f"unix:{tmp_path}/s"],
    )
    try:
        wait_until((tmp_path / "s").exists)
        wait_until((place / "log").exists)
        wait_until(lambda: "Server listening" in (place / "log").read_text())
        place.rename(tmp_path / "away")
        server.signal(signal.SIGUSR1)
        log = tmp_path / "away" / "log"
        wait_until(lambda: "the log stays in the open file" in log.read_text())
        server.signal()
        assert server.wait() == 0
        assert "Server Terminated" in log.read_text()
    finally:
        server.close()


def test_a_standard_output_of_ascii_alone_is_no_error() -> None:
    with serving_alone(
        "--log", "messages", env={**environment(), "PYTHONIOENCODING": "ascii"}
    ) as server:
        exchange(("127.0.0.1", server.port), "höher".encode())
        server.wait_line("Client disconnected")
        assert server.matching("Received data from client")
        assert server.stop() == 0


def test_a_client_is_not_imported_for_it() -> None:
    code = (
        "import sys; sys.argv = ['echosvc', 'serve', '--version'];"
        " from echosvc.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('echosvc.client', 'echosvc.cli.main')))"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=LIMIT, env=environment())
    assert done.returncode == 0


def test_as_the_first_process_of_a_container_it_stops_and_starts_again(tmp_path: Path) -> None:
    """Its number is 1 each time: no file of ours may name it, and each signal needs a handler."""
    if os.geteuid() or subprocess.run(["unshare", "-pf", "true"], capture_output=True).returncode:
        pytest.skip("a namespace of processes needs root")
    (tmp_path / "place").mkdir()
    command = ["unshare", "-pf", "--kill-child", *SERVE, "-l", f"unix:{tmp_path}/s"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        outside = Process(command, cwd=tmp_path / "place")
        try:
            outside.wait_line("Server listening")
            inner = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
            os.kill(int(inner[0]), number)
            assert (outside.wait() == 0) == (number == signal.SIGTERM)
        finally:
            outside.close()
    assert outside.matching("Server Terminated")
    assert list((tmp_path / "place").iterdir()) == []


def test_two_listeners_of_it_are_served() -> None:
    listen = ["-l", "tcp:0:interface=127.0.0.1"] * 2
    with serving_alone(*listen) as server:
        server.wait_lines("Server listening", 2)
        for facts in server.listeners:
            assert exchange(("127.0.0.1", int(str(facts["port"]))), b"x") == b"Sending: x"


def test_it_serves_what_a_file_and_the_environment_say(tmp_path: Path) -> None:
    file = tmp_path / "echosvc.toml"
    file.write_text('prefix = "file "\ngreeting = "hi "\n[[listen]]\nendpoint = "127.0.0.1:0"\n')
    command = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    variables = {"ECHOSVC_CONFIG": str(file), "ECHOSVC_PREFIX": "variable "}
    process = Process([*SERVE, "--drain", "0"], env={**command, **variables})
    try:
        port = int(process.wait_line("Server listening: ").rstrip("}").rpartition(":")[2])
        assert exchange(("127.0.0.1", port), b"x") == b"hi variable x"
        process.signal()
        assert process.wait() == 0
    finally:
        process.close()
