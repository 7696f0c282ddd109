"""How the command line's client reaches a server: whom it trusts, what it shows and sends first."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
    NoProtocol,
)
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory
from zope.interface import implementer

from echosvc import EchoClientFactory, EchoFactory, Outcome, connect
from echosvc.connection.sender import SocketSender
from echosvc.endpoints import client_endpoint
from echosvc.net.connector import ATTEMPT_DELAY
from echosvc.net.errors import TLSError, describe_error
from echosvc.net.proxy_endpoint import ProxyingEndpoint
from echosvc.wire.proxy_header import SIGNATURE, Header, HeaderParser, encode_header
from tests.integration.cli.test_send import echosvc, one_line
from tests.integration.client.test_client import MIB, accepted, listening, payload
from tests.integration.tls.test_client_auth import Files
from tests.support.process import (
    LIMIT,
    Server,
    environment,
    in_thread,
    no_faults,
    receive_all,
    receive_exactly,
    running,
    serving,
    turn,
    until,
    within,
)
from tests.unit.tls.test_context import issue

LOUD = "echosvc: WARNING: --insecure: NOTHING IS VERIFIED, any server is accepted"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = Files(tmp_path_factory.mktemp("reaching"))
    made.write("root.pem", made.root, key=False)
    made.write("names/a.pem", made.of_server("localhost"))
    made.write("names/b.pem", made.of_server("other.example"))
    return made


@pytest.fixture(scope="module")
def server(files: Files) -> Iterator[Server]:
    """It has one certificate for localhost and one for other.example; any client may come."""
    with running("--listen", f"tls:{files.place}/names:0:interface=127.0.0.1") as it:
        yield it


@pytest.fixture(scope="module")
def demanding(files: Files) -> Iterator[Server]:
    words = "--tls-client-ca", str(files.ca), "--prefix", "{tls_peer}: "
    with running("--listen", files.listen, *words) as it:
        yield it


def to(server: Server, host: str = "localhost", more: str = "") -> list[str]:
    return ["--to", f"tls:{host}:{server.port}{more}", "--quiet"]


def fine(*words: str, reply: bytes = b"Sending: hi\n", said: str = "") -> None:
    done = echosvc("send", *words, "hi")
    assert (done.stdout, done.stderr.decode(), done.returncode) == (reply, said, 0)


def failed(*words: str) -> str:
    done = echosvc("send", *words, "hi")
    assert (done.stdout, done.returncode) == (b"", 1)
    return done.stderr.decode()


# -- whom it trusts ----------------------------------------------------------------------


def test_authorities_are_the_options_or_the_strings(server: Server, files: Files) -> None:
    ca = f"{files.place}/root.pem"
    fine(*to(server), "--ca", ca)
    fine(*to(server, more=f":trustRoots={ca}"))


def test_without_them_an_unknown_authority_is_not_trusted(server: Server, files: Files) -> None:
    for words in ([], ["--ca", str(files.ca)]):
        said = failed(*to(server), *words)
        assert said.startswith("Socket Error: connect TLS: ")
        assert "certificate verify failed" in said
        assert said.count("\n") == 1


def test_the_server_must_be_who_it_is_asked_for_as(server: Server, files: Files) -> None:
    ca = "--ca", f"{files.place}/root.pem"
    assert "is for another name" in failed(*to(server, "127.0.0.1"), *ca)
    assert "is for another name" in failed(*to(server), *ca, "--server-name", "third.example")
    fine(*to(server, "127.0.0.1"), *ca, "--server-name", "localhost")
    fine(*to(server), *ca, "--server-name", "other.example")  # that one's certificate is shown


def test_insecure_believes_anybody_and_says_so_once(server: Server) -> None:
    for host in ("localhost", "127.0.0.1"):
        fine(*to(server, host), "--insecure", said=f"{LOUD}\n")
    done = echosvc("demo", "--to", f"tls:localhost:{server.port}", "--insecure")
    assert one_line(done.stderr) == LOUD  # for three conversations
    assert done.returncode == 0


def test_insecure_asks_for_the_name_all_the_same() -> None:
    with Asked() as asked:
        for words, name in (
            ((), "localhost"),
            (("--server-name", "other.example"), "other.example"),
            (("--server-name", "127.0.0.1"), None),
        ):
            echosvc("send", "--to", f"tls:localhost:{asked.port}", "--insecure", *words, "hi")
            assert asked.names.pop() == name


class Asked:
    """A server that takes down for whom it is asked."""

    def __enter__(self) -> Asked:
        self.names: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(issue("localhost").pem)
            file.flush()
            context.load_cert_chain(file.name)
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(context,), daemon=True)
        self._thread.start()
        return self

    def _serve(self, context: ssl.SSLContext) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                plain.settimeout(LIMIT)
                with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as end:
                    end.recv(1)

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._listener.close()


# -- what it shows -----------------------------------------------------------------------


def test_it_shows_its_certificate(demanding: Server, files: Files) -> None:
    ca = "--ca", f"{files.place}/root.pem"
    one = files.of_client("somebody")
    whole = files.write("somebody.pem", one)
    alone = files.write("alone.pem", one, key=False)
    key = files.place / "somebody.key"
    key.write_bytes(one.key_pem)
    for words in (("--cert", str(whole)), ("--cert", str(alone), "--key", str(key))):
        words = (*to(demanding), *ca, *words, "--prefix", "somebody: ")
        fine(*words, reply=b"somebody: hi\n")
    more = f":certificate={alone}"
    words = (*to(demanding, more=more), *ca, "--key", str(key), "--prefix", "somebody: ")
    fine(*words, reply=b"somebody: hi\n")
    words = (*to(demanding), "--insecure", "--cert", str(whole), "--prefix", "somebody: ")
    fine(*words, reply=b"somebody: hi\n", said=f"{LOUD}\n")


def test_without_one_where_one_is_wanted_it_says_why(demanding: Server, files: Files) -> None:
    said = failed(*to(demanding), "--ca", f"{files.place}/root.pem")
    assert "certificate required" in said
    assert said.count("\n") == 1


# -- what it sends first -----------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_proxy_header_goes_first_before_tls(version: str, files: Files) -> None:
    names = f"tls:{files.place}/names:0:interface=127.0.0.1"
    words = "--proxy-protocol", "require", "--proxy-from", "127.0.0.1", "--greeting", "{local} "
    listen = "--listen", names, "--listen", "tcp:0:interface=127.0.0.1"
    with running(*listen, *words) as server:
        server.wait_lines("Server listening", 2)
        ports = [int(each["port"]) for each in server.listeners]
        proxy = "--send-proxy", version
        ca = "--ca", f"{files.place}/root.pem"
        for port, more in ((ports[0], ("--to", f"tls:localhost:{ports[0]}", *ca)), (ports[1], ())):
            to = more or ("--to", f"tcp:127.0.0.1:{port}")
            done = echosvc("send", *to, *proxy, "--quiet", "hi")
            assert f"127.0.0.1:{port} " in done.stdout.decode()
            assert b"Sending: hi" in done.stdout
            assert (done.stderr, done.returncode) == (b"", 0)


def header_and_rest(data: bytes) -> tuple[Header, bytes]:
    parser = HeaderParser()
    header = parser.feed(data)
    assert header is not None
    return header, parser.rest


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_it_holds_the_connections_own_addresses(host: str, version: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        words = f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
        client = await within(connect(client_endpoint(reactor, words, None, version).endpoint))
        client.write(b"hello")
        with accepted(listener) as server:
            client.finish()
            header, rest = header_and_rest(await in_thread(receive_all, server))
            mine = server.getpeername()[:2]
        assert header == Header(version, mine, (host, port))
        assert rest == b"hello"
        assert await within(client.when_closed()) is Outcome.FINISHED
        assert client.bytes_out == 5


@pytest.mark.parametrize(
    ("version", "header"), [(1, b"PROXY UNKNOWN\r\n"), (2, SIGNATURE + b"\x20\0\0\0")]
)
@pytest_twisted.ensureDeferred
async def test_a_unix_socket_has_none(version: int, header: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="echo") as place, listening(f"{place}/s") as listener:
        endpoint = ProxyingEndpoint(UNIXClientEndpoint(reactor, f"{place}/s"), version)
        client = await within(connect(endpoint))
        with accepted(listener) as server:
            client.finish()
            assert await in_thread(receive_all, server) == header
        await within(client.when_closed())


@pytest.mark.parametrize("version", [1, 2])
@pytest_twisted.ensureDeferred
async def test_half_close_and_back_pressure_are_as_without(version: int) -> None:
    with no_faults(), listening("tcp", receive_buffer=4096) as listener:
        address = listener.getsockname()
        client = await within(
            connect(ProxyingEndpoint(TCP4ClientEndpoint(reactor, *address), version))
        )
        assert client.half_closes
        assert isinstance(client._sender, SocketSender)  # its bytes go to the kernel directly
        with accepted(listener) as server:
            data, sent = payload(8 * MIB), 0
            while (room := client.write(data[sent : sent + 65536])).called:
                sent += 65536
                assert sent < len(data)
            sent += 65536
            assert client.queued <= 2 * 65536
            expected = encode_header(version, server.getpeername(), address)
            came = await in_thread(receive_exactly, server, len(expected) + sent)
            assert came == expected + data[:sent]
            await within(room)
            client.finish()
            assert await in_thread(receive_all, server) == b""
            server.sendall(b"after the end")  # our side alone is closed
            assert await within(client.receive()) == b"after the end"
            server.shutdown(socket.SHUT_WR)
            assert await within(client.receive()) == b""
            assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_server_that_finishes_first_can_still_be_sent_to() -> None:
    with no_faults(), listening("tcp") as listener:
        endpoint = ProxyingEndpoint(TCP4ClientEndpoint(reactor, *listener.getsockname()), 2)
        client = await within(connect(endpoint, allow_half_open=True))
        with accepted(listener) as server:
            server.shutdown(socket.SHUT_WR)
            assert await within(client.receive()) == b""
            client.write(b"still there")
            client.finish()
            assert (await in_thread(receive_all, server)).endswith(b"still there")
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest.mark.parametrize("version", [1, 2])
@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_through_tls_behind_it(version: int, files: Files) -> None:
    factory = EchoFactory(
        prefix=b"", log="quiet", proxy_protocol="require", proxy_from=("127.0.0.1",)
    )
    async with serving(factory, files.listen) as (_, port):
        words = f"tls:localhost:{port}:trustRoots={files.place}/root.pem"
        client = await within(connect(client_endpoint(reactor, words, None, version).endpoint))
        (met,) = factory.connections
        assert met.remote == client.local
        data, back = payload(2 * MIB), b""
        client.write(data)
        client.finish()
        while piece := await within(client.receive()):
            back += piece
        assert back == data
        assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_what_fails_below_fails_and_what_is_cancelled_ends() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = ProxyingEndpoint(TCP4ClientEndpoint(reactor, *unused.getsockname()), 1)
        with pytest.raises(ConnectError):
            await within(connect(endpoint))
        attempt = endpoint.connect(EchoClientFactory())
        attempt.cancel()
        with pytest.raises(ConnectingCancelledError):
            await within(attempt)


@pytest_twisted.ensureDeferred
async def test_a_factory_may_refuse_and_then_nothing_is_sent() -> None:
    class Refusing(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            return None

    with listening("tcp") as listener:
        endpoint = ProxyingEndpoint(TCP4ClientEndpoint(reactor, *listener.getsockname()), 2)
        with pytest.raises(NoProtocol):
            await within(endpoint.connect(Refusing()))
        with accepted(listener) as server:
            assert await in_thread(receive_all, server) == b""


def test_there_is_no_version_3() -> None:
    with pytest.raises(ValueError, match="not 3"):
        ProxyingEndpoint(TCP4ClientEndpoint(reactor, "127.0.0.1", 1), 3)


# -- which addresses it tries ------------------------------------------------------------


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows these names alone."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *_: Any
    ) -> None:
        for host in self.names.get(hostName, ()):
            kind = IPv6Address if ":" in host else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()


@contextmanager
def knowing(**names: list[str]) -> Iterator[None]:
    before = reactor.installNameResolver(Names(**names))
    try:
        yield
    finally:
        reactor.installNameResolver(before)


def descriptors() -> set[str]:
    """What this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
    return found


