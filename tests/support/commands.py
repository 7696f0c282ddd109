"""The console script as a process, and servers for it."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.process import ECHOSVC, environment
from tests.support.waiting import LIMIT


def echosvc(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the console script to its end."""
    return subprocess.run(
        [*ECHOSVC, *words], input=stdin, capture_output=True, timeout=LIMIT, env=environment()
    )


@contextmanager
def plain_server(answer: object) -> Iterator[str]:
    """A server whose connections are handed to ``answer``, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, suppress(ConnectionError):
                client.settimeout(LIMIT)
                answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"
        thread.join(LIMIT)


def slow(*values: object) -> list[object]:
    """Values of a parameter that only a slow run tries: each is a process, or several."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def one_line(stderr: bytes) -> str:
    text = stderr.decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text[:-1]


def run_client_bytes(*words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run our client; its exit status, stdout and stderr."""
    done = echosvc(*words, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def run_client(*words: str) -> tuple[int, str, str]:
    status, out, err = run_client_bytes(*words)
    return status, out.decode(), err.decode()


def require_ipv6() -> None:
    """Skip where the machine has no IPv6: that is no program that could be installed."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
