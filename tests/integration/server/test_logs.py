"""Log files: what rotation does, and the lines of docs/logs.md, word for word."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import ROOT, SERVE, Process, environment, need, running
from tests.support.sockets import exchange
from tests.support.waiting import LIMIT, wait_until

TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
DOCUMENT = (ROOT / "docs" / "logs.md").read_text("utf-8")
#: What is said in the document for the places that a test has elsewhere.
LOGS, PID = "/var/log/echosvc", "/run/echosvc.pid"
ENDED = b"Client disconnected"


class Service:
    """A service with a log file, in the foreground or as a daemon."""

    def __init__(self, place: Path, *options: str, daemon: bool = False) -> None:
        self.place = place
        self.log = place / "echosvc.log"
        self.address = f"{place}/s"
        self._pid = place / "pid"
        words = [f"--pidfile={self._pid}", f"--logfile={self.log}", "echosvc", *options]
        command = [*TWISTD, *([] if daemon else ["-n"]), *words, "-l", f"unix:{self.address}"]
        self._popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=place,
            env=environment(),
        )  # fmt: skip
        wait_until(self._listens)
        self.pid = int(self._pid.read_text())

    def _listens(self) -> bool:
        return self.log.exists() and b"Server listening" in self.log.read_bytes()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def begun(self) -> int:
        """Which file is the log: its inode; 0 where there is none."""
        return self.log.stat().st_ino if self.log.exists() else 0

    def rotate(self) -> None:
        """Begin a new file, and wait until it has begun."""
        before = self.begun()
        self.signal(signal.SIGUSR1)
        wait_until(lambda: self.begun() not in (0, before))

    def close(self) -> None:
        self.signal(signal.SIGTERM)
        self._popen.wait(LIMIT)
        wait_until(lambda: not self._pid.exists())

    def files(self) -> list[Path]:
        """All that was ever its log."""
        return [*self.place.glob("echosvc.log*"), *self.place.glob("old/*")]

    def empty(self) -> list[Path]:
        """Those that were put aside with nothing in them."""
        return [each for each in self.place.glob("echosvc.log.*") if not each.stat().st_size]

    def lines(self, pattern: bytes = ENDED) -> int:
        return sum(text(path).count(pattern) for path in self.files())


def text(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.fixture(params=[False, True], ids=["foreground", "daemon"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, daemon=request.param) as it:
        yield it


@contextmanager
def serving(place: Path, *options: str, daemon: bool = False) -> Iterator[Service]:
    (place / "old").mkdir()
    it = Service(place, *options, daemon=daemon)
    try:
        yield it
    finally:
        if it.place.joinpath("pid").exists():
            it.close()


class Visitors(threading.Thread):
    """For the length of a ``with``: one client after the other.

    :ivar count: connections that have ended.
    """

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._address = address
        self._going = True

    def run(self) -> None:
        while self._going:
            exchange(self._address, b"x")
            self.count += 1

    def more(self, count: int = 50) -> None:
        """Wait until so many more have come."""
        enough = self.count + count
        wait_until(lambda: self.count >= enough or not self.is_alive())

    def __enter__(self) -> Visitors:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        self.join(LIMIT)


def indented(heading: str, place: Path) -> str:
    """The indented lines below a heading of the document, for a service in this place."""
    part = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("    ") or not line]
    found = textwrap.dedent("\n".join(lines)).strip() + "\n"
    assert LOGS in found
    return found.replace(LOGS, str(place)).replace(PID, str(place / "pid"))


def test_the_signal_begins_a_new_file_and_loses_nothing(service: Service) -> None:
    with Visitors(service.address) as visitors:
        for _ in range(3):
            visitors.more()
            service.rotate()
        visitors.more()
    service.close()
    names = sorted(path.name for path in service.files())
    assert names == [f"echosvc.log{number}" for number in ("", ".1", ".2", ".3")]
    assert service.lines() == visitors.count


def logrotated(service: Service, config: Path) -> None:
    """Have it rotated, and wait until Twisted has put logrotate's empty file aside."""
    second = int(time.time())
    state = service.place / "state"
    done = subprocess.run(
        [need("logrotate"), "--force", "--state", str(state), str(config)],
        capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(service.empty)
    wait_until(lambda: int(time.time()) > second)  # its names are of seconds


@pytest.mark.programs
def test_logrotate_as_documented_loses_nothing(service: Service) -> None:
    need("logrotate")
    config = service.place / "config"
    config.write_text(indented("With logrotate", service.place))
    config.chmod(0o644)
    with Visitors(service.address) as visitors:
        for _ in range(4):
            visitors.more()
            logrotated(service, config)
        visitors.more()
    service.close()
    old = list(service.place.glob("old/*"))
    assert len(old) == 4
    assert len([path for path in old if path.suffix == ".gz"]) == 3
    assert len(service.empty()) == 1  # that of the last time
    assert service.lines() == visitors.count
    assert not any(b"\0" in text(path) for path in service.files())


@pytest.mark.programs
def test_logrotate_of_serve_as_documented_loses_nothing(tmp_path: Path) -> None:
    program = need("logrotate")
    log, config, state = (tmp_path / name for name in ("echosvc.log", "config", "state"))
    words = ("--logfile", str(log), "--listen", f"unix:{tmp_path}/s")
    server = Process([*SERVE, *words])
    try:
        wait_until(lambda: log.exists() and b"Server listening" in log.read_bytes())
        text_of = indented("`echosvc serve --logfile`", tmp_path)
        signalled = "systemctl kill --signal=USR1 --kill-who=main echosvc.service"
        assert signalled in text_of
        config.write_text(text_of.replace(signalled, f"kill -USR1 {server.pid}"))
        config.chmod(0o644)
        with Visitors(f"{tmp_path}/s") as visitors:
            for number in range(1, 4):
                visitors.more()
                command = [program, "--force", "--state", str(state), str(config)]
                subprocess.run(command, check=True, timeout=LIMIT)
                wait_until(lambda: ENDED in log.read_bytes())  # the new file is in use
                assert len(list(tmp_path.glob("echosvc.log.*"))) == number
        server.signal()
        assert server.wait() == 0
    finally:
        server.close()
    files = tmp_path.glob("echosvc.log*")
    assert sum(text(path).count(ENDED) for path in files) == visitors.count


def test_without_logrotate_old_files_are_deleted_and_others_kept(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        for _ in range(2):
            service.rotate()
        month = time.time() - 30 * 86400
        os.utime(tmp_path / "echosvc.log.2", (month, month))
        before = service.begun()
        commands = indented("Without logrotate", tmp_path)
        subprocess.run(["sh", "-euc", commands], check=True, timeout=LIMIT)
        wait_until(lambda: service.begun() not in (0, before))
        # The old one is deleted as .2, or as .3 after it was renamed.
        assert len(list(tmp_path.glob("echosvc.log.*"))) == 2


def test_a_file_of_a_million_bytes_is_put_aside_and_none_deleted(tmp_path: Path) -> None:
    with serving(tmp_path, "--log", "messages", "--framing", "line") as service:
        lines = (b"x" * 50 + b"\n") * 3000
        for number in range(1, 4):
            while not (tmp_path / f"echosvc.log.{number}").exists():
                exchange(service.address, lines)
        sizes = [path.stat().st_size for path in tmp_path.glob("echosvc.log.*")]
    assert len(sizes) == 3
    assert all(1_000_000 <= size < 1_010_000 for size in sizes)


def test_a_hang_up_does_nothing_to_the_log(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        before = service.begun()
        service.signal(signal.SIGHUP)
        exchange(service.address, b"x")
        wait_until(service.lines)
        assert service.begun() == before
        assert [path.name for path in service.files()] == ["echosvc.log"]


def test_without_a_log_file_the_signal_ends_the_process() -> None:
    with running() as server:
        server.signal(signal.SIGUSR1)
        assert server.wait() == -signal.SIGUSR1


def test_copytruncate_leaves_zero_bytes(tmp_path: Path) -> None:
    """Why the document says not to use it."""
    with serving(tmp_path) as service:
        exchange(service.address, b"x")
        wait_until(service.lines)
        shutil.copy(service.log, tmp_path / "copy")
        os.truncate(service.log, 0)
        exchange(service.address, b"x")
        wait_until(service.lines)
        assert service.log.read_bytes().startswith(b"\0" * 100)


def test_where_the_file_was_taken_away_it_goes_on_with_it(tmp_path: Path) -> None:
    """Why the document says ``create``."""
    with serving(tmp_path) as service:
        moved = tmp_path / "old" / "echosvc.log"
        service.log.rename(moved)
        service.signal(signal.SIGUSR1)
        exchange(service.address, b"x")
        wait_until(lambda: ENDED in moved.read_bytes())
        assert not service.log.exists()
