"""The servers that are measured: each a process of its own, ended by its own number."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Longest wait for a server to listen, and to end, seconds.
PATIENCE = 60.0
_ALLOWED = os.sched_getaffinity(0)
# Not passed on to a server: these change what Python or Node costs.
_LEFT_OUT = {
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUNBUFFERED",
    "PYTHONDEVMODE",
    "PYTHONPATH",
    "NODE_OPTIONS",
}


class BenchmarkError(Exception):
    """What ends the whole run, in one line."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(installed: bool = False) -> dict[str, str]:
    """The environment of a server: it finds this checkout, and has no settings but ours.

    :param installed: it finds what is installed instead.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return kept if installed else {**kept, "PYTHONPATH": str(ROOT)}


def processors() -> tuple[set[int], set[int]]:
    """One for the load generator and this process, the others for the servers.

    Client and server on one processor need half the time that they need on two, which
    share no cache: it must not be left to chance.
    """
    allowed = sorted(_ALLOWED)
    return set(allowed[-1:]), set(allowed[:-1] or allowed)


def accepts(address: str) -> bool:
    """Return whether somebody accepts connections on ``HOST:PORT`` or a path."""
    host, _, port = address.rpartition(":")
    family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET
    with socket.socket(family) as probe:
        target = address if family == socket.AF_UNIX else (host, int(port))
        return probe.connect_ex(target) == 0


def run(command: list[str], limit: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and give what it said.

    :param limit: seconds, after which it is killed.
    :raises BenchmarkError: it took longer.
    """
    try:
        return subprocess.run(  # noqa: S603 (only programs of this package, and twistd)
            command, capture_output=True, text=True, timeout=limit, check=False, env=environment()
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{Path(command[0]).name} does not end within {limit:g} s") from None


class Server:
    """A running server; listening when this is made.

    :param command: what to run.
    :param address: where it will listen, ``HOST:PORT`` or a path.
    :param directory: its working directory, where its error output goes too.
    :param installed: it is what its Python finds by itself, not this checkout.
    :ivar seconds: from the start of the process until it accepted.
    """

    def __init__(
        self, command: list[str], address: str, directory: Path, installed: bool = False
    ) -> None:
        self.address = address
        self._errors = directory / "stderr"
        with self._errors.open("wb") as errors:
            began = time.perf_counter()
            self._popen = subprocess.Popen(  # noqa: S603 (only the commands of lineup.py)
                command,
                cwd=directory,
                env=environment(installed),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            os.sched_setaffinity(self._popen.pid, processors()[1])
        try:
            self._wait_until_it_accepts(began)
        except BaseException:
            self.close()
            raise
        self.seconds = time.perf_counter() - began

    def _wait_until_it_accepts(self, began: float) -> None:
        """Ask every millisecond."""
        while not accepts(self.address):
            if self._popen.poll() is not None or time.perf_counter() - began > PATIENCE:
                said = self._errors.read_text(errors="replace").strip().rpartition("\n")[2]
                raise BenchmarkError(
                    f"{self._popen.args!r} does not listen: {said or 'it says nothing'}"
                )
            time.sleep(0.001)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._popen.pid

    def cpu(self) -> float:
        """User and system time so far, with all threads, seconds."""
        return time.clock_gettime(~self.pid << 3 | 2)  # as clock_getcpuclockid(3)

    def memory(self) -> int:
        """Resident memory, bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) * 1024 if found else 0

    def settled_memory(self) -> int:
        """:meth:`memory`, once it changes no more; waits at most two seconds."""
        end = time.monotonic() + 2.0
        before, now = -1, self.memory()
        while before != now and time.monotonic() < end:
            time.sleep(0.2)
            before, now = now, self.memory()
        return now

    def close(self) -> None:
        """End it, at the latest after :data:`PATIENCE` seconds."""
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@contextlib.contextmanager
def serving(
    command: list[str], address: str, directory: Path, installed: bool = False
) -> Iterator[Server]:
    """A :class:`Server` for the length of a ``with``."""
    server = Server(command, address, directory, installed)
    try:
        yield server
    finally:
        server.close()
