"""``echosvc check`` through real programs that end connections at some time."""

from __future__ import annotations

import re
import sys

import pytest

from tests.programs.faults.programs import free_port, haproxy
from tests.programs.paths.programs import HAPROXY
from tests.support.process import Process, Server, running
from tests.support.waiting import wait_until_settled


def _count(server: Server, event: str) -> int:
    return len(server.matching(f"Client {event}"))


pytestmark = [pytest.mark.programs, pytest.mark.slow]


def test_a_restart_of_haproxy_is_neither_an_idle_time_out_nor_a_limit_of_life():
    """It is found, and idle connections are asked once more through the new process."""
    port = free_port()
    with running("--listen", "tcp:0:interface=127.0.0.1") as server:
        config = HAPROXY.format(port=port, target=server.port, seconds=30)
        with haproxy(config, port):
            command = [sys.executable, "-m", "echosvc", "check", f"tcp:127.0.0.1:{port}"]
            checking = Process([*command, "--only", "echo,idle", "--idle", "2,3"])
            checking.wait_line("PASS  echo")
            # While the connections rest, no others are made: for a second, as they rest for longer.
            wait_until_settled(lambda: _count(server, "connection"), polls=100)
            assert _count(server, "connection") - _count(server, "disconnected") == 3
        with haproxy(config, port):
            checking.wait()
        checking.close()
    lines = [line for line in checking.lines if line.startswith(("FAIL", "PASS", "SKIP"))]
    assert len(lines) == 3, lines
    assert re.match(
        r"FAIL  restart +all [23] connections, busy or not, ended at the same", lines[1]
    )
    assert re.match(r"PASS  idle +survived 2 s, 3 s ", lines[2])
