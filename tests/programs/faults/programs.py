"""Other programs: HAProxy and nginx in front, and clients that end as they do."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.programs.faults.registry import Finding, fault, program
from tests.support.certificates import issue
from tests.support.process import Process, Server, running, started
from tests.support.sockets import connect, exchange, receive_all, receive_exactly
from tests.support.waiting import LIMIT, wait_until

#: Payloads of clients that half-close, bytes.
SIZES = (1, 65536, 1 << 20)
BEHIND = ("--proxy-protocol", "require", "--proxy-from", "127.0.0.0/8")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens, and passes on to somebody who does."""
    try:
        return exchange(("127.0.0.1", port), b"x").endswith(b"x")
    except OSError:
        return False


@contextmanager
def haproxy(config: str, port: int, ready: Callable[[int], bool] = answers) -> Iterator[Process]:
    """HAProxy with this configuration, once the port is ready."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "haproxy.cfg"
        path.write_text(textwrap.dedent(config))
        command = [program("haproxy"), "-db", "-f", str(path)]
        with started(command, lambda: ready(port)) as process:
            yield process


_HAPROXY = """
    global
        maxconn 2000
        stats socket {directory}/admin level admin
    defaults
        mode tcp
        timeout connect 5s
        timeout client 60s
        timeout server 60s
    listen front
        bind 127.0.0.1:{port}
        balance roundrobin
        option redispatch
        default-server inter 200ms fastinter 100ms fall 2 rise 1 {header} check
        server one 127.0.0.1:{one}
        server two 127.0.0.2:{two}
"""


class Talker(threading.Thread):
    """A client that says numbered messages and checks each reply, until it is told to end.

    :ivar node: who answered.
    :ivar broke: the connection ended before that.
    :ivar wrong: replies that were not right.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.node, self.broke, self.wrong, self.done = b"", False, 0, False
        self._socket = connect(("127.0.0.1", port))
        self._own = "{}:{}".format(*self._socket.getsockname()).encode()
        self.said = 0

    def run(self) -> None:
        try:
            while not self.done:
                self._talk()
            self._socket.shutdown(socket.SHUT_WR)
            self.wrong += receive_all(self._socket) != b""
        except OSError:
            self.broke = True
        self._socket.close()

    def _talk(self) -> None:
        message = b"message %d" % self.said
        self._socket.sendall(message)
        reply = receive_exactly(self._socket, 4 + len(self._own) + 2 + len(message))
        if not reply:
            raise ConnectionError("it ended")
        self.node = reply[:3]
        self.wrong += reply[3:] != b" " + self._own + b": " + message
        self.said += 1


def _backend(node: str, host: str) -> Server:
    words = ("-p", f"{node} {{peer}}: ", "--drain", "3", "--listen", f"tcp:0:interface={host}")
    return Server(*words, *BEHIND)


@fault(
    "a backend behind HAProxy (PROXY v2, checks on) is killed, another drained, under load",
    "nothing is lost on the drained one, only its own connections on the killed one",
)
def haproxy_backends(long: bool) -> Finding:
    count = 60 if long else 16
    lost = broken = 0
    for end in (signal.SIGKILL, signal.SIGTERM):
        found = _end_one_of_two(end, count)
        lost += found[0]
        broken += found[1]
    tried = f"{count} clients that talk all the time, on each of two backends in turn"
    return Finding(tried, lost, {"connections of the killed one": str(broken)})


def _end_one_of_two(end: signal.Signals, count: int) -> tuple[int, int]:
    """End the first; give what was lost that should not be, and its own broken connections."""
    with _two_backends() as (one, two, port):
        talkers = [Talker(port) for _ in range(count)]
        for talker in talkers:
            talker.start()
        wait_until(lambda: all(talker.said > 5 for talker in talkers))
        assert {talker.node for talker in talkers} == {b"one", b"two"}
        one.signal(end)
        _wait_for_effect(end, [talker for talker in talkers if talker.node == b"one"])
        for talker in talkers:
            talker.done = True
        for talker in talkers:
            talker.join(LIMIT)
        wait_until(lambda: answers(port))
        broken = [talker for talker in talkers if talker.broke]
        wrongly = broken
        if end == signal.SIGTERM:
            assert one.wait() == -signal.SIGTERM
        else:
            wrongly = [talker for talker in broken if talker.node != b"one"]
        lost = sum(talker.wrong for talker in talkers) + len(wrongly)
        return lost + len(two.matching("Client refused|Traceback")), len(broken)


