"""What TLS listeners demand of their clients, what they say of them, and the reload at SIGHUP."""

from __future__ import annotations

import re
import signal
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from echosvc.wire.proxy_header import encode_header
from tests.support.process import (
    LIMIT,
    TWISTD,
    Server,
    connect,
    environment,
    need,
    receive_all,
    receive_exactly,
    running,
    wait_until,
)
from tests.unit.tls.test_context import Issued, issue, with_odd_name

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
#: An authority's common name is escaped in the log, and is itself in a reply.
HOSTILE = "\x1b[31m\n{pid} {nope} %s 'x'"


class Files:
    """The files of one server and its clients, and who signed whom."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = issue(subject="root", authority=True)
        self.authority = issue(subject="clients' authority", authority=True)
        self.server = self.write("server.pem", self.of_server())
        self.ca = self.write("ca.pem", self.authority, key=False)
        self.client = self.write("client.pem", self.of_client())

    def of_server(self, *names: str) -> Issued:
        return issue(*(names or ("localhost",)), issuer=self.root)

    def of_client(self, subject: str = "client", **how: Any) -> Issued:
        return issue(subject=subject, **{"issuer": self.authority, **how})

    def write(self, name: str, one: Issued, key: bool = True) -> Path:
        path = self.place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(one.pem if key else one.certificate_pem)
        return path

    @property
    def listen(self) -> str:
        return f"ssl:0:interface=127.0.0.1:privateKey={self.server}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("demands"))


@pytest.fixture
def own(tmp_path: Path) -> Files:
    """Files that a test may change."""
    return Files(tmp_path)


@pytest.fixture(scope="module")
def demanding(files: Files) -> Iterator[Server]:
    words = "--greeting", "hello ", "--prefix", "{tls_version} {tls_peer}|"
    with running("--listen", files.listen, "--tls-client-ca", str(files.ca), *words) as server:
        yield server


@pytest.fixture(params=[V12, V13], ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return request.param


def context(certificate: Path | None = None, version: ssl.TLSVersion | None = None) -> Any:
    """A client's, which verifies nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if certificate is not None:
        made.load_cert_chain(certificate)
    return made


@contextmanager
def tls(
    server: Server, settings: ssl.SSLContext, name: str | None = None, **how: Any
) -> Iterator[ssl.SSLSocket]:
    plain = server.connect()
    try:
        with settings.wrap_socket(plain, server_hostname=name, **how) as client:
            yield client
    finally:
        plain.close()


def ask(client: ssl.SSLSocket, data: bytes = b"x") -> bytes:
    """Send, and give all until the answer's end, which is what was sent."""
    client.sendall(data)
    back = b""
    while not back.endswith(data):
        piece = client.recv(65536)
        assert piece, back
        back += piece
    return back


def nothing(server: Server, settings: ssl.SSLContext, **how: Any) -> None:
    """The client gets no byte, whatever it sends, and the end has its word."""
    came, plain = b"", server.connect()
    port = plain.getsockname()[1]
    with suppress(ssl.SSLError, ConnectionError), settings.wrap_socket(plain, **how) as client:
        with suppress(ssl.SSLError, ConnectionError):
            client.sendall(b"x")
        came = client.recv(65536)
    plain.close()
    assert came == b""
    server.wait_line(f"Client disconnected: remote = 127.0.0.1:{port} outcome = handshake")
    assert not server.matching(f"Client connection.*:{port}\\b")


# -- certificates of clients -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "expired", "foreign", "namesake", "wrong purpose"])
def test_a_client_without_a_right_certificate_gets_nothing(
    kind: str, demanding: Server, files: Files, version: ssl.TLSVersion
) -> None:
    wrong = {
        "expired": {"days": -0.5},
        "foreign": {"issuer": files.root},
        "namesake": {"issuer": issue(subject="clients' authority", authority=True)},
        "wrong purpose": {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)},
    }
    shown = None
    if kind != "none":
        shown = files.write(f"{kind}.pem", files.of_client(**wrong[kind]))
    nothing(demanding, context(shown, version))


