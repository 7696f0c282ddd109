"""Certificates that are read anew at SIGHUP."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from tests.support.certificates import Issued, issue
from tests.support.process import TWISTD, Server, environment, need, running
from tests.support.process import refused as is_refused
from tests.support.sockets import receive_exactly
from tests.support.tls_files import Files, ask, context, nothing, shown, tls
from tests.support.waiting import LIMIT, wait_until


def der(one: Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(one.certificate_pem.decode())


def reload(server: Server, count: int = 1) -> None:
    server.signal(signal.SIGHUP)
    server.wait_lines("Certificates reloaded: ", count)


@pytest.mark.parametrize("reactor", ["epoll", "asyncio", "lean"])
def test_new_connections_get_the_new_certificate_and_live_ones_go_on(
    reactor: str, own_files: Files
) -> None:
    with running("--listen", own_files.listen, twistd=(f"--reactor={reactor}",)) as server:
        before = shown(server)
        with tls(server, context()) as live:
            assert ask(live) == b"Sending: x"
            renewed = own_files.of_server()
            own_files.write("server.pem", renewed)
            assert shown(server) == before
            reload(server)
            assert re.search(r"reloaded: 127.0.0.1:0$", server.matching("reloaded")[0])
            assert shown(server) == der(renewed) != before
            data = bytes(1000) + b"end"
            for _ in range(100):
                assert ask(live, data).endswith(data)
            assert live.getpeercert(True) == before
        assert server.stop() == -signal.SIGTERM


def test_a_directory_is_read_anew_with_what_has_come_and_gone(own_files: Files) -> None:
    old, other = own_files.of_server("a.example"), own_files.of_server("b.example")
    own_files.write("names/a.pem", old)
    gone = own_files.write("names/b.pem", other)
    with running("--listen", f"tls:{own_files.place}/names:0:interface=127.0.0.1") as server:
        assert shown(server, "b.example") == der(other)
        new = own_files.of_server("c.example")
        own_files.write("names/c.pem", new)
        gone.unlink()
        reload(server)
        assert shown(server, "b.example") == der(old)
        assert shown(server, "c.example") == der(new)


def test_a_handshake_that_is_under_way_at_a_reload_is_completed_with_the_old(
    own_files: Files,
) -> None:
    own_files.write("names/a.pem", own_files.of_server("a.example"))
    old = own_files.of_server("b.example")
    own_files.write("names/b.pem", old)
    with running("--listen", f"tls:{own_files.place}/names:0:interface=127.0.0.1") as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = context().wrap_bio(incoming, outgoing, server_hostname="b.example")
        with server.connect() as client:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
            hello = outgoing.read()
            client.sendall(hello[:100])
            shown(server)  # by now the server has read that
            own_files.write("names/b.pem", own_files.of_server("b.example"))
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
    kind: str, complaint: str, own_files: Files
) -> None:
    other = own_files.write("other.pem", own_files.of_server())
    second = f"ssl:0:interface=127.0.0.1:privateKey={other}"
    with running("--listen", own_files.listen, "--listen", second) as server:
        server.wait_lines("Server listening", 2)
        before = shown(server)
        own_files.server.unlink()
        spoil(own_files, kind)
        own_files.write("other.pem", own_files.of_server())
        reload(server)  # the second listener, whatever has become of the first
        (line,) = server.matching("Server Error")
        named = complaint.replace("FILE", re.escape(str(own_files.server)))
        assert re.search(f"Server Error: 127.0.0.1:0 keeps its certificate: {named}$", line)
        assert not server.matching("Traceback|Unhandled")
        for _ in range(3):
            assert shown(server) == before
        if kind == "a directory":
            own_files.server.rmdir()
        own_files.write("server.pem", own_files.of_server())
        reload(server, 3)
        assert shown(server) != before


def spoil(own_files: Files, kind: str) -> None:
    one = own_files.of_server()
    if kind == "a directory":
        own_files.server.mkdir()
    elif kind != "missing":
        own_files.server.write_bytes({
            "empty": b"",
            "broken": one.pem.replace(b"\nM", b"\n!", 3),
            "no key": one.certificate_pem,
            "unfitting": one.certificate_pem + own_files.of_server().key_pem,
            "too weak": issue("localhost", key=WEAK).pem,
        }[kind])  # fmt: skip


def test_wrong_authorities_at_a_reload_leave_the_old_demands(own_files: Files) -> None:
    words = "--listen", own_files.listen, "--tls-client-ca", str(own_files.ca)
    with running(*words) as server:
        own_files.ca.write_bytes(b"")
        server.signal(signal.SIGHUP)
        assert server.wait_line("Server Error").endswith(f"{own_files.ca}: no certificate in it")
        nothing(server, context())
        with tls(server, context(own_files.client)) as client:
            assert ask(client) == b"Sending: x"


def test_many_reloads_at_once_disturb_nobody(own_files: Files) -> None:
    with running("--listen", own_files.listen) as server, tls(server, context()) as live:
        for number in range(30):
            if number % 2:
                own_files.server.write_bytes(b"")
            else:
                own_files.write("server.pem", own_files.of_server())
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


def test_the_signal_does_not_end_a_drain(own_files: Files) -> None:
    with running("--listen", own_files.listen, "--drain", "3600") as server:
        with tls(server, context()) as live:
            assert ask(live) == b"Sending: x"
            server.signal(signal.SIGTERM)
            wait_until(lambda: is_refused(server))
            reload(server)
            own_files.server.unlink()
            server.signal(signal.SIGHUP)
            server.wait_line("Server Error.*ENOENT")
            assert ask(live, b"after") == b"Sending: after"
            assert server.popen.poll() is None
            live.unwrap()
        assert server.wait() == -signal.SIGTERM
        assert server.matching("Client disconnected.*outcome = finished")


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


def test_a_key_that_tls_does_not_have_is_told_at_the_start(own_files: Files) -> None:
    own_files.server.write_bytes(issue("localhost", key=dsa.generate_private_key(2048)).pem)
    said = f"{own_files.server}: OpenSSL cannot use it: no shared cipher"
    assert (
        refused("--listen", own_files.listen) == f"echosvc: --listen {own_files.listen!r}: {said}\n"
    )


def test_and_at_a_reload_where_the_old_one_stays(own_files: Files) -> None:
    with running("--listen", own_files.listen) as server:
        before = shown(server)
        own_files.server.write_bytes(issue("localhost", key=dsa.generate_private_key(2048)).pem)
        server.signal(signal.SIGHUP)
        line = server.wait_line("Server Error")
        said = f"{own_files.server}: OpenSSL cannot use it: no shared cipher"
        assert line.endswith(f"127.0.0.1:0 keeps its certificate: {said}")
        assert shown(server) == before


def test_an_rsassa_pss_key_is_served(own_files: Files, only_version: ssl.TLSVersion) -> None:
    key, certificate = own_files.place / "pss.key", own_files.place / "pss.crt"
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
    settings.minimum_version = settings.maximum_version = only_version
    with running("--listen", listen) as server:
        for count in range(2):
            with tls(server, settings, "localhost") as client:
                assert ask(client) == b"Sending: x"
            reload(server, count + 1)


@pytest.mark.parametrize("kind", ["ssl", "tls"])
def test_a_reload_reads_the_files_of_the_start_whatever_the_directory_is_then(
    kind: str, own_files: Files
) -> None:
    elsewhere = own_files.place / "elsewhere"
    own_files.write("names/a.pem", own_files.of_server())
    for name in ("server.pem", "names/a.pem"):
        (elsewhere / name).parent.mkdir(exist_ok=True, parents=True)
        (elsewhere / name).write_bytes(issue("intruder").pem)
    (elsewhere / "ca.pem").write_bytes(own_files.root.certificate_pem)
    listen = {"ssl": "ssl:0:privateKey=server.pem", "tls": "tls:names:0"}[kind]
    words = "--listen", f"{listen}:interface=127.0.0.1", "--tls-client-ca", "ca.pem"
    with running(*words, twistd=("--rundir", str(elsewhere)), cwd=own_files.place) as server:
        client = context(own_files.client)
        for name in ("server.pem", "names/a.pem"):
            renewed = own_files.of_server()
            own_files.write(name, renewed)
            reload(server, 1 + (name != "server.pem"))
        with tls(server, client) as end:
            assert ask(end) == b"Sending: x"
            if kind == "tls":
                assert end.getpeercert(True) == der(renewed)
        nothing(server, context())
        own_files.server.unlink()
        (own_files.place / "names" / "a.pem").unlink()
        server.signal(signal.SIGHUP)
        assert str(own_files.place) in server.wait_line("Server Error")