@contextmanager
def _two_backends() -> Iterator[tuple[Server, Server, int]]:
    """Two servers behind HAProxy, and its port."""
    with ExitStack() as stack:
        one, two = _backend("one", "127.0.0.1"), _backend("two", "127.0.0.2")
        for server in (one, two):
            stack.callback(server.close)
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        places = {"port": free_port(), "one": one.port, "two": two.port, "directory": directory}
        config = _HAPROXY.format(**places, header="send-proxy-v2")
        stack.enter_context(haproxy(config, places["port"]))
        yield one, two, places["port"]


def _wait_for_effect(end: signal.Signals, talkers: Sequence[Talker]) -> None:
    """Wait until clients of a backend notice that it was killed, or go on in its drain."""
    if end == signal.SIGKILL:
        wait_until(lambda: all(talker.broke for talker in talkers))
        return
    said = {talker: talker.said for talker in talkers}
    wait_until(lambda: all(talker.said > said[talker] for talker in talkers))


@fault(
    "half-close through HAProxy: PROXY v1 and v2, without and before TLS",
    "every byte comes back, and the client's address is the real one",
)
def haproxy_half_close(long: bool) -> Finding:
    times = 500 if long else 40
    lost = 0
    for header in ("send-proxy", "send-proxy-v2"):
        for secure in (False, True):
            lost += _half_close_through_haproxy(header, secure, times)
    return Finding(f"{times} times for each of v1 and v2, plain and TLS", lost)


def _half_close_through_haproxy(header: str, secure: bool, times: int) -> int:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        pem = Path(directory) / "server.pem"
        pem.write_bytes(issue("localhost").pem)
        kind = "tcp:0:interface=127.0.0.1"
        if secure:
            kind = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
        words = ("--listen", kind, "-p", "{peer}: ", *BEHIND)
        server = stack.enter_context(running(*words))
        port = free_port()
        config = f"""
            defaults
                mode tcp
                timeout connect 5s
                timeout client 60s
                timeout server 60s
            listen front
                bind 127.0.0.1:{port}
                server one 127.0.0.1:{server.port} {header}
        """
        stack.enter_context(haproxy(config, port, _listens if secure else answers))
        if secure:
            return _wrong_by_tls(port, pem, times)
        return sum(_wrong_through(port, 1000 * number) for number in range(times))


def _wrong_through(port: int, size: int) -> int:
    """Data and FIN at once; whether something else than its echo came back."""
    data = bytes(size % 251 for _ in range(1)) * max(1, size)
    with connect(("127.0.0.1", port)) as client:
        own = "{}:{}: ".format(*client.getsockname()).encode()
        sender = threading.Thread(target=_say, args=(client, data), daemon=True)
        sender.start()
        heard = receive_all(client)
        sender.join(LIMIT)
    return int(heard.replace(own, b"") != data)


def _say(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)


def _wrong_by_tls(port: int, pem: Path, times: int) -> int:
    """The same by TLS; Python's has no half-close."""
    settings = ssl.create_default_context(cafile=str(pem))
    wrong = 0
    for number in range(times):
        plain = connect(("127.0.0.1", port))
        own = "{}:{}: ".format(*plain.getsockname()).encode()
        data = b"x" * (1 + 300 * number % 16000)
        with settings.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(data)
            wrong += receive_exactly(client, len(own) + len(data)) != own + data
    return wrong


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@fault(
    "half-close through nginx's stream module, PROXY v1",
    "every byte comes back, and the client's address is the real one",
)
def nginx_stream(long: bool) -> Finding:
    times = 300 if long else 30
    nginx = program("nginx")
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(running("-p", "{peer}: ", *BEHIND))
        port = free_port()
        modules = "".join(
            f"load_module {path};\n"
            for path in Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so")
        )
        path = Path(directory) / "nginx.conf"
        path.write_text(
            f"{modules}daemon off; master_process off; pid {directory}/pid;\n"
            f"error_log {directory}/errors; events {{}}\n"
            f"stream {{ server {{ listen 127.0.0.1:{port}; proxy_protocol on;"
            f" proxy_half_close on; proxy_pass 127.0.0.1:{server.port}; }} }}\n"
        )
        command = [nginx, "-c", str(path), "-p", directory, "-e", f"{directory}/errors"]
        stack.enter_context(started(command, lambda: answers(port)))
        wrong = sum(_wrong_through(port, 1000 * number) for number in range(times))
    return Finding(f"{times} times, up to {times} kB", wrong)


