"""A client believes only a server that has shown who it is, and says why it does not."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet import ssl as twisted_ssl
from twisted.internet._sslverify import ClientTLSOptions
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol

from echosvc import EchoClientFactory, connect
from echosvc.endpoints import client_endpoint
from echosvc.tls.context import client_options
from echosvc.tls.endpoints import TLSConnector
from echosvc.tls.transport import TLSError
from tests.support.certificates import HOST, UNREADABLE, Issued, issue
from tests.support.commands import echosvc, one_line
from tests.support.process import Server, running
from tests.support.reactor import in_thread, no_faults, within
from tests.support.waiting import LIMIT

ANOTHER = "TLS: the certificate is for another name or address: "
FAILED = "TLS: certificate verify failed: "
ROOT = issue(subject="root", authority=True)
SECRET = b"secret, for the bank alone"


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verification") / "root.pem"
    path.write_bytes(ROOT.certificate_pem)
    return path


def of_root(*names: str, **how: Any) -> Issued:
    return issue(*names, issuer=ROOT, **{"subject": "printer-17", **how})


# -- nothing is exchanged before the yes ---------------------------------------------------


class Listening:
    """A server that takes down what the plain text of its one client is."""

    def __init__(self, one: Issued, place: Path, newest: ssl.TLSVersion) -> None:
        pem = place / "shown.pem"
        pem.write_bytes(one.pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._context.maximum_version = newest
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT)
        self.port = self._listener.getsockname()[1]

    def hear(self) -> tuple[bool, bytes]:
        """Say something at once; give whether the handshake was done, and what was heard."""
        plain, _ = self._listener.accept()
        plain.settimeout(LIMIT)
        done, heard = False, b""
        with (
            self._listener,
            plain,
            suppress(ssl.SSLError, ConnectionError),
            self._context.wrap_socket(plain, server_side=True) as end,
        ):
            done = True
            end.sendall(b"hello")
            while piece := end.recv(65536):
                heard += piece
        return done, heard


class Eager(Protocol):
    """Writes as soon as it can; notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connectionMade(self) -> None:
        self.transport.write(SECRET)

    def handshakeCompleted(self) -> None:
        self.told.append("ready")

    def dataReceived(self, data: bytes) -> None:
        self.told.append(data)
        self.transport.loseConnection()

    def connectionLost(self, reason: Any) -> None:
        self.told.append(reason.value)


def twisteds(roots: Path, host: str = HOST) -> Any:
    root = twisted_ssl.Certificate.loadPEM(roots.read_bytes())
    return twisted_ssl.optionsForClientTLS(host, twisted_ssl.trustRootFromCertificates([root]))


class Wrapping:
    """Adds something of its own to another creator."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def clientConnectionForTLS(self, transport: Any) -> SSL.Connection:
        connection: SSL.Connection = self._inner.clientConnectionForTLS(transport)
        connection.set_alpn_protos([b"echo"])
        return connection


class Derived(ClientTLSOptions):
    """Twisted's, with something of its own."""

    def clientConnectionForTLS(self, transport: Any) -> SSL.Connection:
        connection = super().clientConnectionForTLS(transport)
        connection.set_alpn_protos([b"echo"])
        return connection


def derived(roots: Path) -> Any:
    inner = twisteds(roots)
    return Derived(inner._createConnection, HOST)


CREATORS = {
    "ours": lambda roots: client_options(HOST, roots=str(roots)),
    "twisted's": twisteds,
    "twisted's, wrapped": lambda roots: Wrapping(twisteds(roots)),
    "twisted's, derived": derived,
}
each_creator = pytest.mark.parametrize("creator", list(CREATORS))
each_version = pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])


async def attempt(server: Listening, creator: Any) -> tuple[Any, Eager, tuple[bool, bytes]]:
    """Connect; give the outcome, the client's protocol, and what the server has heard."""
    eager = Eager()
    factory = Factory.forProtocol(lambda: eager)
    below = HostnameEndpoint(reactor, "127.0.0.1", server.port)
    hearing = in_thread(server.hear)
    outcome: Any
    try:
        outcome = await within(TLSConnector(reactor, below, creator).connect(factory))
    except TLSError as error:
        outcome = error
    return outcome, eager, await hearing