def left_since(before: set[str]) -> set[str]:
    """What is left, in words: descriptors opened since then, and all timers."""
    return descriptors() - before | set(map(str, reactor.getDelayedCalls()))


#: Nobody answers there: it is of a network for documentation (RFC 5737).
SILENT = "192.0.2.1"


def refusing() -> int:
    """A port on which nobody listens, of either family."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


async def echoed(words: str, **more: Any) -> str:
    """Be a client of an echo server; the name of the server's address."""
    client = await within(connect(client_endpoint(reactor, words, **more).endpoint))
    client.write(b"hi")
    client.finish()
    assert await within(client.receive()) == b"> hi"
    assert await within(client.when_closed()) is Outcome.FINISHED
    return client.remote


def echo() -> EchoFactory:
    return EchoFactory(prefix=b"> ", log="quiet")


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_is_reported_at_once_and_with_its_address() -> None:
    port = refusing()
    with knowing(my_echo=["::1", "127.0.0.1"]):
        for host, where in (
            ("127.0.0.1", f"127.0.0.1:{port}"),
            ("[::1]", f"[::1]:{port}"),
            ("my_echo", f"127.0.0.1:{port}"),
        ):
            target, seconds = client_endpoint(reactor, f"{host}:{port}"), []
            for _ in range(5):
                began = time.monotonic()
                with pytest.raises(ConnectError) as caught:
                    await within(connect(target.endpoint))
                seconds.append(time.monotonic() - began)
                assert describe_error(caught.value) == "ECONNREFUSED"
                assert target.where(caught.value) == where
            assert min(seconds) < ATTEMPT_DELAY


