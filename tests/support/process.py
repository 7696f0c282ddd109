"""Programs in processes of their own, above all the service; every wait is bounded."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.sockets import connect
from tests.support.waiting import LIMIT, wait_until

ROOT = Path(__file__).resolve().parents[2]


#: Where the Node programs are.
NODE = ROOT / "tests" / "programs" / "node"


#: The service in a process of its own.
ECHOSVC = [sys.executable, "-m", "echosvc"]
SERVE = [*ECHOSVC, "serve"]


TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]


#: The reactor of the servers that tests start: one that twistd knows by this name.
REACTOR = os.environ.get("ECHOSVC_TEST_REACTOR")


def need(program: str) -> str:
    """The path of a program; where it is absent the test is skipped, in CI it fails."""
    path = shutil.which(program)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
    return path


def environment() -> dict[str, str]:
    """The environment for a subprocess: it finds this checkout from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


_AT_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]));"
    " os.execvp(sys.argv[2], sys.argv[2:])"
)


def with_interrupt(command: list[str], ignored: bool = False) -> list[str]:
    """The command, so that SIGINT ends it as from a terminal, or is ignored.

    A shell without job control starts what is in its background with SIGINT ignored, and
    whatever that starts inherits it. The interpreter in between keeps the process's number.
    """
    if (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) is ignored:
        return command
    return [sys.executable, "-S", "-c", _AT_SIGINT, "SIG_IGN" if ignored else "SIG_DFL", *command]


