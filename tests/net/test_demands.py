"""What a server demands of TLS clients, and certificates that change under way."""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from echosvc.proxy import build
from tests.harness import LIMIT, Server, connect, receive_all, receive_exactly, running
from tests.net.test_service import failed_start
from tests.test_certificates import Issued, issue

HOST = "localhost"


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue(authority=True, subject="our authority")


@pytest.fixture(scope="module")
def stranger() -> Issued:
    return issue(authority=True, subject="another authority")


@pytest.fixture
def files(tmp_path: Path, authority: Issued) -> Path:
    """A directory with the server's certificate, and the authority of its clients."""
    (tmp_path / "server.pem").write_bytes(issue(HOST, issuer=authority).pem)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    return tmp_path


def listen(files: Path) -> str:
    return f"ssl:0:interface=127.0.0.1:privateKey={files}/server.pem"


def context(files: Path, own: Issued | None = None, **least_and_most: object) -> ssl.SSLContext:
    """A client's settings; ``own``: the certificate that it shows."""
    made = ssl.create_default_context(cafile=str(files / "ca.pem"))
    if own is not None:
        path = files / "own.pem"
        path.write_bytes(own.pem)
        made.load_cert_chain(path)
    for name, value in least_and_most.items():
        setattr(made, name, value)
    return made


@contextmanager
def by_tls(
    server: Server,
    settings: ssl.SSLContext,
    before: bytes = b"",
    session: ssl.SSLSession | None = None,
) -> Iterator[ssl.SSLSocket]:
    """A client of a server; what ``before`` says goes ahead of the handshake."""
    plain = connect(("127.0.0.1", server.port))
    plain.sendall(before)
    with settings.wrap_socket(plain, server_hostname=HOST, session=session) as client:
        yield client


def got(server: Server, settings: ssl.SSLContext, session: ssl.SSLSession | None = None) -> bytes:
    """What a client that may be refused gets, in or after the handshake."""
    try:
        with by_tls(server, settings, session=session) as client:
            client.sendall(b"x")
            return receive_all(client)
    except (ssl.SSLError, ConnectionError):
        return b""


VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_without_an_acceptable_certificate_a_client_gets_nothing(
    version, files, authority, stranger
):
    only = {"minimum_version": version, "maximum_version": version}
    demand = ("--tls-client-ca", f"{files}/ca.pem", "--greeting", "secret", "--prefix", "secret")
    with running("-l", listen(files), *demand) as server:
        for own in (
            None,
            issue("client", issuer=stranger),
            issue("client"),
            issue("client", issuer=authority, days=-0.5),
        ):
            assert got(server, context(files, own, **only)) == b""
        server.wait_lines("outcome = handshake", 4)
        good = context(files, issue("client", issuer=authority), **only)
        with by_tls(server, good) as client:
            client.sendall(b"x")
            assert receive_exactly(client, 13) == b"secretsecretx"
    assert not server.matching("Traceback")


@pytest.mark.parametrize("least", ["1.2", "1.3"])
def test_no_version_below_the_least_is_spoken(least, files):
    with running("-l", listen(files), "--tls-min-version", least) as server:
        for name, version in VERSIONS.items():
            only = context(files, minimum_version=version, maximum_version=version)
            if name < least:
                assert got(server, only) == b""
                continue
            with by_tls(server, only) as client:
                client.sendall(b"x")
                assert receive_exactly(client, 10) == b"Sending: x"


def test_prefix_and_log_can_say_who_speaks_what(files, authority):
    name = "a\x1b[31m{pid}"
    words = ("--tls-client-ca", f"{files}/ca.pem", "-p", "{tls_version} {tls_peer}: ")
    with running("-l", listen(files), *words) as server:
        with by_tls(server, context(files, issue("c", issuer=authority, subject=name))) as client:
            client.sendall(b"x")
            answer = f"TLSv1.3 {name}: x".encode()
            assert receive_exactly(client, len(answer)) == answer
        line = server.wait_line("Client connection")
    assert line.endswith(r"tls = TLSv1.3 'a\x1b[31m{pid}'")


def test_without_tls_the_fields_are_a_dash():
    with running("-p", "{tls_version} {tls_peer}: ") as server, server.connect() as client:
        client.sendall(b"x")
        assert receive_exactly(client, 6) == b"- -: x"
        assert "tls =" not in server.wait_line("Client connection")


def serial(client: ssl.SSLSocket) -> str:
    """Of the certificate that the server showed."""
    certificate = client.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


