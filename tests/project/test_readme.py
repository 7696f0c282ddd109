"""The README's tour, command by command as it stands there, and what the examples say to run.

All of it runs in a directory and a network of its own, so that its ports and files are free.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.process import ROOT, Process, environment, need
from tests.support.waiting import LIMIT, wait_until

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text("utf-8")
#: What runs in a network of its own, where only the loopback is.
_ALONE = 'ip link set lo up && exec "$@"'
#: The programs of the environment that the tour is to find.
_PROGRAMS = {
    "python": '"$@"',
    "echosvc": '-m echosvc "$@"',
    "twistd": '-c "from twisted.scripts.twistd import run; run()" "$@"',
}


class Command(NamedTuple):
    """A command, and the lines that are shown below it."""

    words: str
    shown: list[str]


def section(heading: str) -> str:
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text: str) -> list[list[str]]:
    """Its indented blocks."""
    found = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return [[line[4:] for line in block.splitlines()] for block in found]


def tour() -> list[Command]:
    commands: list[Command] = []
    for block in blocks(section("A tour in two minutes")):
        if not block[0].startswith("$ "):
            continue  # what another program says
        for line in block:
            if line.startswith("$ "):
                commands.append(Command(line[2:], []))
            else:
                commands[-1].shown.append(line)
    return commands


def alike(line: str) -> str:
    """A line without what differs from run to run: figures and this machine's addresses."""
    line = re.sub(r"(?:\[::1\]|127\.0\.0\.1)(?=:)", "HOST", line)
    return re.sub(r"\d+(?:\.\d+)?", "N", line)


@pytest.fixture
def alone() -> list[str]:
    """The beginning of a command that runs in a new network, or skip."""
    command = [need("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command += ["sh", "-c", _ALONE, "sh"]
    if subprocess.run([*command, "true"], capture_output=True, timeout=LIMIT).returncode:
        pytest.skip("no network of its own can be made here")
    return command


class Clone:
    """A clone as it is after the README's first command, and what runs in it.

    :ivar mark: in the environment of everything that it starts.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.mark = f"README_TOUR={uuid.uuid4()}"
        self._temporary = place / "tmp"
        self._temporary.mkdir(parents=True)
        shutil.copytree(ROOT / "examples", place / "examples")
        programs = place / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, words in _PROGRAMS.items():
            path = programs / name
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self._before = self.files()

    def files(self) -> list[Path]:
        return sorted(path for path in self.place.rglob("*") if path.suffix != ".pyc")

    @property
    def environment(self) -> dict[str, str]:
        name, _, value = self.mark.partition("=")
        more = {name: value, "TMPDIR": str(self._temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**environment(), **more}

    def processes(self) -> Iterator[int]:
        """What runs of it."""
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes().split(b"\0"):
                    yield int(path.parent.name)
            except OSError:  # it has ended, or is somebody else's
                continue

    def left(self) -> list[Path]:
        """Files that were not there before, once all processes have ended."""
        wait_until(lambda: not list(self.processes()))
        return [path for path in self.files() if path not in self._before]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    it = Clone(tmp_path / "clone")
    yield it
    for pid in list(it.processes()):
        os.kill(pid, 9)


def together(alone: list[str], clone: Clone, server: str, commands: list[str]) -> Process:
    """Run a server, and once it listens the commands, in one network; "@ N" ends each.

    The server is stopped by SIGINT, as by Ctrl-C; its output goes to standard error.
    """
    run = "\n".join(f'{command}\necho "@ $?"' for command in commands)
    script = f"""
        mkfifo tmp/said
        {server} >tmp/said &
        exec 3<tmp/said; rm tmp/said
        while read -r line <&3; do
            echo "server: $line"
            case $line in *"Server listening"*) break;; esac
        done
        # Its lines wait for the end: a command may write a line in two pieces.
        {{ sed "s/^/server: /" <&3 >tmp/heard; }} &
        echo "@ begin"
{run}
        kill -INT %1
        wait
        cat tmp/heard; rm tmp/heard
    """
    command = [*alone, "bash", "-c", "set -m\n" + script]
    return Process(command, cwd=clone.place, env=clone.environment)


def outputs(process: Process) -> tuple[list[str], list[list[str]], list[int]]:
    """What the server said, what each command said, and its status."""
    process.wait(8 * LIMIT)
    server = [line[8:] for line in process.lines if line.startswith("server: ")]
    others = [line for line in process.lines if not line.startswith("server: ")]
    said: list[list[str]] = [[]]
    statuses: list[int] = []
    for line in others[others.index("@ begin") + 1 :]:
        if line.startswith("@ "):
            statuses.append(int(line[2:]))
            said.append([])
        else:
            said[-1].append(line)
    return server, said[:-1], statuses


def first_server() -> str:
    """The service of the README's first command, without what installs it."""
    (command, *_) = blocks(section("Set up"))
    return command[0].rpartition(" && ")[2]


def test_the_tour(alone: list[str], clone: Clone) -> None:
    for program in ("openssl", "bash"):
        need(program)
    commands = tour()
    assert len(commands) > 8
    process = together(alone, clone, first_server(), [command.words for command in commands])
    try:
        server, said, statuses = outputs(process)
    finally:
        process.close()
    assert statuses == [0] * len(commands), "\n".join(process.lines)
    for command, lines in zip(commands, said, strict=True):
        if command.shown:
            assert [*map(alike, lines)] == [*map(alike, command.shown)], command.words
    heard = "\n".join(map(alike, server))
    (shown,) = [b for b in blocks(section("A tour in two minutes")) if b[0].startswith("[echo")]
    for line in shown[1:]:  # the first depends on whether the machine has IPv6
        assert alike(line) in heard
    assert clone.left() == []


def documented(name: str) -> list[str]:
    """The commands that an example's docstring says to run."""
    text = (ROOT / "examples" / name).read_text("utf-8")
    return re.findall(r"^(?:Run it|Then): +(.*)$", text, re.MULTILINE)


def test_what_the_examples_say_to_run(alone: list[str], clone: Clone) -> None:
    (serve, send), (client,) = documented("embed.py"), documented("client.py")
    client = client.replace("100000", "1000")
    process = together(alone, clone, serve, [send, client])
    try:
        _, (sent, counted), statuses = outputs(process)
    finally:
        process.close()
    assert statuses == [0, 0], "\n".join(process.lines)
    assert sent == [f"{socket.gethostname()} says: MORE AXES"]
    assert counted[-1].endswith(", 1000 lines")
    assert clone.left() == []


def test_the_client_example_runs_with_a_plain_server(alone: list[str], clone: Clone) -> None:
    (serve,) = re.findall(r"It needs a server: (.*), or", (ROOT / "examples/client.py").read_text())
    (client,) = documented("client.py")
    process = together(alone, clone, serve, [client.replace("100000", "1000")])
    try:
        _, (counted,), statuses = outputs(process)
    finally:
        process.close()
    assert statuses == [0], "\n".join(process.lines)
    assert counted[-1].endswith(", 1000 lines")
