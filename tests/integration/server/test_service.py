"""The service as a process: start, failed start, drain, signals, paths."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from echosvc.cli.serve_options import Options
from echosvc.cli.twistd import makeService
from echosvc.wire.framing import FRAMINGS
from tests.support.process import (
    TWISTD,
    Process,
    Server,
    denied,
    environment,
    need,
    refused,
    running,
)
from tests.support.sockets import connect, exchange, receive_all, receive_exactly
from tests.support.waiting import LIMIT, wait_until

TWIST = [sys.executable, "-m", "twisted"]


def failed_start(
    *words: str,
    daemon: bool = False,
    cwd: Path | None = None,
    preexec_fn: Callable[[], None] | None = None,
) -> str:
    """Start a server that cannot; give its one line of complaint."""
    twistd = [word for word in TWISTD if not (daemon and word == "-n")]
    done = subprocess.run(
        [*twistd, "echosvc", *words],
        capture_output=True, text=True, timeout=LIMIT, env=environment(), cwd=cwd,
        preexec_fn=preexec_fn,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("echosvc: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr.strip()


@pytest.mark.parametrize("daemon", [False, True], ids=["foreground", "daemon"])
def test_a_busy_port_is_one_line_and_the_first_server_undisturbed(
    daemon: bool, tmp_path: Path
) -> None:
    with running() as first:
        where = f"127.0.0.1:{first.port}"
        listen = f"tcp:{first.port}:interface=127.0.0.1"
        line = failed_start("--listen", listen, daemon=daemon, cwd=tmp_path)
        assert line == f"echosvc: cannot listen on {where}: EADDRINUSE (Address already in use)"
        assert exchange(("127.0.0.1", first.port), b"x") == b"Sending: x"
        assert not list(tmp_path.glob("twistd.*"))


@pytest.mark.parametrize("daemon", [False, True], ids=["foreground", "daemon"])
@pytest.mark.parametrize(
    ("listen", "complaint"),
    [
        ("unix:/no/such/directory/socket", "unix:/no/such/directory/socket: ENOENT"),
        ("tcp:0:interface=203.0.113.1", "203.0.113.1:0: EADDRNOTAVAIL"),
        ("tcp:0:interface=no.such.host.invalid", "no.such.host.invalid:0: ENOTFOUND"),
    ],
)
def test_where_nobody_can_listen_is_one_line(
    listen: str, complaint: str, daemon: bool, tmp_path: Path
) -> None:
    assert complaint in failed_start("--listen", listen, daemon=daemon, cwd=tmp_path)


@pytest.mark.parametrize("daemon", [False, True], ids=["foreground", "daemon"])
def test_a_denied_path_is_one_line(daemon: bool, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o500)
    words = ("--listen", f"unix:{closed}/socket")
    line = failed_start(*words, daemon=daemon, cwd=tmp_path, preexec_fn=denied)
    expected = f"unix:{closed}/socket: EACCES (Permission denied)"
    assert line == f"echosvc: cannot listen on {expected}"


def test_one_of_two_listeners_that_fails_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    failed_start("--listen", f"unix:{path}", "--listen", "tcp:0:interface=203.0.113.1")
    assert not path.exists()


def test_every_listener_says_its_real_address(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(
        "--listen", "tcp:0:interface=127.0.0.1", "--listen", f"unix:{path}", "--listen",
        "tcp6:0:interface=::1".replace("::", r"\:\:"),
    ) as server:  # fmt: skip
        server.wait_lines("Server listening", 3)
        port, port6 = server.listeners[0]["port"], server.listeners[2]["port"]
        assert server.listeners == [
            {"address": "127.0.0.1", "family": "IPv4", "port": port},
            {"path": str(path)},
            {"address": "::1", "family": "IPv6", "port": port6},
        ]
        for address in (("127.0.0.1", port), str(path), ("::1", port6)):
            assert exchange(address, b"x") == b"Sending: x"


def test_one_listener_serves_both_families_and_shows_ipv4_as_such() -> None:
    with running("--listen", r"tcp:0:interface=\:\:", "--prefix", "{peer}|{local}|") as server:
        with connect(("127.0.0.1", server.port)) as client:
            here, there = (
                f"127.0.0.1:{end[1]}" for end in (client.getsockname(), client.getpeername())
            )
            client.sendall(b"x")
            expected = f"{here}|{there}|x".encode()
            assert receive_exactly(client, len(expected)) == expected
        server.wait_line(f"Client connection: local = {there} remote = {here}")
        with connect(("::1", server.port)) as client:
            client.sendall(b"x")
            expected = f"[::1]:{client.getsockname()[1]}|".encode()
            assert receive_exactly(client, len(expected)) == expected


@pytest.mark.parametrize("words", [[], ["--backlog"]], ids=["default", "given"])
def test_the_backlog_is_511_or_as_given(words: list[str]) -> None:
    listen = "tcp:0:interface=127.0.0.1" + (":backlog=7" if words else "")
    with running("--listen", listen) as server:
        done = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, timeout=LIMIT)
        line = next(line for line in done.stdout.splitlines() if f":{server.port} " in line)
        assert int(line.split()[2]) == (7 if words else min(511, _most_backlog()))


def _most_backlog() -> int:
    return int(Path("/proc/sys/net/core/somaxconn").read_text())


def test_a_path_is_gone_after_the_stop_and_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running("--listen", f"unix:{path}:mode=600") as server:
        assert path.stat().st_mode & 0o777 == 0o600
        assert exchange(str(path), b"x") == b"Sending: x"
        server.stop()
        assert not path.exists()


def test_a_dead_path_is_taken_over_and_a_live_one_is_not(tmp_path: Path) -> None:
    listen = ("--listen", f"unix:{tmp_path}/socket")
    with running(*listen) as first:
        assert "EADDRINUSE" in failed_start(*listen)
        assert exchange(f"{tmp_path}/socket", b"x") == b"Sending: x"
        first.signal(signal.SIGKILL)
        first.wait()
        with running(*listen):
            assert exchange(f"{tmp_path}/socket", b"x") == b"Sending: x"


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "no socket" in failed_start("--listen", f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_successors_path_is_not_removed(tmp_path: Path) -> None:
    listen, path = ("--listen", f"unix:{tmp_path}/socket"), tmp_path / "socket"
    with running(*listen) as first:
        path.unlink()
        with running(*listen):
            first.stop()
            assert exchange(str(path), b"x") == b"Sending: x"


def test_an_abstract_name_needs_no_file() -> None:
    name = f"echosvc-test-{os.getpid()}"
    with running("--listen", f"unix:@{name}") as server:
        assert server.listeners == [{"path": f"@{name}"}]
        assert exchange(f"\0{name}", b"x") == b"Sending: x"
        assert server.stop() == -signal.SIGTERM


def test_a_daemon_serves_and_a_relative_path_is_where_it_was_started(tmp_path: Path) -> None:
    twistd = [word for word in TWISTD if word not in ("-n", "--pidfile=")]
    subprocess.run(
        [*twistd, "--pidfile=pid", "--rundir=/", f"--logfile={tmp_path}/log",
         "echosvc", "--listen", "unix:socket"],
        check=True, timeout=LIMIT, env=environment(), cwd=tmp_path,
    )  # fmt: skip
    pid = int((tmp_path / "pid").read_text())
    try:
        assert exchange(f"{tmp_path}/socket", b"x") == b"Sending: x"
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not (tmp_path / "socket").exists())
    wait_until(lambda: "Server Shut Down" in (tmp_path / "log").read_text())


@pytest.mark.parametrize("whose", ["own", "dead", "living"])
def test_a_pid_file_that_names_this_very_process_is_an_earlier_ones(
    whose: str, tmp_path: Path
) -> None:
    """After a kill, a container's process has the same number again."""
    (tmp_path / "pid").write_text(str({"own": 0, "dead": 2**22, "living": os.getpid()}[whose]))
    code = "import os, sys; own = sys.argv.pop(1)\n"
    code += "if own == 'own': open('pid', 'w').write(str(os.getpid()))\n"
    code += "from twisted.scripts.twistd import run; run()"
    words = ["-n", "--pidfile=pid", "echosvc", "-l", f"unix:{tmp_path}/s"]
    server = Process([sys.executable, "-c", code, whose, *words], cwd=tmp_path)
    try:
        if whose == "living":
            assert server.wait() == 1
            assert server.matching("Another twistd server is running")
            return
        server.wait_line("Server listening")
        assert int((tmp_path / "pid").read_text()) == server.pid
        server.signal()
        assert server.wait() == -signal.SIGTERM
        assert not (tmp_path / "pid").exists()
    finally:
        server.close()