class Process:
    """A program whose output lines can be waited for. Ended at the latest by :meth:`close`.

    :param ignores_interrupt: it begins with SIGINT ignored; otherwise it heeds SIGINT, whether this
        process does or not.
    """

    def __init__(
        self, command: list[str], *, ignores_interrupt: bool = False, **options: object
    ) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self.popen = subprocess.Popen(
            with_interrupt(command, ignores_interrupt),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            env=options.pop("env", environment()),
            **options,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def wait_lines(self, pattern: str, count: int = 1, limit: float = LIMIT) -> list[str]:
        """Wait until at least ``count`` lines match; give all that do."""

        def found() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)]

        with self._news:
            self._news.wait_for(lambda: len(found()) >= count or self._ended, limit)
            if len(found()) < count:
                raise AssertionError(f"no {count} lines {pattern!r} in:\n" + "\n".join(self.lines))
            return found()

    def wait_line(self, pattern: str, limit: float = LIMIT) -> str:
        return self.wait_lines(pattern, 1, limit)[0]

    def matching(self, pattern: str) -> list[str]:
        """The lines so far that match."""
        with self._news:
            return [line for line in self.lines if re.search(pattern, line)]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.popen.send_signal(number)

    def wait(self, limit: float = LIMIT) -> int:
        """Wait for the end and for all output; give the exit status."""
        status = self.popen.wait(limit)
        self._reader.join(limit)
        return status

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.wait()
        self.popen.stdout.close()

    def cpu_time(self) -> float:
        """Seconds of a processor that it has used so far."""
        facts = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident memory, bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_memory(self) -> int:
        """The most resident memory so far, bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


@contextmanager
def started(command: list[str], ready: Callable[[], object]) -> Iterator[Process]:
    """A program, once it is ready; it is ended with the ``with``."""
    process = Process(command)
    try:
        wait_until(lambda: process.popen.poll() is not None or ready())
        assert process.popen.poll() is None, process.lines
        yield process
    finally:
        process.close()


class Server(Process):
    """``twistd -n echosvc`` on a free port of 127.0.0.1, listening once this is made.

    :param options: of echosvc; ``--listen`` among them replaces the default one.
    :param twistd: of twistd, e.g. ``--reactor=asyncio``.
    """

    def __init__(self, *options: str, twistd: tuple[str, ...] = (), **popen: object) -> None:
        if not any(option.startswith(("--listen", "-l")) for option in options):
            options = ("--listen", "tcp:0:interface=127.0.0.1", *options)
        if REACTOR and not any(option.startswith("--reactor") for option in twistd):
            twistd = (f"--reactor={REACTOR}", *twistd)
        super().__init__([*TWISTD, *twistd, "echosvc", *options], **popen)
        try:
            self.wait_line("Server listening")
        except BaseException:
            self.close()
            raise

    @property
    def listeners(self) -> list[dict[str, object]]:
        """What the "Server listening" lines say."""
        lines = self.matching("Server listening: ")
        return [json.loads(line.partition("Server listening: ")[2]) for line in lines]

    @property
    def port(self) -> int:
        return int(next(facts["port"] for facts in self.listeners if "port" in facts))

    def connect(self, **options: object) -> socket.socket:
        return connect(("127.0.0.1", self.port), **options)

    def stop(self) -> int:
        """End it with SIGTERM; give the exit status (143: twistd ends by the signal)."""
        self.signal()
        return self.wait()


class Serving(Server):
    """``echosvc serve``, as :class:`Server`; a proper stop has exit status 0.

    :param reactor: the name of one for ``--reactor``.
    :param inherited: listening sockets that it gets as systemd hands them over.
    :param names: of those.
    """

    def __init__(
        self,
        *options: str,
        reactor: str = "default",
        inherited: Sequence[socket.socket] = (),
        names: Sequence[str] = (),
        **popen: object,
    ) -> None:
        if not any(option.startswith(("--listen", "-l")) for option in options):
            options = ("--listen", "tcp:0:interface=127.0.0.1", *options)
        command = [*SERVE, "--reactor", reactor, *options]
        if inherited:
            command = handed_over(inherited, names, command)
            popen["pass_fds"] = [each.fileno() for each in inherited]
        Process.__init__(self, command, **popen)
        try:
            self.wait_line("Server listening")
        except BaseException:
            self.close()
            raise


def handed_over(
    sockets: Sequence[socket.socket], names: Sequence[str], command: list[str]
) -> list[str]:
    """A command that runs ``command`` with the sockets as systemd hands them over."""
    numbers = [str(each.fileno()) for each in sockets]
    return [sys.executable, "-c", _HAND_OVER, ":".join(numbers), ":".join(names), *command]


# As descriptors from 3 on; they may be in each other's place.
_HAND_OVER = """
import os, sys
given = [os.dup(int(each)) for each in sys.argv[1].split(":")]
given = [os.dup2(each, 100 + at) for at, each in enumerate(given)]
for at, each in enumerate(given):
    os.dup2(each, 3 + at)
    os.close(each)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)))
if sys.argv[2]:
    os.environ["LISTEN_FDNAMES"] = sys.argv[2]
os.execvp(sys.argv[3], sys.argv[3:])
"""


def stays_idle(process: Process, seconds: float = 1.0) -> bool:
    """Return whether a process that has nothing to do uses less than half a processor."""
    before = process.cpu_time()
    time.sleep(seconds)  # what is measured is what happens meanwhile
    return process.cpu_time() - before < seconds / 2


class NodeServer(Server):
    """``tests/programs/node/server.js``: our lines and options; SIGTERM ends it, status 0."""

    def __init__(self, *options: str) -> None:
        Process.__init__(self, [need("node"), str(NODE / "server.js"), *options])
        try:
            self.wait_line("Server listening")
        except BaseException:
            self.close()
            raise


@contextmanager
def serving_alone(*options: str, **more: Any) -> Iterator[Serving]:
    """A :class:`Serving` for the length of a ``with``."""
    server = Serving(*options, **more)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def running(*options: str, **more: object) -> Iterator[Server]:
    """A :class:`Server` for the length of a ``with``."""
    server = Server(*options, **more)
    try:
        yield server
    finally:
        server.close()


def denied() -> None:
    """In a child of root: be denied what its files' modes deny (capabilities(7))."""
    drop_from_bounding_set, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0):
        raise OSError("prctl failed")


def refused(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionError:
        return True
    return False
