"""Output arrives completely, or it is known why not; on real descriptors."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from echosvc.cli.terminal import LossyStderr, OutputError, StandardOutput, write_all
from tests.support.commands import slow
from tests.support.process import ECHOSVC, environment, running, with_interrupt
from tests.support.waiting import LIMIT

MIB = 1 << 20


def read_to_end(descriptor: int, into: bytearray, size: int = 65536) -> None:
    while piece := os.read(descriptor, size):
        into += piece


@contextmanager
def pipe(blocking: bool = True, size: int = 65536) -> Iterator[tuple[int, bytearray]]:
    """The end to write to, and what a thread has read from the other one when this is left."""
    out, into = os.pipe()
    os.set_blocking(into, blocking)
    came = bytearray()
    reader = threading.Thread(target=read_to_end, args=(out, came, size), daemon=True)
    reader.start()
    try:
        yield into, came
    finally:
        os.close(into)
        reader.join(LIMIT)
        os.close(out)


def test_a_descriptor_that_does_not_block_gets_all() -> None:
    data = os.urandom(MIB)
    with pipe(blocking=False) as (into, came):
        output = StandardOutput(into)
        output.write(data)
        output.write(b"end")
    assert bytes(came) == data + b"end"


def test_signals_in_between_lose_nothing() -> None:
    """A write that a signal ends has written a part."""
    data, signals = os.urandom(MIB), []
    before = signal.signal(signal.SIGALRM, lambda *_: signals.append(1))
    try:
        with pipe(size=512) as (into, came):
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            StandardOutput(into).write(data)
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert signals
    assert bytes(came) == data


def test_nothing_is_written_after_an_error() -> None:
    out, into = os.pipe()
    os.close(out)
    output = StandardOutput(into)
    with pytest.raises(OutputError, match="EPIPE"):
        output.write(b"lost")
    os.dup2(os.open(os.devnull, os.O_WRONLY), into)
    with pytest.raises(OutputError, match="EPIPE"):
        output.write(b"behind a gap")
    os.close(into)


def test_writing_to_a_descriptor_that_takes_nothing_times_out() -> None:
    out, into = os.pipe()
    os.set_blocking(into, False)
    with pytest.raises(TimeoutError):
        write_all(into, b"x" * MIB, timeout=0.01)
    os.close(out)
    os.close(into)


def test_an_error_of_standard_output_names_its_cause() -> None:
    full = OutputError(OSError(errno.ENOSPC, "No space left on device"))
    assert str(full) == "standard output: ENOSPC (No space left on device)"
    assert "EBADF (it is closed)" in str(OutputError(OSError(errno.EBADF, "")))


def test_writing_to_a_lossy_standard_error_never_raises() -> None:
    assert LossyStderr().fileno() == 2
    saved, (out, into) = os.dup(2), os.pipe()
    os.set_blocking(into, False)
    try:
        os.dup2(into, 2)
        assert LossyStderr().write("x" * MIB) == MIB
        os.close(out)
        assert LossyStderr().write("x") == 1
        assert not LossyStderr().isatty()
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(into)


# -- the commands -----------------------------------------------------------------------


@contextmanager
def full_pipe() -> Iterator[tuple[int, int, int]]:
    """A pipe that does not block and takes no more: both ends, and what is in it, bytes."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    size = fcntl.fcntl(into, fcntl.F_GETPIPE_SZ)
    assert os.write(into, b"." * size) == size
    try:
        yield out, into, size
    finally:
        os.close(out)


def unbuffered(value: str) -> dict[str, str]:
    return {**environment(), "PYTHONUNBUFFERED": value}


def words_of(name: str, port: int) -> list[str]:
    to = f"tcp:127.0.0.1:{port}"
    return {
        "send": ["send", "--to", to, "--raw", "hi"],
        "demo": ["demo", "--to", to],
        "check": ["check", to, "--only", "connect"],
        "json": ["check", to, "--only", "connect", "--json"],
        "help": ["--help"],
        "version": ["--version"],
    }[name]


