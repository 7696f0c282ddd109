"""Where programs run: on the loopback interface, or in network namespaces."""

from __future__ import annotations

import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.programs.faults.registry import Absent
from tests.support.process import Process
from tests.support.waiting import wait_until

#: Below the ports that the kernel gives to outgoing connections.
_PORTS = range(20_000, 32_000)
_ports = iter(random.sample(_PORTS, len(_PORTS)))
_LISTENING = "0A"


class Unsupported(Absent):
    """The kernel or the rights of this process do not suffice; says what for."""


@dataclass(frozen=True)
class Place:
    """An address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Sides:
    """Where the client and the programs before the server run.

    :ivar host: the address of the server's side.
    :ivar client: words before a command that runs on the client's side.
    :ivar server: the same on the server's side.
    """

    host: str = "127.0.0.1"
    client: tuple[str, ...] = ()
    server: tuple[str, ...] = ()


@contextmanager
def loopback() -> Iterator[Sides]:
    """This machine, without anything in between."""
    yield Sides()


def free_port() -> int:
    """A port that nobody listens on; no outgoing connection takes it, and it is given once."""
    for port in _ports:
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def listens(pid: int, port: int) -> bool:
    """Return whether somebody listens on a port in the network of a process. Connect nowhere."""
    for name in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:  # it has ended
            continue
        for row in rows:
            words = row.split()
            if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                return True
    return False


@contextmanager
def listening(command: list[str], place: Place, **options: object) -> Iterator[Place]:
    """A program that listens there; it is ended with the ``with``."""
    process = Process(command, **options)
    try:
        wait_until(lambda: process.popen.poll() is not None or listens(process.pid, place.port))
        assert process.popen.poll() is None, f"{command[0]} ended: {process.lines}"
        yield place
    finally:
        end(process)


def end(process: Process) -> None:
    """End a program and what it has started."""
    for child in _children(process.pid):
        _kill(child)
    process.close()


def _children(pid: int) -> list[int]:
    """All processes that a process has started, and those that these have."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    own = [int(word) for word in words]
    return [each for child in own for each in (*_children(child), child)]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 9)


@contextmanager
def configured(name: str, text: str) -> Iterator[Path]:
    """A file with this text, in a directory of its own; ``{directory}`` is that directory."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_text(text.replace("{directory}", directory))
        yield path
