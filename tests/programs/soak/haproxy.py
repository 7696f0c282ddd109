"""HAProxy that is reloaded and killed, and a soak through it as a user runs one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.programs.faults.programs import answers, free_port
from tests.support.process import ECHOSVC, Process, need
from tests.support.waiting import wait_until

_CONFIG = """\
global
    nbthread 1
    stats socket {directory}/admin mode 600 level admin expose-fd listeners
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
listen echo
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{target}
"""


class HAProxy:
    """HAProxy before a server.

    :param target: the port of the server.
    :ivar port: its own.
    :ivar processes: the newest last; the others were reloaded.
    """

    def __init__(self, target: int, directory: Path) -> None:
        self._program, self.port = need("haproxy"), free_port()
        self._directory, self._config = directory, directory / "haproxy.cfg"
        self.processes: list[Process] = []
        self.use(target)

    def use(self, target: int) -> None:
        """Pass connections to another server, from the next start on."""
        config = _CONFIG.format(directory=self._directory, port=self.port, target=target)
        self._config.write_text(config)

    def start(self, *options: str) -> None:
        command = [self._program, "-db", "-f", str(self._config), *options]
        self.processes.append(Process(command))

    def start_and_wait(self) -> None:
        self.start()
        wait_until(lambda: answers(self.port))

    def reload(self) -> None:
        """Start another process; the present one serves its connections until they end."""
        present = self.processes[-1].pid
        self.start("-x", f"{self._directory}/admin", "-sf", str(present))
        self.processes[-2].wait_line("[Ss]topp")  # it listens no more
        wait_until(lambda: answers(self.port))

    def kill(self) -> None:
        """End all processes at once, as kill -9 does.

        The kernel has closed all that they had open once this returns.
        """
        present = [each for each in self.processes if each.popen.returncode is None]
        for each in present:
            each.popen.kill()
        for each in present:
            os.waitid(os.P_PID, each.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        for each in self.processes:
            each.close()


@contextmanager
def haproxy_before(target: int) -> Iterator[HAProxy]:
    """HAProxy before a server, once it answers."""
    with tempfile.TemporaryDirectory(prefix="soak") as directory:
        made = HAProxy(target, Path(directory))
        try:
            made.start_and_wait()
            yield made
        finally:
            made.close()


class SoakProcess(Process):
    """``echosvc soak`` of a port, with its events.

    :param directory: for its files.
    """

    def __init__(self, port: int, directory: Path, words: Sequence[str] = ()) -> None:
        self._log, self._done = directory / "events.jsonl", directory / "done"
        files = ("--jsonl", str(self._log), "--until-file", str(self._done))
        super().__init__([*ECHOSVC, "soak", f"tcp:127.0.0.1:{port}", *words, *files])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of a kind that have happened."""
        text = self._log.read_text() if self._log.exists() else ""
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [each for each in map(json.loads, lines) if each["event"] == name]

    def wait_for(self, name: str, count: int = 1) -> None:
        wait_until(lambda: len(self.events(name)) >= count or self.popen.poll() is not None)
        assert len(self.events(name)) >= count, self.lines

    def finish(self) -> dict[str, Any]:
        """End it; give its result."""
        self._done.touch()
        self.wait()
        (end,) = self.events("end")
        return end


@contextmanager
def soaking(port: int, *words: str) -> Iterator[SoakProcess]:
    """A soak, once all its connections are open."""
    with tempfile.TemporaryDirectory() as directory:
        process = SoakProcess(port, Path(directory), words)
        try:
            yield process
        finally:
            process.close()