def test_one_with_a_right_certificate_is_served_and_named(
    demanding: Server, files: Files, version: ssl.TLSVersion
) -> None:
    with tls(demanding, context(files.client, version)) as client:
        port = client.getsockname()[1]
        assert ask(client) == f"hello {client.version()} client|x".encode()
        line = demanding.wait_line(f"Client connection: .* remote = 127.0.0.1:{port} ")
        assert line.endswith(f" tls = {client.version()} 'client'")


def resumed(server: Server, settings: Any, session: Any = None) -> Any:
    """Connect and ask; give the session, and whether it was resumed."""
    with tls(server, settings, session=session) as client:
        ask(client)
        return client.session, client.session_reused


def test_a_session_is_resumed_with_its_certificate(
    demanding: Server, files: Files, version: ssl.TLSVersion
) -> None:
    settings = context(files.client, version)
    session, _ = resumed(demanding, settings)
    with tls(demanding, settings, session=session) as client:
        assert ask(client) == f"hello {client.version()} client|x".encode()
        assert client.session_reused


def test_no_session_gets_around_authorities_that_have_changed(
    own: Files, version: ssl.TLSVersion
) -> None:
    settings = context(own.client, version)
    words = "--listen", own.listen, "--tls-client-ca", str(own.ca)
    with running(*words) as server:
        session, _ = resumed(server, settings)
        session, again = resumed(server, settings, session)
        assert again
        own.write("ca.pem", issue(subject="clients' authority", authority=True), key=False)
        server.signal(signal.SIGHUP)
        server.wait_line("Certificates reloaded")
        nothing(server, settings, session=session)


def test_no_session_of_a_listener_without_demands_gets_into_one_with_them(
    files: Files, version: ssl.TLSVersion
) -> None:
    settings = context(None, version)
    with running("--listen", files.listen) as open_to_all:
        session, _ = resumed(open_to_all, settings)
        session, again = resumed(open_to_all, settings, session)
        assert again
    with running("--listen", files.listen, "--tls-client-ca", str(files.ca)) as closed:
        nothing(closed, settings, session=session)


def test_a_certificate_chosen_by_name_does_not_get_around_it(
    own: Files, version: ssl.TLSVersion
) -> None:
    for name in ("a", "b"):
        own.write(f"names/{name}.pem", own.of_server(f"{name}.example"))
    listen = f"tls:{own.place}/names:0:interface=127.0.0.1"
    with running("--listen", listen, "--tls-client-ca", str(own.ca)) as server:
        for name in ("a.example", "b.example", "c.example"):
            nothing(server, context(None, version), server_hostname=name)
            with tls(server, context(own.client, version), name) as client:
                assert ask(client) == b"Sending: x"


