"""HAProxy in front of two servers, whose weights can be changed while it runs."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs.faults.programs import free_port, haproxy
from tests.support.process import environment, running
from tests.support.sockets import connect
from tests.support.waiting import LIMIT

HAPROXY = """\
defaults
    mode tcp
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    retries 0
listen lb
    bind {address}:9000
    balance roundrobin
    server v1 {v1} weight 80
    server v2 {v2} weight 20
"""


class Split:
    """A path to two servers.

    :ivar port: of HAProxy.
    """

    def __init__(self, port: int, admin: Path) -> None:
        self.port, self._admin = port, admin

    @property
    def endpoint(self) -> str:
        return f"tcp:127.0.0.1:{self.port}"

    def set_weights(self, v1: int, v2: int) -> None:
        """Change the weights; they hold once this returns."""
        for name, weight in (("v1", v1), ("v2", v2)):
            with socket.socket(socket.AF_UNIX) as admin:
                admin.settimeout(LIMIT)
                admin.connect(str(self._admin))
                admin.sendall(f"set server lb/{name} weight {weight}\n".encode())
                assert not admin.recv(4096).strip()


@contextmanager
def split(*options: str, dead: bool = False, prefixes: bool = True) -> Iterator[Split]:
    """HAProxy with weights 80 and 20 before two servers with these options.

    :param dead: nothing listens in place of the second one.
    :param prefixes: the servers have prefixes, else pods.
    """
    names = ("v1", "v2")
    more = [("-p", f"{name}: ") if prefixes else () for name in names]
    pods = [environment() | {"POD_NAME": f"{name}-7d9f-x{name}"} for name in names]
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as directory,
        running("--log", "quiet", *options, *more[0], env=pods[0]) as one,
        running("--log", "quiet", *options, *more[1], env=pods[1]) as two,
    ):
        second = free_port() if dead else two.port
        admin = Path(directory) / "admin"
        config = HAPROXY.replace("9000", "{port}").format(
            address="127.0.0.1", port=port, v1=f"127.0.0.1:{one.port}", v2=f"127.0.0.1:{second}"
        )
        config = f"global\n    stats socket {admin} level admin\n{config}"
        with haproxy(config, port, ready=listens):
            yield Split(port, admin)


def listens(port: int) -> bool:
    """Whether a connection is accepted."""
    try:
        connect(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def share(*words: str, limit: float = 4 * LIMIT) -> subprocess.CompletedProcess[str]:
    """``echosvc share`` to its end."""
    command = [sys.executable, "-m", "echosvc", "share", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=limit, env=environment(), check=False
    )


@contextmanager
def later(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Do something after a time, while something else runs."""
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join(LIMIT)