@each_creator
@each_version
@pytest.mark.parametrize("kind", ["none", "star", "star of one label", "an address as a name"])
@pytest_twisted.ensureDeferred
async def test_to_a_server_that_cannot_say_who_it_is_nothing_is_sent(
    kind, version, creator, roots, tmp_path
):
    one = of_root(alternatives=UNREADABLE[kind])
    server = Listening(one, tmp_path, ssl.TLSVersion[version])
    with no_faults() as faults:
        outcome, eager, (_, heard) = await attempt(server, CREATORS[creator](roots))
        if creator == "twisted's, wrapped":  # Twisted logs what it has swallowed
            del faults[:]
    assert isinstance(outcome, TLSError)
    assert str(outcome).startswith(ANOTHER)
    assert str(outcome).isprintable()
    assert heard == b""
    assert eager.told == [outcome]


@each_creator
@each_version
@pytest_twisted.ensureDeferred
async def test_to_the_right_one_it_is(version, creator, roots, tmp_path):
    server = Listening(of_root(HOST), tmp_path, ssl.TLSVersion[version])
    with no_faults():
        outcome, eager, heard = await attempt(server, CREATORS[creator](roots))
    assert outcome is eager
    assert heard == (True, SECRET)
    assert eager.told[:2] == ["ready", b"hello"]


class Deciding:
    """Verifies after the handshake, and not in it."""

    def __init__(self, *errors: Exception) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._errors = errors

    def clientConnectionForTLS(self, _: object) -> SSL.Connection:
        return SSL.Connection(self._context)

    def verify_server(self, connection: SSL.Connection) -> None:
        assert connection.get_peer_certificate(as_cryptography=True) is not None
        for error in self._errors:
            raise error


@pytest_twisted.ensureDeferred
async def test_a_creator_may_decide_and_whatever_it_raises_is_a_no(tmp_path):
    """A no in the last moment: of TLS 1.3 not even the handshake's end is sent."""
    for error, said in (
        (TLSError("TLS: not that one"), "TLS: not that one"),
        (ValueError("one\ntwo"), "TLS: one two"),
        (AssertionError("no"), "TLS: no"),
    ):
        server = Listening(of_root(HOST), tmp_path, ssl.TLSVersion.TLSv1_3)
        with no_faults():
            outcome, eager, heard = await attempt(server, Deciding(error))
        assert str(outcome) == said
        assert heard == (False, b"")
        assert eager.told == [outcome]
    server = Listening(of_root(HOST), tmp_path, ssl.TLSVersion.TLSv1_3)
    outcome, eager, heard = await attempt(server, Deciding())
    assert (outcome, heard) == (eager, (True, SECRET))


class Raising:
    """Cannot make a connection."""

    def clientConnectionForTLS(self, _: object) -> SSL.Connection:
        raise ValueError("no file\nis here")


class RaisingInTheHandshake:
    def clientConnectionForTLS(self, _: object) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_PEER, self._raise)
        return SSL.Connection(context)

    def _raise(self, *_: object) -> bool:
        raise ValueError("out of\nthe callback")


@pytest.mark.parametrize(
    ("creator", "said"),
    [(Raising(), "TLS: no file is here"), (RaisingInTheHandshake(), "TLS: out of the callback")],
)
# Python leaves a socket open whose peer has reset it before the handshake (SSLSocket._create).
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
@pytest_twisted.ensureDeferred
async def test_an_exception_of_a_creator_is_the_failure_of_the_attempt(creator, said, tmp_path):
    server = Listening(of_root(HOST), tmp_path, ssl.TLSVersion.TLSv1_3)
    below = HostnameEndpoint(reactor, "127.0.0.1", server.port)
    hearing = in_thread(server.hear)
    with no_faults():
        with pytest.raises(TLSError) as caught:
            await within(TLSConnector(reactor, below, creator).connect(EchoClientFactory()))
        assert await hearing == (False, b"")
    assert str(caught.value) == said


# -- what is said --------------------------------------------------------------------------