def test_twist_runs_it_too() -> None:
    server = Process([*TWIST, "--log-format=text", "echosvc", "--listen", "tcp:0"])
    try:
        server.wait_line("Server listening")
        server.signal()
        assert server.wait() == -signal.SIGTERM
        assert server.matching("Server Terminated")
    finally:
        server.close()


def test_wrong_words_under_twist_are_one_line() -> None:
    done = subprocess.run(
        [*TWIST, "echosvc", "--framing", "no"], capture_output=True, text=True,
        timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert done.stderr == (f"echosvc: --framing: must be one of {', '.join(FRAMINGS)}, not 'no'\n")
    assert done.returncode == 1


def test_a_stopping_server_refuses_new_and_serves_live_connections() -> None:
    with running() as server, server.connect() as live:
        live.sendall(b"before")
        assert receive_exactly(live, 15) == b"Sending: before"
        server.signal()
        wait_until(lambda: refused(server))
        live.sendall(b"after")
        assert receive_exactly(live, 14) == b"Sending: after"
        assert server.popen.poll() is None
        live.shutdown(socket.SHUT_WR)
        assert receive_all(live) == b""
        assert server.wait() == -signal.SIGTERM
        assert "outcome = finished" in server.matching("Client disconnected")[0]
        assert server.matching("Server Terminated")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_the_drain_is_over_live_connections_are_closed_politely(number: int) -> None:
    with running("--drain", "0.3") as server, server.connect() as live:
        live.sendall(b"x")
        assert receive_exactly(live, 10) == b"Sending: x"
        started = time.monotonic()
        server.signal(number)
        assert receive_all(live) == b""
        assert time.monotonic() - started >= 0.3
        live.close()
        assert server.wait() == -number
        assert "outcome = drained" in server.matching("Client disconnected")[0]


def test_a_client_that_never_closes_does_not_hold_up_the_stop() -> None:
    with running("--drain", "0.1", "--linger", "0.2") as server, server.connect() as live:
        live.sendall(b"x")
        receive_exactly(live, 10)
        server.signal()
        assert server.wait() == -signal.SIGTERM


def test_a_client_that_never_reads_does_not_hold_up_the_stop() -> None:
    with running("--drain", "0.1", "--linger", "0.2") as server, server.connect() as live:
        live.settimeout(1.0)
        with pytest.raises(TimeoutError):
            live.sendall(bytes(64 << 20))
        server.signal()
        assert server.wait() == -signal.SIGTERM
        assert "outcome = drained" in server.matching("Client disconnected")[0]


def test_a_second_signal_ends_at_once() -> None:
    with running("--drain", "3600") as server, server.connect() as live:
        live.sendall(b"x")
        receive_exactly(live, 10)
        server.signal()
        wait_until(lambda: refused(server))
        server.signal()
        assert server.wait() == -signal.SIGTERM
        assert len(server.matching("Client disconnected.*outcome = aborted")) == 1
        assert not server.matching("Traceback|Unhandled")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_clients_in_the_queue_of_a_stopping_server_are_answered(kind: str, tmp_path: Path) -> None:
    """Closing a listening socket resets whoever waits in its queue."""
    listen = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/socket"
    with running("--listen", listen) as server:
        address = str(tmp_path / "socket") if kind == "unix" else ("127.0.0.1", server.port)
        server.signal(signal.SIGSTOP)
        clients = [connect(address) for _ in range(200)]
        for client in clients:
            client.sendall(b"x")
        server.signal()
        server.signal(signal.SIGCONT)
        for client in clients:
            assert receive_exactly(client, 10) == b"Sending: x"
            client.close()
        assert server.wait() == -signal.SIGTERM


@pytest.mark.programs
@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
def test_tls_answers_all_that_came_before_the_clients_end(framing: str, tmp_path: Path) -> None:
    """The close_notify comes right behind the data, in the middle of our pause."""
    node = need("node")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=LIMIT,
    )  # fmt: skip
    listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    with running("--listen", listen, "--prefix", "", "--framing", framing) as server:
        for size in (1, 60_000, 100_000, 200_000, 1_000_000):
            script = _TLS_CLIENT.replace("PORT", str(server.port)).replace("SIZE", str(size))
            done = subprocess.run(
                [node, "-e", script], capture_output=True, text=True, timeout=LIMIT
            )
            assert done.stdout == f"{size // 8 * 8}\n", (size, done.stderr)
        server.wait_lines("outcome = finished", 5)