@pytest_twisted.ensureDeferred
async def test_an_address_that_refuses_or_is_silent_does_not_keep_from_another() -> None:
    async with serving(echo()) as (host, port):
        with knowing(
            refusing=["::1", host], silent=[SILENT, host], last=[SILENT, "::1", SILENT, host]
        ):  # fmt: skip
            for name in ("refusing", "silent", "last"):
                assert await echoed(f"{name}:{port}") == f"{host}:{port}"


async def connect_in_every_way() -> None:
    """Connect, fail and cancel; fail where something is left. Needs a reactor of its own."""
    await turn()  # now the reactor runs, and has opened its own descriptors
    port, factory = refusing(), echo()
    async with serving(factory) as (host, served):
        with knowing(my_echo=["::1", host], nowhere=[], silent=[SILENT, host]):
            before = descriptors()
            await echoed(f"my_echo:{served}")
            for words in (f"my_echo:{port}", f"nowhere:{port}", f"tcp:[::1%nosuch0]:{port}"):
                with pytest.raises((ConnectError, DNSLookupError)):
                    await within(connect(client_endpoint(reactor, words).endpoint))
            for name in ("my_echo", "silent"):
                endpoint = client_endpoint(reactor, f"{name}:{served}").endpoint
                attempt = endpoint.connect(EchoClientFactory())
                attempt.cancel()
                with pytest.raises(ConnectingCancelledError):
                    await within(attempt)
            await within(factory.when_idle())
            with suppress(AssertionError):  # which does not say what is left
                await until(lambda: not left_since(before))
            assert not left_since(before), left_since(before)