@pytest.mark.parametrize("kind", ["ssl", "tls"])
@pytest.mark.parametrize("reactor", ["default", "asyncio", "lean"])
def test_a_reload_changes_new_connections_and_no_live_one(kind, reactor, files, authority):
    directory = files / "by name"
    directory.mkdir()
    place = {"ssl": files / "server.pem", "tls": directory / "a.pem"}[kind]
    place.write_bytes(issue(HOST, issuer=authority).pem)
    where = {"ssl": listen(files), "tls": f"tls:{directory}:0:interface=127.0.0.1"}[kind]
    with running("-l", where, twistd=(f"--reactor={reactor}",)) as server:
        settings = context(files)
        with by_tls(server, settings) as live:
            first = serial(live)
            place.write_bytes(issue(HOST, issuer=authority).pem)
            server.signal(signal.SIGHUP)
            server.wait_line("Certificates reloaded")
            with by_tls(server, settings) as new:
                assert serial(new) != first
                new.sendall(b"y")
                assert receive_exactly(new, 10) == b"Sending: y"
            live.sendall(b"x")
            assert receive_exactly(live, 10) == b"Sending: x"


@pytest.mark.parametrize("what", ["broken", "missing", "without its key"])
def test_where_a_file_is_wrong_the_old_ones_stay_and_that_is_said(what, files, authority):
    place = files / "server.pem"
    with running("-l", listen(files)) as server:
        with by_tls(server, context(files)) as client:
            first = serial(client)
        if what == "missing":
            place.unlink()
        else:
            other = issue(HOST, issuer=authority)
            place.write_bytes(b"nonsense" if what == "broken" else other.certificate_pem)
        server.signal(signal.SIGHUP)
        assert str(place) in server.wait_line("Server Error: .*keeps its certificate")
        with by_tls(server, context(files)) as client:
            assert serial(client) == first
        place.write_bytes(issue(HOST, issuer=authority).pem)
        server.signal(signal.SIGHUP)
        server.wait_line("Certificates reloaded")
        with by_tls(server, context(files)) as client:
            assert serial(client) != first
        assert not server.matching("Traceback")


def test_a_reload_takes_other_authorities_too(files, authority, stranger):
    with running("-l", listen(files), "--tls-client-ca", f"{files}/ca.pem") as server:
        settings = context(files, issue("client", issuer=authority))
        with by_tls(server, settings) as client:
            client.sendall(b"x")
            assert receive_exactly(client, 10) == b"Sending: x"
            ticket = client.session
        (files / "ca.pem").write_bytes(stranger.certificate_pem)
        server.signal(signal.SIGHUP)
        server.wait_line("Certificates reloaded")
        assert got(server, settings) == b""
        assert got(server, settings, ticket) == b""  # an old session does not help


def test_without_tls_a_reload_does_nothing():
    with running() as server, server.connect() as client:
        server.signal(signal.SIGHUP)
        client.sendall(b"x")
        assert receive_exactly(client, 10) == b"Sending: x"
        server.signal(signal.SIGHUP)
        client.sendall(b"y")
        assert receive_exactly(client, 10) == b"Sending: y"


def test_a_reload_in_a_drain_harms_nobody(files):
    with running("-l", listen(files)) as server:
        with by_tls(server, context(files)) as client:
            client.sendall(b"x")
            assert receive_exactly(client, 10) == b"Sending: x"
            server.signal()
            server.wait_line("Received SIGTERM")
            server.signal(signal.SIGHUP)
            client.sendall(b"y")
            assert receive_exactly(client, 10) == b"Sending: y"
        server.wait(LIMIT)
        assert not server.matching("Traceback")


@pytest.mark.parametrize("version", [1, 2])
def test_a_proxy_header_comes_before_tls(version, files):
    words = ("--proxy-protocol", "require", "--proxy-from", "127.0.0.1", "-p", "{peer}: ")
    with running("-l", listen(files), *words) as server:
        header = build(version, ("192.0.2.7", 4711), ("198.51.100.1", 443))
        with by_tls(server, context(files), header) as client:
            client.sendall(b"x")
            assert receive_exactly(client, 17) == b"192.0.2.7:4711: x"
        assert "remote = 192.0.2.7:4711" in server.wait_line("Client connection")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tls-min-version", "1.1"), "--tls-min-version: must be one of 1.2, 1.3, not '1.1'"),
        (("--tls-client-ca", "{files}/ca.pem"), "--tls-client-ca: no --listen speaks TLS"),
        (("-l", "{ssl}", "--tls-client-ca", "{files}/none"), "none': ENOENT"),
        (("-l", "{ssl}", "--tls-client-ca", "{files}/empty"), "no certificate in it"),
    ],
)
def test_a_wrong_demand_is_one_line(words, why, files):
    (files / "empty").write_bytes(b"")
    filled = [word.format(files=files, ssl=listen(files)) for word in words]
    assert why in failed_start(*filled)


def test_a_client_that_speaks_no_tls_gets_nothing(files):
    with running("-l", listen(files)) as server, connect(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        try:
            heard = receive_all(client)
        except ConnectionResetError:
            heard = b""
        assert b"Sending" not in heard
        assert b"GET" not in heard
