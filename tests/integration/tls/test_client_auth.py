"""What TLS listeners demand of their clients, and what they say of them."""

from __future__ import annotations

import signal
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from echosvc.wire.proxy_header import encode_header
from tests.support.certificates import issue, with_odd_name
from tests.support.process import TWISTD, Server, environment, running
from tests.support.sockets import connect, receive_all, receive_exactly
from tests.support.tls_files import V12, V13, Files, ask, context, nothing, tls
from tests.support.waiting import LIMIT

#: An authority's common name is escaped in the log, and is itself in a reply.
HOSTILE = "\x1b[31m\n{pid} {nope} %s 'x'"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("demands"))


@pytest.fixture(scope="module")
def demanding(files: Files) -> Iterator[Server]:
    words = "--greeting", "hello ", "--prefix", "{tls_version} {tls_peer}|"
    with running("--listen", files.listen, "--tls-client-ca", str(files.ca), *words) as server:
        yield server


@pytest.mark.parametrize("kind", ["none", "expired", "foreign", "namesake", "wrong purpose"])
def test_a_client_without_a_right_certificate_gets_nothing(
    kind: str, demanding: Server, files: Files, only_version: ssl.TLSVersion
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
    nothing(demanding, context(shown, only_version))


def test_one_with_a_right_certificate_is_served_and_named(
    demanding: Server, files: Files, only_version: ssl.TLSVersion
) -> None:
    with tls(demanding, context(files.client, only_version)) as client:
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
    demanding: Server, files: Files, only_version: ssl.TLSVersion
) -> None:
    settings = context(files.client, only_version)
    session, _ = resumed(demanding, settings)
    with tls(demanding, settings, session=session) as client:
        assert ask(client) == f"hello {client.version()} client|x".encode()
        assert client.session_reused


def test_no_session_gets_around_authorities_that_have_changed(
    own_files: Files, only_version: ssl.TLSVersion
) -> None:
    settings = context(own_files.client, only_version)
    words = "--listen", own_files.listen, "--tls-client-ca", str(own_files.ca)
    with running(*words) as server:
        session, _ = resumed(server, settings)
        session, again = resumed(server, settings, session)
        assert again
        own_files.write("ca.pem", issue(subject="clients' authority", authority=True), key=False)
        server.signal(signal.SIGHUP)
        server.wait_line("Certificates reloaded")
        nothing(server, settings, session=session)


def test_no_session_of_a_listener_without_demands_gets_into_one_with_them(
    files: Files, only_version: ssl.TLSVersion
) -> None:
    settings = context(None, only_version)
    with running("--listen", files.listen) as open_to_all:
        session, _ = resumed(open_to_all, settings)
        session, again = resumed(open_to_all, settings, session)
        assert again
    with running("--listen", files.listen, "--tls-client-ca", str(files.ca)) as closed:
        nothing(closed, settings, session=session)


def test_a_certificate_chosen_by_name_does_not_get_around_it(
    own_files: Files, only_version: ssl.TLSVersion
) -> None:
    for name in ("a", "b"):
        own_files.write(f"names/{name}.pem", own_files.of_server(f"{name}.example"))
    listen = f"tls:{own_files.place}/names:0:interface=127.0.0.1"
    with running("--listen", listen, "--tls-client-ca", str(own_files.ca)) as server:
        for name in ("a.example", "b.example", "c.example"):
            nothing(server, context(None, only_version), server_hostname=name)
            with tls(server, context(own_files.client, only_version), name) as client:
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


ALERT, HANDSHAKE = 21, 22  # kinds of records (RFC 8446, 5.1)


def client_hello(only_version: int) -> bytes:
    """What a client says that speaks ``version`` at most, e.g. 0x0302 for TLS 1.1."""
    suites = struct.pack("!4H", 0xC02B, 0xC009, 0xC013, 0x002F)
    more = struct.pack("!4H", 10, 4, 2, 23)  # supported_groups: secp256r1
    more += struct.pack("!4H", 13, 4, 2, 0x0403)  # signature_algorithms: with SHA-256
    body = struct.pack("!H", only_version) + bytes(32) + b"\0"
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


def test_a_hostile_name_is_itself_in_a_reply_and_escaped_in_the_log(own_files: Files) -> None:
    shown = own_files.write("hostile.pem", own_files.of_client(HOSTILE))
    words = (
        "--tls-client-ca",
        str(own_files.ca),
        "--prefix",
        "<{tls_peer}> ",
        "--greeting",
        "{tls_peer}!",
    )
    with running("--listen", own_files.listen, *words) as server:
        with tls(server, context(shown)) as client:
            assert ask(client, b"x$") == f"{HOSTILE}!<{HOSTILE}> x$".encode()
            line = server.wait_line("Client connection")
            assert line.endswith(r"""tls = TLSv1.3 '\x1b[31m\n{pid} {nope} %s \'x\''""")
        server.wait_line("Client disconnected")
        assert all(letter.isprintable() for line in server.lines for letter in line)


def test_a_name_that_is_no_text_is_none(own_files: Files) -> None:
    """Nothing but the signature says what an authority has signed."""
    path = own_files.place / "no-text.pem"
    path.write_bytes(with_odd_name(own_files.authority))
    words = "--tls-client-ca", str(own_files.ca), "--prefix", "<{tls_peer}> "
    with running("--listen", own_files.listen, *words) as server:
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
def test_a_proxy_names_the_client_before_tls(header: int, own_files: Files) -> None:
    words = [
        "--listen",
        own_files.listen,
        "--tls-client-ca",
        str(own_files.ca),
        "--prefix",
        "{peer} {tls_peer}|",
    ]
    words += ["--proxy-protocol", "require", "--proxy-from", "127.0.0.1"]
    said = encode_header(header, ("192.0.2.7", 4711), ("198.51.100.1", 443))
    with running(*words) as server:
        plain = server.connect()
        plain.sendall(said)
        with context(own_files.client).wrap_socket(plain) as client:
            assert ask(client) == b"192.0.2.7:4711 client|x"
        server.wait_line(r"Client connection: local = 198.51.100.1:443 remote = 192.0.2.7:4711 tls")
        with server.connect() as plain:
            plain.sendall(said)
            with suppress(ssl.SSLError, ConnectionError), context().wrap_socket(plain) as client:
                assert client.recv(1) == b""
        server.wait_line("Client disconnected: remote = 192.0.2.7:4711 outcome = handshake")
        with server.connect() as plain, pytest.raises((ssl.SSLError, ConnectionError)):
            context(own_files.client).wrap_socket(plain)  # TLS at once is no header
        server.wait_line("Client refused: no PROXY header")


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