# -- clients -----------------------------------------------------------------------

_NODE = """
const net = require('net'), tls = require('tls'), fs = require('fs');
const [kind, where, ca] = process.argv.slice(1);
const target = where.startsWith('/') ? {path: where} : {port: +where, host: '127.0.0.1'};
const options = {...target, allowHalfOpen: true};
const client = kind === 'tls'
    ? tls.connect({...options, ca: fs.readFileSync(ca), servername: 'localhost'})
    : net.connect(options);
process.stdin.pipe(client);
client.pipe(process.stdout);
client.on('error', (error) => { console.error(String(error)); process.exit(1); });
"""


def _commands(kind: str, where: str, ca: str) -> dict[str, list[str]]:
    """How each program sends its standard input, half-closes, and prints what comes."""
    node = [program("node"), "-e", _NODE, kind, where, ca]
    socat, ncat = program("socat"), program("ncat")
    if kind == "unix":
        return {
            "socat": [socat, "-t", "30", "-", f"UNIX-CONNECT:{where}"],
            "ncat": [ncat, "-U", where],
            "Node": node,
        }
    if kind == "tcp":
        return {
            "socat": [socat, "-t", "30", "-", f"TCP:127.0.0.1:{where}"],
            "ncat": [ncat, "127.0.0.1", where],
            "Node": node,
        }
    # ncat ends TLS in both directions at the end of its input; openssl s_client does so too
    # with -no_ign_eof, and never ends without: each is tried as it can be.
    verify = f"cafile={ca},openssl-commonname=localhost"
    return {
        "socat": [socat, "-t", "30", "-", f"OPENSSL:127.0.0.1:{where},{verify}"],
        "Node": node,
    }


@fault(
    "socat, ncat, openssl, Node and Python say something and half-close, by TCP, UNIX and TLS",
    "every byte comes back",
)
def clients(long: bool) -> Finding:
    times = 20 if long else 2
    wrong = done = 0
    with tempfile.TemporaryDirectory() as directory:
        pem = Path(directory) / "server.pem"
        pem.write_bytes(issue("localhost").pem)
        path = f"{directory}/s"
        listen = ("tcp:0:interface=127.0.0.1", f"ssl:0:interface=127.0.0.1:privateKey={pem}")
        words = [word for each in (*listen, f"unix:{path}") for word in ("--listen", each)]
        with running(*words, "--prefix", "", "--log", "quiet") as server:
            server.wait_lines("Server listening", 3)
            tcp, tls = (str(each["port"]) for each in server.listeners if "port" in each)
            for kind, where in {"tcp": tcp, "unix": path, "tls": tls}.items():
                for command in _commands(kind, where, str(pem)).values():
                    for size in SIZES * times:
                        wrong += _converse(command, os.urandom(size))
                        done += 1
            wrong += _openssl(tls, str(pem))
            wrong += sum(_python(server, path, int(tls), pem) for _ in range(times))
    return Finding(f"{done} conversations of other programs, up to 1 MiB", wrong)


def _converse(command: list[str], data: bytes) -> int:
    """Return whether a program printed something else than what it was given."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=2 * LIMIT)
    return int(done.stdout != data)


def _openssl(port: str, ca: str) -> int:
    """``s_client`` has no half-close: it says something, hears it, and is told to end."""
    command = [
        program("openssl"), "s_client", "-quiet", "-verify_return_error", "-CAfile", ca,
        "-servername", "localhost", "-connect", f"127.0.0.1:{port}",
    ]  # fmt: skip
    data = b"x" * 16000 + b"\n"
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(data)
        process.stdin.flush()
        heard = process.stdout.read(len(data))
        process.stdin.close()
        process.terminate()
    return int(heard != data)


def _python(server: Server, path: str, tls: int, pem: Path) -> int:
    """Python's own sockets, the plain ones."""
    wrong = 0
    for size in SIZES:
        data = os.urandom(size)
        for address in (("127.0.0.1", server.port), path):
            with connect(address) as client:
                sender = threading.Thread(target=_say, args=(client, data), daemon=True)
                sender.start()
                wrong += receive_all(client) != data
                sender.join(LIMIT)
    settings = ssl.create_default_context(cafile=str(pem))
    with settings.wrap_socket(connect(("127.0.0.1", tls)), server_hostname="localhost") as client:
        client.sendall(b"x" * 16000)
        wrong += receive_exactly(client, 16000) != b"x" * 16000
    return wrong