#: A process has no timers and no descriptors of other tests.
ALONE = """
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from tests.integration.client.test_target import connect_in_every_way
react(lambda reactor: Deferred.fromCoroutine(connect_in_every_way()))
"""


def test_nothing_is_left_behind_whatever_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True, text=True, timeout=3 * LIMIT, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest_twisted.ensureDeferred
async def test_names_that_the_resolver_knows_are_good_enough() -> None:
    names = {each: ["127.0.0.1"] for each in ("my_echo", "_echo._tcp", "xn--bcher-kva.test")}
    async with serving(echo()) as (_, port):
        with knowing(**names):
            for name in ("my_echo", "_echo._tcp", "bücher.test", "BÜCHER.test"):
                assert await echoed(f"tcp:{name}:{port}") == f"127.0.0.1:{port}"


@pytest_twisted.ensureDeferred
async def test_a_zone_is_passed_on_to_the_kernel() -> None:
    need_ipv6()
    _, name = socket.if_nameindex()[0]
    async with serving(echo(), f"[::1%{name}]:0") as (_, port):
        for zone in (name, str(socket.if_nametoindex(name))):
            assert (await echoed(f"tcp:[::1%{zone}]:{port}")).startswith("[::1")


def need_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


#: The console script on a machine whose DNS servers do not answer.
WITHOUT_DNS = """
import socket, sys, threading
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
from echosvc.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["send", "demo"])
def test_a_name_that_is_not_resolved_in_time_does_not_keep_the_process(command: str) -> None:
    words = [command, "--to", "some.example:9000"]
    if command == "send":
        words += ["--deadline", "0.3", "hi"]
    else:
        words[-1] = "tcp:some.example:9000:timeout=1"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DNS, *words],
        capture_output=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert one_line(done.stderr) == (
        "Socket Error: some.example:9000: the name was not resolved in time"
    )
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_zone_that_is_not_there_is_one_line() -> None:
    said = failed("--to", "tcp:[fe80::1%nosuch0]:9000")
    assert said == (
        "Socket Error: connect ENODEV (there is no network interface 'nosuch0')"
        " [fe80::1%nosuch0]:9000\n"
    )


# -- whom it asks for ---------------------------------------------------------------------


def test_a_final_dot_is_neither_asked_for_nor_verified(server: Server, files: Files) -> None:
    ca = "--ca", f"{files.place}/root.pem"
    fine(*to(server, "127.0.0.1"), *ca, "--server-name", "localhost.")
    with Asked() as asked:
        for name, sent in (
            ("other.example.", "other.example"),
            ("my_echo.", "my_echo"),
            ("BÜCHER.test.", "xn--bcher-kva.test"),
            ("127.0.0.1", None),
            ("fe80::1%lo", None),
        ):
            words = "--insecure", "--server-name", name
            echosvc("send", "--to", f"tls:localhost:{asked.port}", *words, "hi")
            assert asked.names.pop() == sent


@pytest_twisted.ensureDeferred
async def test_the_names_of_an_endpoint_are_verified_as_certificates_have_them(
    files: Files,
) -> None:
    hosts = ["localhost", "my_echo", "xn--bcher-kva.test", "::1"]
    pem = files.write("hosts.pem", files.of_server(*hosts))
    more = f"trustRoots={files.place}/root.pem"
    others = "localhost.", "xn--bcher-kva.test.", "my_other_echo"
    names = {each: ["127.0.0.1"] for each in (*hosts[1:3], *others)}
    async with serving(echo(), f"ssl:0:privateKey={pem}") as (_, port):
        with knowing(**names):
            for host in ("localhost.", "my_echo", "bücher.test", "BÜCHER.test.", "[::1%lo]"):
                await echoed(f"tls:{host}:{port}:{more}")
            with pytest.raises(TLSError):
                await echoed(f"tls:my_other_echo:{port}:{more}")


# -- the short forms ----------------------------------------------------------------------


def test_short_forms_and_urls_are_taken_by_every_command(files: Files) -> None:
    with tempfile.TemporaryDirectory(prefix="echo") as place:
        path, pem = f"{place}/s", files.write("short.pem", files.of_server("localhost"))
        listen = "--listen=0", "--listen=127.0.0.1:0", f"--listen=unix://{path}"
        with running(*listen, f"--listen=ssl:0:privateKey={pem}") as server:
            server.wait_lines("Server listening", 4)
            both, one, tls = (each["port"] for each in server.listeners if "port" in each)
            for where in (
                f"{both}", f":{both}", f"localhost:{both}", f"127.0.0.1:{one}",
                f"tcp://localhost:{both}", f"tcp://127.0.0.1:{one}/", f"unix://{path}",
            ):  # fmt: skip
                fine("--to", where, "--quiet")
            fine("--to", f"tls://localhost:{tls}", "--ca", f"{files.place}/root.pem", "--quiet")
            done = echosvc("check", f"localhost:{both}", "--only", "echo")
            assert (done.returncode, done.stderr) == (0, b"")
            done = echosvc("demo", "--to", f"{both}")
            assert (done.returncode, done.stderr) == (0, b"")


def test_options_for_tls_go_with_a_url_of_tls_and_no_other() -> None:
    done = echosvc("send", "--to", "tcp://localhost:1", "--ca", "a", "hi")
    assert one_line(done.stderr).startswith("echosvc: --ca: is for tls: endpoints, and --to is")
    assert failed("--to", f"tls://localhost:{refusing()}", "--insecure").count("\n") == 2


def test_help_says_how_a_server_is_written() -> None:
    for command in ("send", "check", "demo"):
        said = " ".join(echosvc(command, "--help").stdout.decode().split())
        for form in ("HOST:PORT", "tcp:HOST:PORT", "tls:HOST:PORT", "unix:PATH", "tls://HOST:PORT"):
            assert form in said
        assert "a string that begins with a kind and a colon is of that kind" in said
