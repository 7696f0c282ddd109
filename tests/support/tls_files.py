"""Files of certificates, and a client that asks with them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.certificates import Issued, issue
from tests.support.process import Server

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


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


def context(certificate: Path | None = None, only_version: ssl.TLSVersion | None = None) -> Any:
    """A client's, which verifies nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if only_version is not None:
        made.minimum_version = made.maximum_version = only_version
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


def shown(server: Server, name: str | None = None) -> bytes:
    """The certificate that a new client is shown, DER."""
    with tls(server, context(), name) as client:
        assert ask(client) == b"Sending: x"
        return client.getpeercert(True)
