"""What becomes of the FIN of either side, through real programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.programs.faults.programs import free_port, haproxy
from tests.programs.faults.registry import program
from tests.programs.paths.programs import found, through_nginx
from tests.support.certificates import issue
from tests.support.process import running, started
from tests.support.sockets import connect

pytestmark = [pytest.mark.programs, pytest.mark.slow]

#: Starts a program in front of a port; gives where it is reached.
Through = Callable[[int], AbstractContextManager[int]]

_HAPROXY = """\
defaults
    mode tcp
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    {more}
listen echo
    bind 127.0.0.1:{port}
    server one 127.0.0.1:{target}
"""
#: A relay as people write it; an argument is whether it lets half-open connections be.
_NODE = """
const net = require("net")
const [port, target, half] = process.argv.slice(1).map(Number)
const allowHalfOpen = half === 1
net.createServer({ allowHalfOpen }, (client) => {
  const server = net.connect({ port: target, host: "127.0.0.1", allowHalfOpen })
  client.on("error", () => server.destroy())
  server.on("error", () => client.destroy())
  client.pipe(server).pipe(client)
}).listen(port, "127.0.0.1", 128)
"""


def listens(port: int) -> bool:
    """Return whether somebody does."""
    try:
        connect(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@contextmanager
def direct(target: int) -> Iterator[int]:
    """Nothing in between."""
    yield target


def socat(*options: str, far: str = "") -> Through:
    """socat, with options, and with some of its address of the server."""

    @contextmanager
    def through(target: int) -> Iterator[int]:
        port = free_port()
        listen = f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1,backlog=128"
        command = [program("socat"), *options, listen, f"TCP:127.0.0.1:{target}{far}"]
        with started(command, lambda: listens(port)):
            yield port

    return through


def haproxy_with(more: str = "") -> Through:
    """HAProxy, with a line of its defaults."""

    @contextmanager
    def through(target: int) -> Iterator[int]:
        port = free_port()
        with haproxy(_HAPROXY.format(port=port, target=target, more=more), port, listens):
            yield port

    return through


def nginx_with(more: str = "") -> Through:
    """nginx, with a line of its server."""
    return lambda target: through_nginx(target, more)


def node(half_open: bool) -> Through:
    """A relay in Node."""

    @contextmanager
    def through(target: int) -> Iterator[int]:
        port = free_port()
        words = ["-e", _NODE, "--", str(port), str(target), str(int(half_open))]
        with started([program("node"), *words], lambda: listens(port)):
            yield port

    return through


def ends_of(through: Through, *options: str, server: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the probes of the client's FIN say."""
    with running("--log", "quiet", *server) as target, through(target.port) as port:
        return found(port, "--only", "half-close,late-answers", *options)


@pytest.mark.parametrize(
    ("through", "framing"),
    [
        (direct, "chunk"),
        (direct, "line"),
        (direct, "length"),
        (haproxy_with(), "chunk"),
        (haproxy_with("timeout client-fin 4s"), "line"),
        (nginx_with("proxy_half_close on;"), "chunk"),
        (socat("-t", "10"), "line"),
        (node(half_open=True), "chunk"),
    ],
)
def test_a_path_that_keeps_half_open_connections_is_not_accused(through, framing):
    words = ("--framing", framing)
    probes = ends_of(through, *words, server=words)
    assert {probe["result"] for probe in probes.values()} == {"pass"}, probes


def test_half_close_by_unix_sockets_and_tls_is_not_accused(tmp_path):
    path, pem = tmp_path / "socket", tmp_path / "server.pem"
    pem.write_bytes(issue("localhost").pem)
    tls = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    for listen, endpoint in (
        (f"unix:{path}", f"unix:{path}"),
        (tls, f"tls:localhost:{{port}}:trustRoots={pem}"),
    ):
        with running("--log", "quiet", "--listen", listen) as server:
            port = server.port if "port" in endpoint else 0
            probes = found(endpoint.format(port=port), "--only", "half-close,late-answers")
        assert {probe["result"] for probe in probes.values()} == {"pass"}, probes


@pytest.mark.parametrize(
    "through",
    [nginx_with(), socat("-t", "0"), socat(far=",shut-close"), node(half_open=False)],
    ids=["nginx", "socat-0-s", "socat-close", "node"],
)
def test_a_path_that_closes_at_the_fin_is_found_once(through):
    probes = ends_of(through)
    assert probes["half-close"]["result"] == "fail"
    assert "FIN only" in probes["half-close"]["finding"]
    assert probes["late-answers"]["result"] == "skip"


@pytest.mark.parametrize("framing", ["chunk", "line"])
def test_a_fin_that_is_not_passed_on_is_found_by_the_time_of_the_end(framing):
    words = ("--framing", framing)
    probes = ends_of(socat(far=",shut-none"), *words, server=words)
    assert probes["half-close"]["result"] == "fail"
    assert 0.45 <= probes["half-close"]["fin_seconds"] < 5  # the machine may be late
    says = "a last line without LF" if framing == "line" else "our FIN starts a timer"
    assert says in probes["half-close"]["finding"]
    assert probes["late-answers"]["result"] == "skip"


@pytest.mark.parametrize("far", ["", ",shut-down"], ids=["socat", "socat-down"])
def test_a_short_time_out_of_half_closed_connections_is_found(far):
    probes = ends_of(socat(far=far))
    assert probes["half-close"]["result"] == "pass"
    late = probes["late-answers"]
    assert late["result"] == "fail"
    assert late["alive"] <= 0.5 <= late["dead"]  # how close they are depends on the machine's load


@pytest.mark.parametrize(
    ("through", "result"),
    [
        (direct, "pass"),
        (haproxy_with(), "pass"),
        (nginx_with("proxy_half_close on;"), "pass"),
        (nginx_with(), "fail"),
        (node(half_open=True), "pass"),
        (node(half_open=False), "fail"),
    ],
    ids=["direct", "haproxy", "nginx-half-close", "nginx", "node-half-open", "node"],
)
def test_whether_a_client_may_go_on_after_the_servers_fin(through, result):
    words = ("--log", "quiet", "--idle-timeout", "0.5", "--idle-action", "close")
    with running(*words) as server, through(server.port) as port:
        assert found(port, "--only", "server-fin")["server-fin"]["result"] == result