STRANGER = issue(subject="stranger", authority=True)
#: Kind -> the certificate, what is said of it, what to do.
SAID: dict[str, tuple[Issued, str, str]] = {
    "no names": (of_root(), ANOTHER + "it names no host: it has no subjectAltName", "names it"),
    "star": (of_root("*"), ANOTHER + "it names '*', and not all of that is a name", "names it"),
    "another name": (
        of_root("a.example", "192.0.2.7"),
        ANOTHER + "it names 'a.example', '192.0.2.7', not 'localhost'",
        "--server-name",
    ),
    "expired": (of_root("localhost", days=-0.5), FAILED + "'CN=printer-17': it has exp", "new one"),
    "not yet": (of_root("localhost", begins=0.5), FAILED + "'CN=printer-17': it is not v", "clock"),
    "self-signed": (
        issue("localhost", subject="me"), FAILED + "'CN=me': it is self-signed", "--ca FILE",
    ),
    "unknown issuer": (
        issue("localhost", issuer=STRANGER, subject="x"),
        FAILED + "'CN=x': its issuer 'CN=stranger' is unknown",
        "--ca FILE",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(SAID))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pem = tmp_path_factory.mktemp("shown") / "server.pem"
    pem.write_bytes(SAID[kind][0].pem)
    with running("--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}") as it:
        yield it


def test_send_says_what_is_wrong_and_what_to_do_in_one_line(
    kind: str, server: Server, roots: Path
) -> None:
    _, why, advice = SAID[kind]
    done = echosvc("send", "--to", f"tls:localhost:{server.port}", "--ca", str(roots), "hi")
    line = one_line(done.stderr)
    assert line.startswith(f"Socket Error: connect {why}")
    assert advice in line
    assert (done.stdout, done.returncode) == (b"", 1)


def test_check_does_as_well(kind: str, server: Server, roots: Path) -> None:
    _, why, advice = SAID[kind]
    words = ["check", f"tls:localhost:{server.port}", "--ca", str(roots), "--only", "connect"]
    done = echosvc(*words, "--json")
    (probe,) = (each for each in json.loads(done.stdout)["probes"] if each["result"] == "fail")
    assert why in probe["finding"]
    assert advice in probe["cause"]
    assert (done.stderr, done.returncode) == (b"", 1)


@pytest_twisted.ensureDeferred
async def test_connect_does_as_well(kind, server, roots):
    _, why, advice = SAID[kind]
    endpoint = client_endpoint(reactor, f"tls:localhost:{server.port}:trustRoots={roots}").endpoint
    with pytest.raises(TLSError) as caught:
        await within(connect(endpoint))
    said = str(caught.value)
    assert said.startswith(why)
    assert advice in said
    assert said.isprintable()


def test_an_address_is_verified_as_one(tmp_path: Path, roots: Path) -> None:
    """Not as a name that looks like it."""
    pem = tmp_path / "server.pem"
    for one, status in (
        (of_root("127.0.0.1"), 0),
        (of_root("192.0.2.7"), 1),
        (of_root(alternatives=b"\x30\x0b\x82\x09127.0.0.1"), 1),
    ):
        pem.write_bytes(one.pem)
        with running("--listen", f"ssl:0:interface=127.0.0.1:privateKey={pem}") as it:
            to = f"tls:127.0.0.1:{it.port}"
            done = echosvc("send", "--to", to, "--ca", str(roots), "--quiet", "hi")
        assert done.returncode == status
        assert done.stdout == (b"" if status else b"Sending: hi\n")
        assert (ANOTHER in done.stderr.decode()) == bool(status)


# -- what the server thinks of the client ----------------------------------------------------


@pytest.fixture(scope="module")
def demanding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a certificate that its own authority has signed."""
    folder = tmp_path_factory.mktemp("demanding")
    (folder / "server.pem").write_bytes(of_root("localhost").pem)
    (folder / "ca.pem").write_bytes(issue(subject="clients", authority=True).certificate_pem)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={folder}/server.pem"
    with running("--listen", listen, "--tls-client-ca", str(folder / "ca.pem")) as it:
        yield it


@pytest.mark.parametrize(
    ("own", "alert", "advice"),
    [
        (False, "alert certificate required", "the server requires a client certificate (--cert"),
        (
            True,
            "alert unknown ca",
            "the server does not trust the issuer of the client's certificate",
        ),
    ],
    ids=["none", "foreign"],
)
def test_a_certificate_that_the_server_misses_is_advised(
    demanding: Server, roots: Path, tmp_path: Path, own: bool, alert: str, advice: str
) -> None:
    """By TLS 1.3 the server says so only after the handshake."""
    (tmp_path / "own.pem").write_bytes(issue("client.example").pem)
    options = ["--ca", str(roots), *(["--cert", str(tmp_path / "own.pem")] if own else [])]
    to = f"tls:localhost:{demanding.port}"
    said = one_line(echosvc("send", "--to", to, *options, "--quiet", "hi").stderr)
    assert alert in said
    assert f"({advice}" in said
    done = echosvc("check", to, *options, "--only", "connect,echo", "--json")
    connected, echoed = json.loads(done.stdout)["probes"]
    assert (connected["result"], echoed["result"]) == ("pass", "fail")
    assert alert in echoed["finding"]
    assert echoed["cause"].startswith(advice)