LAST = {
    "send": b"hi", "demo": b"Socket Closed\n", "check": b"1 passed, 0 failed\n",
    "json": b"}\n", "help": b"130 interrupted\n", "version": b"\n",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize("name", LAST)
def test_a_full_standard_output_that_does_not_block_is_waited_for(
    name: str, buffering: str
) -> None:
    came = bytearray()
    with (
        running("--log", "quiet") as server,
        full_pipe() as (out, into, size),
        subprocess.Popen(
            [*ECHOSVC, *words_of(name, server.port)],
            stdout=into, stderr=subprocess.PIPE, env=unbuffered(buffering),
        ) as process,
    ):  # fmt: skip
        os.close(into)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        read_to_end(out, came)
        assert (process.wait(LIMIT), process.stderr.read()) == (0, b"")
    assert bytes(came[:size]) == b"." * size
    assert bytes(came[size:]).endswith(LAST[name])


@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_reader_that_is_slow_and_a_writer_that_is_stopped_lose_nothing(buffering: str) -> None:
    """SIGCONT ends a write in the middle."""
    data = os.urandom(3 * MIB)
    with running("--log", "quiet", "--prefix", "") as server:
        client = subprocess.Popen(
            [*ECHOSVC, "send", "--to", f"tcp:127.0.0.1:{server.port}", "--raw", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=unbuffered(buffering),
        )  # fmt: skip
        feeding = threading.Thread(
            target=lambda: (client.stdin.write(data), client.stdin.close()), daemon=True
        )
        feeding.start()
        came = bytearray()
        for _ in range(30):
            came += os.read(client.stdout.fileno(), 30_000)
            client.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, client.pid, os.WSTOPPED | os.WNOWAIT)
            client.send_signal(signal.SIGCONT)
        read_to_end(client.stdout.fileno(), came)
        assert client.wait(LIMIT) == 0
        client.stdout.close()
        feeding.join(LIMIT)
    assert bytes(came) == data


@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_file_that_may_grow_no_more_is_an_error(buffering: str, tmp_path: Path) -> None:
    """In the middle of the last write, as where a disk gets full."""
    size = 100_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    with running("--log", "quiet") as server, (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [*ECHOSVC, "send", "--to", f"tcp:127.0.0.1:{server.port}", "--raw", "-"],
            input=b"x" * (size + 3000), stdout=out, stderr=subprocess.PIPE, timeout=LIMIT,
            env=unbuffered(buffering), preexec_fn=limited,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == b"echosvc: standard output: EFBIG (File too large)\n"
    assert (tmp_path / "out").stat().st_size == size


@pytest.mark.slow
@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize("name", LAST)
@pytest.mark.parametrize(("redirection", "error"), [(">&-", b"EBADF"), (">/dev/full", b"ENOSPC")])
def test_a_standard_output_that_takes_nothing_is_one_line(
    name: str, redirection: str, error: bytes, buffering: str
) -> None:
    with running("--log", "quiet") as server:
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *ECHOSVC, *words_of(name, server.port)],
            stderr=subprocess.PIPE, timeout=LIMIT, env=unbuffered(buffering),
        )  # fmt: skip
    assert done.stderr.startswith(b"echosvc: standard output: " + error)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


@pytest.mark.parametrize("blocking", [True, False])
def test_it_can_be_interrupted_while_its_output_is_full(blocking: bool) -> None:
    with (
        running("--log", "quiet") as server,
        full_pipe() as (_, into, _size),
        open("/dev/zero", "rb") as zeros,
    ):
        os.set_blocking(into, blocking)
        client = subprocess.Popen(
            with_interrupt(
                [*ECHOSVC, "send", "--to", f"tcp:127.0.0.1:{server.port}", "--raw", "-"]
            ),
            stdin=zeros, stdout=into, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        os.close(into)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(1.0)
        client.send_signal(signal.SIGINT)
        assert client.wait(LIMIT) == 130
        assert client.stderr.read() == b""
        client.stderr.close()


@pytest.mark.parametrize(
    "words", [["send", "--to", "unix:/no/such", "hi"], *slow(["check", "unix:/no"])]
)
@pytest.mark.parametrize("how", ["closed", "full", "not read"])
def test_a_standard_error_that_takes_nothing_changes_no_status(words: list[str], how: str) -> None:
    with full_pipe() as (out, into, _):
        if how == "not read":
            os.dup2(os.open(os.devnull, os.O_RDONLY), out)
        command = [*ECHOSVC, *words]
        if how == "closed":
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=into, timeout=LIMIT, env=environment()
        )
        os.close(into)
    assert done.returncode == 1
    assert b"Traceback" not in done.stdout


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-"])
def test_with_closed_descriptors_the_server_gets_the_message_and_no_more(closed: str) -> None:
    """No connection becomes standard error because its number is free."""
    came = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, suppress(ConnectionResetError):
                client.settimeout(LIMIT)
                while piece := client.recv(65536):
                    came.extend(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        to = f"tcp:127.0.0.1:{listener.getsockname()[1]}"
        words = ["send", "--to", to, "--deadline", "0.5", "hi"]
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *ECHOSVC, *words],
            stdout=subprocess.PIPE, timeout=LIMIT, env=environment(),
        )  # fmt: skip
        thread.join(LIMIT)
    assert done.returncode == 1
    assert bytes(came) == b"hi"


def test_a_closed_standard_input_is_one_line() -> None:
    with running("--log", "quiet") as server:
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *ECHOSVC, "send", "--to",
             f"tcp:127.0.0.1:{server.port}", "--raw", "-"],
            capture_output=True, timeout=LIMIT, env=environment(),
        )  # fmt: skip
    assert done.stderr == b"echosvc: standard input: EBADF (Bad file descriptor)\n"
    assert (done.returncode, done.stdout) == (1, b"")