# Sends frames of 4 bytes behind a length of 4, the second with an LF at its end.
_TLS_CLIENT = """
const data = Buffer.alloc(Math.floor(SIZE / 8) * 8, Buffer.from("0000000461620a0a", "hex"));
let back = 0;
require("tls").connect({port: PORT, host: "127.0.0.1", rejectUnauthorized: false}, function () {
  this.end(data);
}).on("data", (piece) => { back += piece.length; })
  .on("close", () => console.log(back));
"""


@pytest.mark.parametrize("reactor_name", ["asyncio", "poll", "select"])
def test_nothing_is_lost_under_another_reactor(reactor_name: str) -> None:
    with running(twistd=(f"--reactor={reactor_name}",)) as server:
        data = os.urandom(1 << 20)
        for _ in range(20):
            assert exchange(("127.0.0.1", server.port), b"x") == b"Sending: x"
        assert receive_after_sending(server, data).replace(b"Sending: ", b"") == data
        assert server.stop() == -signal.SIGTERM


def receive_after_sending(server: Server, data: bytes) -> bytes:
    import threading

    with server.connect() as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        back = receive_all(client)
        thread.join(LIMIT)
        return back


@pytest_twisted.ensureDeferred
async def test_the_options_become_a_running_service() -> None:
    """In process: what twistd does with the plugin."""
    options = Options()
    options.parseOptions(
        ["--listen", "tcp:0:interface=127.0.0.1", "--prefix", "> ", "--drain", "0"]
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    service = makeService(options)
    service.privilegedStartService()
    service.startService()
    address = ("127.0.0.1", service.ports[0].getHost().port)
    try:
        assert await deferToThread(exchange, address, b"x") == b"> x"
        live = await deferToThread(connect, address)
        stopped = service.stopService()
        signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)
        await stopped
        live.close()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert service.factory.accepted == 2
    assert not service.ports
    assert reactor.running


def test_a_service_that_cannot_listen_is_not_built(capfd: pytest.CaptureFixture[str]) -> None:
    options = Options()
    options.parseOptions(["--listen", "unix:/no/such/directory/socket"])
    with pytest.raises(SystemExit) as exit_:
        makeService(options)
    assert exit_.value.code == 1
    assert capfd.readouterr().err == (
        "echosvc: cannot listen on unix:/no/such/directory/socket:"
        " ENOENT (No such file or directory)\n"
    )
