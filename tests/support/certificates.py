"""Certificates of test authorities, and handshakes in memory."""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from OpenSSL import SSL
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from echosvc._text import one_line
from echosvc.endpoints import EndpointError, server_endpoint
from echosvc.tls.context import (
    CertificateError,
    server_certificate,
)

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def key_pem(self) -> bytes:
        return self.locked(None)

    @property
    def pem(self) -> bytes:
        return self.key_pem + self.certificate_pem

    def locked(self, password: bytes | None, traditional: bool = False) -> bytes:
        """The key, encrypted where there is a password."""
        formats = serialization.PrivateFormat
        kind = formats.TraditionalOpenSSL if traditional else formats.PKCS8
        lock: Any = serialization.NoEncryption()
        if password is not None:
            lock = serialization.BestAvailableEncryption(password)
        return self.key.private_bytes(PEM, kind, lock)


def issue(
    *names: str,
    issuer: Issued | None = None,
    days: float = 1,
    subject: str = "",
    key: Any = None,
    authority: bool = False,
    purposes: tuple[x509.ObjectIdentifier, ...] = (),
    begins: float = -1,
    alternatives: bytes | None = None,
) -> Issued:
    """A fresh certificate for host names and addresses; without an issuer it signs itself.

    :param purposes: what alone it may be used for; none = for all.
    :param begins: days from now on until it is valid.
    :param alternatives: the subjectAltName as it is to stand there, DER.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    common = subject or (names[0] if names else "somebody")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
    now = datetime.now(timezone.utc)
    above = name if issuer is None else issuer.certificate.subject
    builder = (
        x509.CertificateBuilder(above, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=days))
    )
    if alternatives is not None or names:
        builder = builder.add_extension(_alternatives(names, alternatives), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    signer = key if issuer is None else issuer.key
    edwards = isinstance(signer, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return Issued(builder.sign(signer, None if edwards else hashes.SHA256()), key)


def _alternatives(names: tuple[str, ...], as_given: bytes | None) -> x509.ExtensionType:
    if as_given is None:
        return x509.SubjectAlternativeName([_general(each) for each in names])
    return x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, as_given)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def with_odd_name(issuer: Issued | None = None, days: float = 1) -> bytes:
    """Key and certificate, rightly signed, whose common name is no text.

    A TeletexString, as old authorities make: what its bytes mean is not sure.
    """
    one = issue("odd.example", subject="ZZZZ", issuer=issuer, days=days)
    content = one.certificate.tbs_certificate_bytes
    content = content.replace(b"\x0c\x04ZZZZ", b"\x14\x04Z\xff\xfeZ")
    signature = (issuer or one).key.sign(content, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    whole = _der(0x30, content + algorithm + _der(0x03, b"\0" + signature))
    return one.key_pem + x509.load_der_x509_certificate(whole).public_bytes(PEM)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    return (
        bytes([tag]) + (bytes([size]) if size < 128 else b"\x82%c%c" % divmod(size, 256)) + content
    )


class Hierarchy:
    """A root, an intermediate authority, and who is certified by it."""

    def __init__(self, *names: str, word: str = "") -> None:
        self.root = issue(subject=f"root{word}", authority=True)
        self.middle = issue(subject=f"middle{word}", issuer=self.root, authority=True)
        self.leaf = issue(*names, issuer=self.middle)


def meet(
    server: Any, client: Any, transport: object = None
) -> tuple[SSL.Connection, SSL.Connection]:
    """Let two creators of connections shake hands in memory; raises where they cannot.

    :param transport: the client's, which is told of a certificate for somebody else.
    """
    transport = transport or mock.Mock()
    ends = server.serverConnectionForTLS(mock.Mock()), client.clientConnectionForTLS(transport)
    ends[0].set_accept_state()
    ends[1].set_connect_state()
    for _ in range(4):
        for end, other in (ends[::-1], ends):
            try:
                end.do_handshake()
            except SSL.WantReadError:
                pass
            finally:
                _carry(end, other)
    return ends


def _carry(end: SSL.Connection, other: SSL.Connection) -> None:
    try:
        while True:
            other.bio_write(end.bio_read(65536))
    except SSL.WantReadError:
        pass


class Asking:
    """A client that verifies nothing, to see what it is shown."""

    def __init__(self, name: str | None = None, newest: int = 0) -> None:
        self._name = name
        self._newest = newest

    def clientConnectionForTLS(self, _: object) -> SSL.Connection:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(self._newest)
        connection = SSL.Connection(context, None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name.encode())
        return connection


def shown(server: Any, name: str | None = None) -> list[x509.Certificate]:
    """The certificates that a client which asks for ``name`` is shown, its own first."""
    _, client = meet(server, Asking(name))
    chain = client.get_peer_cert_chain(as_cryptography=True)
    assert chain is not None
    return chain


class CertificateTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="echo"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.reactor = MemoryReactorClock()

    def file(self, name: str, *content: bytes) -> str:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"".join(content))
        return str(path)

    def refused(self, pattern: str, *files: str) -> None:
        """Refused by the reader, and by the endpoint string in one line."""
        with self.assertRaisesRegex(CertificateError, pattern) as caught:
            server_certificate(*files)
        self.assertTrue(str(caught.exception).isprintable())
        names = ("privateKey", "certKey", "extraCertChain", "dhParameters")
        words = [f"{name}={path}" for name, path in zip(names, files, strict=False) if path]
        self.refused_string(":".join(["ssl:0", *words]), pattern)

    def refused_string(self, description: str, pattern: str, read: Any = server_endpoint) -> None:
        with self.assertRaisesRegex(EndpointError, pattern) as caught:
            read(self.reactor, description)
        # A file's name may be anything; the words themselves are one line.
        self.assertNotIn("\n", str(caught.exception))
        self.assertTrue(one_line(str(caught.exception)).isprintable())


HOST = "bank.example"


def names(*texts: bytes, tag: int = 0x82) -> bytes:
    """A subjectAltName of DNS names, DER, with whatever is in them."""
    content = b"".join(bytes([tag, len(text)]) + text for text in texts)
    return bytes([0x30, len(content)]) + content


#: Subject alternative names that are nobody's.
UNREADABLE: dict[str, bytes | None] = {
    "none": None,
    "empty": b"\x30\x00",
    "star": names(b"*"),
    "star of one label": names(b"*.test"),
    "star inside": names(b"a.*.test"),
    "two stars": names(b"*.*.test"),
    "empty labels": names(b"*..test"),
    "empty name": names(b""),
    "blank name": names(b" "),
    "an address as a name": names(b"192.0.2.7"),
    "an IPv6 address as a name": names(b"2001:db8::7"),
    "a number": names(b"17"),
    "NUL": names(b"bank.example\0.evil.test"),
    "NUL first": names(b"\0bank.example"),
    "no ASCII": names("bänk.example".encode()),
    "no UTF-8": names(b"\xff\xfe"),
    "address of three bytes": names(b"\x7f\0\1", tag=0x87),
    "a right one beside one that cannot be read": names(b"bank.example", b"*"),
    "no DER": b"\xff\xff",
    "cut": names(b"bank.example")[:-3],
    "URI that is none": names(b"bank.example", tag=0x86),
    "URI with too many colons": names(b"http://bank.example:80", tag=0x86),
}