def test_data_right_behind_a_handshake_that_fails_is_not_answered(
    demanding: Server, files: Files
) -> None:
    """With TLS 1.3 a client is done before the server has seen its certificate."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = context(None, V13).wrap_bio(incoming, outgoing)
    with demanding.connect() as client:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
        client.sendall(outgoing.read())
        while True:
            incoming.write(client.recv(65536))
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
                break
        end.write(b"x" * 1000)
        client.sendall(outgoing.read())  # the last flight and the data in one
        with suppress(ConnectionError):
            incoming.write(receive_all(client))
        with pytest.raises((ssl.SSLError, ssl.SSLWantReadError)):
            end.read(1)


# -- the least version -------------------------------------------------------------------

ALERT, HANDSHAKE = 21, 22  # kinds of records (RFC 8446, 5.1)


def client_hello(version: int) -> bytes:
    """What a client says that speaks ``version`` at most, e.g. 0x0302 for TLS 1.1."""
    suites = struct.pack("!4H", 0xC02B, 0xC009, 0xC013, 0x002F)
    more = struct.pack("!4H", 10, 4, 2, 23)  # supported_groups: secp256r1
    more += struct.pack("!4H", 13, 4, 2, 0x0403)  # signature_algorithms: with SHA-256
    body = struct.pack("!H", version) + bytes(32) + b"\0"
    body += struct.pack("!H", len(suites)) + suites + b"\1\0"
    body += struct.pack("!H", len(more)) + more
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


@pytest.mark.parametrize("old", [0x0300, 0x0301, 0x0302], ids=["SSL 3", "1.0", "1.1"])
def test_a_version_before_1_2_is_refused(old: int, demanding: Server) -> None:
    with demanding.connect() as client:
        client.sendall(client_hello(old))
        said = receive_all(client)
        assert (said[0], said[5:]) == (ALERT, b"\x02\x46")  # fatal, protocol_version
    with demanding.connect() as client:  # the same, but newer, is answered
        client.sendall(client_hello(0x0303))
        assert receive_exactly(client, 6)[0] == HANDSHAKE


def test_1_2_is_refused_where_1_3_is_the_least(files: Files) -> None:
    with running("--listen", files.listen, "--tls-min-version", "1.3") as server:
        nothing(server, context(None, V12))
        with tls(server, context(None, V13)) as client:
            assert ask(client) == b"Sending: x"
        server.signal(signal.SIGHUP)
        server.wait_line("Certificates reloaded")
        nothing(server, context(None, V12))


# -- what is said of a client ------------------------------------------------------------


def test_a_hostile_name_is_itself_in_a_reply_and_escaped_in_the_log(own: Files) -> None:
    shown = own.write("hostile.pem", own.of_client(HOSTILE))
    words = "--tls-client-ca", str(own.ca), "--prefix", "<{tls_peer}> ", "--greeting", "{tls_peer}!"
    with running("--listen", own.listen, *words) as server:
        with tls(server, context(shown)) as client:
            assert ask(client, b"x$") == f"{HOSTILE}!<{HOSTILE}> x$".encode()
            line = server.wait_line("Client connection")
            assert line.endswith(r"""tls = TLSv1.3 '\x1b[31m\n{pid} {nope} %s \'x\''""")
        server.wait_line("Client disconnected")
        assert all(letter.isprintable() for line in server.lines for letter in line)


def test_a_name_that_is_no_text_is_none(own: Files) -> None:
    """Nothing but the signature says what an authority has signed."""
    path = own.place / "no-text.pem"
    path.write_bytes(with_odd_name(own.authority))
    words = "--tls-client-ca", str(own.ca), "--prefix", "<{tls_peer}> "
    with running("--listen", own.listen, *words) as server:
        with tls(server, context(path)) as client:
            assert ask(client) == b"<-> x"
        server.wait_line("Client disconnected")
        assert not server.matching("Traceback|Unhandled")


def test_a_client_of_whom_no_certificate_is_asked_has_no_name(files: Files) -> None:
    words = "--prefix", "{tls_version}/{tls_peer}/"
    with running("--listen", files.listen, "--listen", "tcp:0", *words) as server:
        with tls(server, context(files.client, V12)) as client:
            assert ask(client) == b"TLSv1.2/-/x"
        assert server.wait_line("Client connection").endswith(" tls = TLSv1.2 '-'")
        server.wait_lines("Server listening", 2)
        with connect(("127.0.0.1", int(server.listeners[1]["port"]))) as plain:
            plain.sendall(b"x")
            assert receive_exactly(plain, 5) == b"-/-/x"
        assert " tls = " not in server.wait_lines("Client connection", 2)[1]


@pytest.mark.parametrize("header", [1, 2])
def test_a_proxy_names_the_client_before_tls(header: int, own: Files) -> None:
    words = [
        "--listen",
        own.listen,
        "--tls-client-ca",
        str(own.ca),
        "--prefix",
        "{peer} {tls_peer}|",
    ]
    words += ["--proxy-protocol", "require", "--proxy-from", "127.0.0.1"]
    said = encode_header(header, ("192.0.2.7", 4711), ("198.51.100.1", 443))
    with running(*words) as server:
        plain = server.connect()
        plain.sendall(said)
        with context(own.client).wrap_socket(plain) as client:
            assert ask(client) == b"192.0.2.7:4711 client|x"
        server.wait_line(r"Client connection: local = 198.51.100.1:443 remote = 192.0.2.7:4711 tls")
        with server.connect() as plain:
            plain.sendall(said)
            with suppress(ssl.SSLError, ConnectionError), context().wrap_socket(plain) as client:
                assert client.recv(1) == b""
        server.wait_line("Client disconnected: remote = 192.0.2.7:4711 outcome = handshake")
        with server.connect() as plain, pytest.raises((ssl.SSLError, ConnectionError)):
            context(own.client).wrap_socket(plain)  # TLS at once is no header
        server.wait_line("Client refused: no PROXY header")


# -- the reload --------------------------------------------------------------------------


def shown(server: Server, name: str | None = None) -> bytes:
    """The certificate that a new client is shown, DER."""
    with tls(server, context(), name) as client:
        assert ask(client) == b"Sending: x"
        return client.getpeercert(True)


def der(one: Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(one.certificate_pem.decode())


def reload(server: Server, count: int = 1) -> None:
    server.signal(signal.SIGHUP)
    server.wait_lines("Certificates reloaded: ", count)


@pytest.mark.parametrize("reactor", ["epoll", "asyncio", "lean"])
def test_new_connections_get_the_new_certificate_and_live_ones_go_on(
    reactor: str, own: Files
) -> None:
    with running("--listen", own.listen, twistd=(f"--reactor={reactor}",)) as server:
        before = shown(server)
        with tls(server, context()) as live:
            assert ask(live) == b"Sending: x"
            renewed = own.of_server()
            own.write("server.pem", renewed)
            assert shown(server) == before
            reload(server)
            assert re.search(r"reloaded: 127.0.0.1:0$", server.matching("reloaded")[0])
            assert shown(server) == der(renewed) != before
            data = bytes(1000) + b"end"
            for _ in range(100):
                assert ask(live, data).endswith(data)
            assert live.getpeercert(True) == before
        assert server.stop() == -signal.SIGTERM


def test_a_directory_is_read_anew_with_what_has_come_and_gone(own: Files) -> None:
    old, other = own.of_server("a.example"), own.of_server("b.example")
    own.write("names/a.pem", old)
    gone = own.write("names/b.pem", other)
    with running("--listen", f"tls:{own.place}/names:0:interface=127.0.0.1") as server:
        assert shown(server, "b.example") == der(other)
        new = own.of_server("c.example")
        own.write("names/c.pem", new)
        gone.unlink()
        reload(server)
        assert shown(server, "b.example") == der(old)
        assert shown(server, "c.example") == der(new)


def test_a_handshake_that_is_under_way_at_a_reload_is_completed_with_the_old(own: Files) -> None:
    own.write("names/a.pem", own.of_server("a.example"))
    old = own.of_server("b.example")
    own.write("names/b.pem", old)
    with running("--listen", f"tls:{own.place}/names:0:interface=127.0.0.1") as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = context().wrap_bio(incoming, outgoing, server_hostname="b.example")
        with server.connect() as client:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
            hello = outgoing.read()
            client.sendall(hello[:100])
            shown(server)  # by now the server has read that
            own.write("names/b.pem", own.of_server("b.example"))
            reload(server)
            client.sendall(hello[100:])
            while not end.version():
                incoming.write(client.recv(65536))
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
            assert end.getpeercert(True) == der(old)


WEAK = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("missing", r"FILE: ENOENT \(No such file or directory\)"),
        ("empty", "FILE: no certificate in it"),
        ("broken", "FILE: .+"),
        ("no key", "FILE: no private key in it"),
        ("unfitting", "FILE: the private key is not the certificate's"),
        ("too weak", "FILE: OpenSSL cannot use it: .+"),
        ("a directory", r"FILE: EISDIR \(Is a directory\)"),
    ],
)
def test_a_wrong_file_is_named_in_one_line_and_the_old_ones_stay(
    kind: str, complaint: str, own: Files
) -> None:
    other = own.write("other.pem", own.of_server())
    second = f"ssl:0:interface=127.0.0.1:privateKey={other}"
    with running("--listen", own.listen, "--listen", second) as server:
        server.wait_lines("Server listening", 2)
        before = shown(server)
        own.server.unlink()
        spoil(own, kind)
        own.write("other.pem", own.of_server())
        reload(server)  # the second listener, whatever has become of the first
        (line,) = server.matching("Server Error")
        named = complaint.replace("FILE", re.escape(str(own.server)))
        assert re.search(f"Server Error: 127.0.0.1:0 keeps its certificate: {named}$", line)
        assert not server.matching("Traceback|Unhandled")
        for _ in range(3):
            assert shown(server) == before
        if kind == "a directory":
            own.server.rmdir()
        own.write("server.pem", own.of_server())
        reload(server, 3)
        assert shown(server) != before


def spoil(own: Files, kind: str) -> None:
    one = own.of_server()
    if kind == "a directory":
        own.server.mkdir()
    elif kind != "missing":
        own.server.write_bytes({
            "empty": b"",
            "broken": one.pem.replace(b"\nM", b"\n!", 3),
            "no key": one.certificate_pem,
            "unfitting": one.certificate_pem + own.of_server().key_pem,
            "too weak": issue("localhost", key=WEAK).pem,
        }[kind])  # fmt: skip


def test_wrong_authorities_at_a_reload_leave_the_old_demands(own: Files) -> None:
    words = "--listen", own.listen, "--tls-client-ca", str(own.ca)
    with running(*words) as server:
        own.ca.write_bytes(b"")
        server.signal(signal.SIGHUP)
        assert server.wait_line("Server Error").endswith(f"{own.ca}: no certificate in it")
        nothing(server, context())
        with tls(server, context(own.client)) as client:
            assert ask(client) == b"Sending: x"


def test_many_reloads_at_once_disturb_nobody(own: Files) -> None:
    with running("--listen", own.listen) as server, tls(server, context()) as live:
        for number in range(30):
            if number % 2:
                own.server.write_bytes(b"")
            else:
                own.write("server.pem", own.of_server())
            server.signal(signal.SIGHUP)
            assert ask(live, b"%d" % number)
            assert shown(server)
        assert not server.matching("Traceback|Unhandled")


@pytest.mark.parametrize("reactor", ["epoll", "asyncio", "lean"])
def test_without_tls_the_signal_does_nothing(reactor: str) -> None:
    with running(twistd=(f"--reactor={reactor}",)) as server:
        with server.connect() as client:
            for _ in range(3):
                server.signal(signal.SIGHUP)
                client.sendall(b"x")
                assert receive_exactly(client, 10) == b"Sending: x"
        with server.connect() as new:
            new.sendall(b"x")
            assert receive_exactly(new, 10) == b"Sending: x"
        assert not server.matching("rror|Traceback|reloaded")
        assert server.stop() == -signal.SIGTERM


def test_the_signal_does_not_end_a_drain(own: Files) -> None:
    with running("--listen", own.listen, "--drain", "3600") as server:
        with tls(server, context()) as live:
            assert ask(live) == b"Sending: x"
            server.signal(signal.SIGTERM)
            wait_until(lambda: closed(server))
            reload(server)
            own.server.unlink()
            server.signal(signal.SIGHUP)
            server.wait_line("Server Error.*ENOENT")
            assert ask(live, b"after") == b"Sending: after"
            assert server.popen.poll() is None
            live.unwrap()
        assert server.wait() == -signal.SIGTERM
        assert server.matching("Client disconnected.*outcome = finished")


def closed(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionError:
        return True
    return False


# -- wrong words -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--tls-min-version", "1.1"], "--tls-min-version: must be one of 1.2, 1.3, not '1.1'"),
        (["--tls-min-version", ""], "--tls-min-version: must be one of 1.2, 1.3, not ''"),
        (
            ["--tls-client-ca", "/no/such"],
            "--tls-client-ca: /no/such: ENOENT (No such file or directory)",
        ),
        (["--tls-client-ca", "EMPTY"], "--tls-client-ca: EMPTY: no certificate in it"),
        (
            ["--tls-client-ca", "CA", "--listen", "tcp:0"],
            "--tls-client-ca: no --listen speaks TLS",
        ),
    ],
)
def test_wrong_words_are_one_line_and_status_1(
    words: list[str], complaint: str, files: Files
) -> None:
    empty = files.place / "empty.pem"
    empty.write_bytes(b"")
    places = {"EMPTY": str(empty), "CA": str(files.ca)}
    if "--listen" not in words:
        words = [*words, "--listen", files.listen]
    done = subprocess.run(
        [*TWISTD, "echosvc", *(places.get(word, word) for word in words)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert done.stderr == f"echosvc: {complaint.replace('EMPTY', str(empty))}\n"
    assert (done.returncode, done.stdout) == (1, "")


# -- certificates that cannot be served ----------------------------------------------------


def refused(*words: str, **how: Any) -> str:
    """What a server says that does not start."""
    done = subprocess.run(
        [*TWISTD, "echosvc", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, env=environment(),
        **how,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_key_that_tls_does_not_have_is_told_at_the_start(own: Files) -> None:
    own.server.write_bytes(issue("localhost", key=dsa.generate_private_key(2048)).pem)
    said = f"{own.server}: OpenSSL cannot use it: no shared cipher"
    assert refused("--listen", own.listen) == f"echosvc: --listen {own.listen!r}: {said}\n"


def test_and_at_a_reload_where_the_old_one_stays(own: Files) -> None:
    with running("--listen", own.listen) as server:
        before = shown(server)
        own.server.write_bytes(issue("localhost", key=dsa.generate_private_key(2048)).pem)
        server.signal(signal.SIGHUP)
        line = server.wait_line("Server Error")
        said = f"{own.server}: OpenSSL cannot use it: no shared cipher"
        assert line.endswith(f"127.0.0.1:0 keeps its certificate: {said}")
        assert shown(server) == before


def test_an_rsassa_pss_key_is_served(own: Files, version: ssl.TLSVersion) -> None:
    key, certificate = own.place / "pss.key", own.place / "pss.crt"
    kind = ["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    for words in (
        ["genpkey", *kind, "-out", str(key)],
        [
            "req",
            "-x509",
            "-new",
            "-key",
            str(key),
            "-days",
            "9",
            *subject,
            "-out",
            str(certificate),
        ],
    ):
        subprocess.run([need("openssl"), *words], check=True, capture_output=True, timeout=LIMIT)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    settings = ssl.create_default_context(cafile=certificate)
    settings.minimum_version = settings.maximum_version = version
    with running("--listen", listen) as server:
        for count in range(2):
            with tls(server, settings, "localhost") as client:
                assert ask(client) == b"Sending: x"
            reload(server, count + 1)


# -- files that are named from where it was started ------------------------------------------


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_a_reload_reads_the_files_of_the_start_whatever_the_directory_is_then(
    kind: str, own: Files
) -> None:
    elsewhere = own.place / "elsewhere"
    own.write("names/a.pem", own.of_server())
    for name in ("server.pem", "names/a.pem"):
        (elsewhere / name).parent.mkdir(exist_ok=True, parents=True)
        (elsewhere / name).write_bytes(issue("intruder").pem)
    (elsewhere / "ca.pem").write_bytes(own.root.certificate_pem)
    listen = {"ssl": "ssl:0:privateKey=server.pem", "tls": "tls:names:0"}[kind]
    words = "--listen", f"{listen}:interface=127.0.0.1", "--tls-client-ca", "ca.pem"
    with running(*words, twistd=("--rundir", str(elsewhere)), cwd=own.place) as server:
        client = context(own.client)
        for name in ("server.pem", "names/a.pem"):
            renewed = own.of_server()
            own.write(name, renewed)
            reload(server, 1 + (name != "server.pem"))
        with tls(server, client) as end:
            assert ask(end) == b"Sending: x"
            if kind == "tls":
                assert end.getpeercert(True) == der(renewed)
        nothing(server, context())
        own.server.unlink()
        (own.place / "names" / "a.pem").unlink()
        server.signal(signal.SIGHUP)
        assert str(own.place) in server.wait_line("Server Error")
