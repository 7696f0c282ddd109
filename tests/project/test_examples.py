"""The examples run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tests.support.process import ROOT, TWISTD, Process, environment
from tests.support.sockets import exchange
from tests.support.waiting import LIMIT

EMBED = ROOT / "examples" / "embed.py"
CLIENT = ROOT / "examples" / "client.py"


def test_the_service_inside_another_application() -> None:
    server = Process(
        [*TWISTD, "-y", str(EMBED)],
        env={**environment(), "ECHO_LISTEN": "tcp:0:interface=127.0.0.1"},
    )
    try:
        port = int(server.wait_line("Server listening").rpartition(":")[2].rstrip("}"))
        expected = f"{socket.gethostname()} says: HELLO".encode()
        assert exchange(("127.0.0.1", port), b"hello") == expected
        server.wait_line("example#info. 0 clients, 0 bytes in, 0 out")
        done = subprocess.run(
            [sys.executable, str(CLIENT), f"tcp:127.0.0.1:{port}", "20000"],
            capture_output=True, text=True, timeout=LIMIT, env={**os.environ, **environment()},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ", 20000 lines\n" in done.stdout
    finally:
        server.signal()
        server.wait()
        server.close()
