"""Paths that a check can take: real programs, and relays in processes of their own."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.programs.faults.programs import free_port, haproxy
from tests.programs.faults.registry import program
from tests.support.process import Process, environment, started
from tests.support.sockets import connect, receive_exactly
from tests.support.waiting import LIMIT

#: As short as a user would set it.
TIME_OUT = 7
HAPROXY = """\
defaults
    mode tcp
    timeout connect 2s
    timeout client {seconds}s
    timeout server {seconds}s
listen echo
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{target}
"""


@contextmanager
def through_haproxy(target: int, seconds: int = TIME_OUT) -> Iterator[int]:
    """HAProxy with a short idle time-out; gives its port."""
    port = free_port()
    with haproxy(HAPROXY.format(port=port, target=target, seconds=seconds), port):
        yield port


@contextmanager
def through_nginx(target: int, more: str = "") -> Iterator[int]:
    """nginx's stream module; gives its port."""
    nginx, port = program("nginx"), free_port()
    modules = "".join(
        f"load_module {path};\n"
        for path in Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so")
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "nginx.conf"
        path.write_text(
            f"{modules}daemon off; master_process off; pid {directory}/pid;\n"
            f"error_log {directory}/errors; events {{}}\n"
            f"stream {{ server {{ listen 127.0.0.1:{port}; {more}"
            f" proxy_pass 127.0.0.1:{target}; }} }}\n"
        )
        command = [nginx, "-c", str(path), "-p", directory, "-e", f"{directory}/errors"]
        with started(command, lambda: talks(port)):
            yield port


@contextmanager
def through_socat(target: int) -> Iterator[int]:
    """socat, which waits 10 s for the other direction after a FIN; gives its port."""
    port = free_port()
    listen = f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1,backlog=128"
    command = [program("socat"), "-t", "10", listen, f"TCP:127.0.0.1:{target}"]
    with started(command, lambda: talks(port)):
        yield port


def talks(port: int) -> bool:
    """Return whether a message is answered, without a FIN behind it."""
    try:
        with connect(("127.0.0.1", port)) as client:
            client.sendall(b"~")
            return receive_exactly(client, 10) == b"Sending: ~"
    except OSError:
        return False


@contextmanager
def through_relay(*targets: int, **faults: Any) -> Iterator[int]:
    """A relay with this :class:`~echosvc.faults.spec.FaultSpec`; gives its port."""
    words = [repr(faults), *map(str, targets)]
    process = Process([sys.executable, "-m", "tests.programs.paths.programs", *words], cwd=ROOT)
    try:
        yield int(process.wait_line(r"^\d+$"))
    finally:
        process.close()


def check(
    port: int | str, *options: str, limit: float = 4 * LIMIT
) -> subprocess.CompletedProcess[str]:
    """``echosvc check`` of a port or of an endpoint, to its end."""
    endpoint = port if isinstance(port, str) else f"tcp:127.0.0.1:{port}"
    command = [sys.executable, "-m", "echosvc", "check", endpoint, *options]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=limit, env=environment(), check=False
    )


def found(port: int | str, *options: str) -> dict[str, dict[str, Any]]:
    """What ``echosvc check --json`` says, by the probes' names."""
    done = check(port, "--json", *options)
    assert not done.stderr, done.stderr
    result = json.loads(done.stdout)
    assert done.returncode == (0 if result["ok"] else 1)
    return {probe["name"]: probe for probe in result["probes"]}


ROOT = Path(__file__).resolve().parents[3]


def _relay() -> None:
    """Be a relay: the faults and the targets' ports are the arguments."""
    from twisted.internet import reactor

    from echosvc.faults.relay import Relay
    from echosvc.faults.spec import FaultSpec

    faults = FaultSpec(**ast.literal_eval(sys.argv[1]))
    relay = Relay(reactor, [("127.0.0.1", int(port)) for port in sys.argv[2:]], faults)
    print(relay.listen(), flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    _relay()
