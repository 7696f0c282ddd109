"""Certificates and keys: files read right, or refused in one line. Nothing here listens."""

from __future__ import annotations

import gc
import ipaddress
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from echosvc._text import one_line
from echosvc.endpoints import EndpointError, client_endpoint, server_endpoint
from echosvc.tls import pem as pems
from echosvc.tls.context import (
    CertificateError,
    ClientAuthPolicy,
    client_options,
    server_certificate,
    sni_contexts,
)
from echosvc.tls.endpoints import TLSConnector, TLSListener
from tests.support.process import LIMIT, need

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
    extension: x509.ExtensionType | None = None
    if alternatives is not None:
        oid = x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        extension = x509.UnrecognizedExtension(oid, alternatives)
    elif names:
        extension = x509.SubjectAlternativeName([_general(each) for each in names])
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    signer = key if issuer is None else issuer.key
    edwards = isinstance(signer, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return Issued(builder.sign(signer, None if edwards else hashes.SHA256()), key)


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


@contextmanager
def said() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)


def _openssl(*words: str) -> bytes:
    command = [need("openssl"), *words]
    return subprocess.run(command, check=True, capture_output=True, timeout=LIMIT).stdout


def ffdhe2048() -> bytes:
    """Diffie-Hellman parameters (RFC 7919), PEM."""
    return _openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")


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


class ServerTests(CertificateTestCase):
    def test_key_and_certificate_may_stand_in_one_file_in_any_order(self) -> None:
        one = issue("one.example")
        for name, content in (
            ("key first", one.key_pem + one.certificate_pem),
            ("certificate first", one.certificate_pem + one.key_pem),
            ("words between", b"words\n" + one.key_pem + b"more\n" + one.certificate_pem + b"end"),
            ("CR LF", one.pem.replace(b"\n", b"\r\n")),
            ("no LF at the end", one.pem.rstrip()),
        ):
            options = server_certificate(self.file("one.pem", content))
            self.assertEqual(shown(options), [one.certificate], name)

    def test_or_in_two_or_three(self) -> None:
        tree = Hierarchy("a.example")
        key = self.file("key.pem", tree.leaf.key_pem)
        own = self.file("own.pem", tree.leaf.certificate_pem)
        chain = self.file("chain.pem", tree.middle.certificate_pem)
        self.assertEqual(shown(server_certificate(key, own)), [tree.leaf.certificate])
        both = [tree.leaf.certificate, tree.middle.certificate]
        self.assertEqual(shown(server_certificate(key, own, chain)), both)

    def test_a_chain_without_a_certificate_is_refused(self) -> None:
        one = issue("one.example")
        own = self.file("one.pem", one.pem)
        for content in (b"", one.key_pem):
            chain = self.file("chain.pem", content)
            with self.assertRaisesRegex(CertificateError, "chain.pem: no certificate in it"):
                server_certificate(own, "", chain)

    def test_a_certificate_whose_name_is_no_text_can_be_used(self) -> None:
        for days in (1, -0.5):
            path = self.file("odd.pem", with_odd_name(days=days))
            self.assertEqual(len(shown(server_certificate(path))), 1)
            self.assertEqual(len(shown(sni_contexts(str(self.directory)))), 1)

    def test_every_usual_kind_of_key_is_read(self) -> None:
        weak = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        for key in (weak, ec.generate_private_key(ec.SECP384R1())):
            one = issue("one.example", key=key)
            for traditional in (False, True):
                own = one.locked(None, traditional), one.certificate_pem
                options = server_certificate(self.file("one.pem", *own))
                self.assertEqual(shown(options), [one.certificate])

    def pss(self, *parameters: str) -> tuple[str, str]:
        """Files with an RSASSA-PSS key and its certificate, made by OpenSSL."""
        key, own = self.file("pss.key"), self.file("pss.crt")
        words = ["genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]
        _openssl(*words, *parameters, "-out", key)
        subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        _openssl("req", "-x509", "-new", "-key", key, *subject, "-days", "9", "-out", own)
        return key, own

    def test_an_rsassa_pss_key_is_served_by_tls_1_2_and_1_3(self) -> None:
        """As OpenSSL's own server does (RFC 8446, 4.2.3)."""
        only_sha256 = ["-pkeyopt", "rsa_pss_keygen_md:sha256"]
        only_sha256 += ["-pkeyopt", "rsa_pss_keygen_mgf1_md:sha256"]
        for parameters in ((), (*only_sha256, "-pkeyopt", "rsa_pss_keygen_saltlen:32")):
            key, own = self.pss(*parameters)
            both = self.file("both.pem", Path(key).read_bytes(), Path(own).read_bytes())
            self.file("names/a.pem", Path(both).read_bytes())
            names = sni_contexts(str(self.directory / "names"))
            for server in (server_certificate(key, own), server_certificate(both), names):
                found = x509.load_pem_x509_certificate(Path(own).read_bytes())
                self.assertEqual(shown(server), [found])
                meet(server, client_options("localhost", roots=own))
                end, _ = meet(server, Asking(newest=SSL.TLS1_2_VERSION))
                self.assertEqual(end.get_protocol_version_name(), "TLSv1.2")
                server.reload()
                meet(server, client_options("localhost", roots=own))

    def test_a_client_may_have_one_too(self) -> None:
        key, own = self.pss()
        tree = Hierarchy("localhost")
        server = server_certificate(self.file("s.pem", tree.leaf.pem, tree.middle.certificate_pem))
        server.set_client_auth(ClientAuthPolicy(client_ca=own))
        roots = self.file("root.pem", tree.root.certificate_pem)
        end, _ = meet(server, client_options("localhost", own, key, roots))
        self.assertIsNotNone(end.get_peer_certificate())

    def test_keys_of_tls_are_served_by_the_versions_that_have_them(self) -> None:
        old = SSL.TLS1_2_VERSION
        for key in (
            ed25519.Ed25519PrivateKey.generate(),
            ed448.Ed448PrivateKey.generate(),
            ec.generate_private_key(ec.SECP521R1()),
        ):
            path = self.file("one.pem", issue("one.example", key=key).pem)
            with said() as lines:
                server = server_certificate(path)
            self.assertEqual(lines, [])
            self.assertEqual(meet(server, Asking())[0].get_protocol_version_name(), "TLSv1.3")
            end, _ = meet(server, Asking(newest=old))
            self.assertEqual(end.get_protocol_version_name(), "TLSv1.2")

    def test_a_curve_of_tls_1_3_alone_is_served_and_that_is_said(self) -> None:
        key = ec.generate_private_key(ec.BrainpoolP256R1())
        path = self.file("one.pem", issue("one.example", key=key).pem)
        with said() as lines:
            server = server_certificate(path)
        self.assertEqual(lines, ["no TLS 1.2 client can be served with CN=one.example"])
        meet(server, Asking())
        with said() as lines:
            server.reload()
        self.assertEqual(lines, [])  # it is the same one

    def test_a_key_that_tls_does_not_have_is_refused_at_once(self) -> None:
        for key in (dsa.generate_private_key(2048), ec.generate_private_key(ec.SECP256K1())):
            path = self.file("one.pem", issue("one.example", key=key).pem)
            self.refused(f"{path}: OpenSSL cannot use it: no shared cipher", path)
            self.file("names/a.pem", issue("a.example").pem)
            named = self.file("names/one.pem", Path(path).read_bytes())
            pattern = f"{named}: OpenSSL cannot use it: no shared cipher"
            self.refused_string(f"tls:{self.directory}/names:0", pattern)
            words = f"tls:localhost:8107:certificate={path}"
            self.refused_string(words, f"{path}: OpenSSL cannot use it", client_endpoint)

    def test_a_plain_rsa_key_for_an_rsassa_pss_certificate_is_refused(self) -> None:
        """They are the same number, and OpenSSL takes them for two."""
        key, own = self.pss()
        plain = serialization.load_pem_private_key(Path(key).read_bytes(), None)
        one = Issued(issue("one.example").certificate, plain)
        other = self.file("plain.key", one.key_pem)
        self.refused(f"{own}: OpenSSL cannot use it", other, own)

    def test_whatever_the_demands_every_pair_can_be_tried(self) -> None:
        server = server_certificate(self.file("one.pem", issue("one.example").pem))
        authority = self.file("ca.pem", issue(subject="authority", authority=True).certificate_pem)
        server.set_client_auth(ClientAuthPolicy("1.3", authority))
        self.file("one.pem", issue("one.example").pem)
        server.reload()

    def test_a_pair_that_has_become_unusable_is_refused_and_the_old_one_stays(self) -> None:
        old = issue("one.example")
        path = self.file("one.pem", old.pem)
        server = server_certificate(path)
        self.file("one.pem", issue("one.example", key=dsa.generate_private_key(2048)).pem)
        for _ in range(2):
            with self.assertRaisesRegex(CertificateError, f"{path}: OpenSSL cannot use it"):
                server.reload()
            self.assertEqual(shown(server), [old.certificate])

    def test_files_are_found_again_from_another_directory(self) -> None:
        """A daemon changes its directory after the start."""
        self.addCleanup(os.chdir, Path.cwd())
        other = self.directory / "other" / "names"
        other.mkdir(parents=True)
        tree, parameters = Hierarchy("localhost"), ffdhe2048()
        self.file("names/a.pem", tree.leaf.pem)
        self.file("key.pem", tree.leaf.key_pem)
        self.file("own.pem", tree.leaf.certificate_pem)
        self.file("chain.pem", tree.middle.certificate_pem)
        self.file("dh.pem", parameters)
        authority = issue(subject="clients' authority", authority=True)
        self.file("ca.pem", authority.certificate_pem)
        os.chdir(self.directory)
        servers = (
            server_certificate("key.pem", "own.pem", "chain.pem", "dh.pem"),
            sni_contexts("names"),
        )
        for server in servers:
            server.set_client_auth(ClientAuthPolicy(client_ca="ca.pem"))
        for name in ("key.pem", "own.pem", "ca.pem", "names/a.pem"):  # what an intruder may write
            (other.parent / name).write_bytes(issue("intruder", authority=True).pem)
        os.chdir(other.parent)
        client = self.file("client.pem", issue(subject="client", issuer=authority).pem)
        for server in servers:
            server.reload()
            _, end = meet(server, client_options("localhost", client, roots=self.roots_of(tree)))
            self.assertEqual(end.get_peer_certificate(as_cryptography=True), tree.leaf.certificate)

    def roots_of(self, tree: Hierarchy) -> str:
        both = tree.root.certificate_pem, tree.middle.certificate_pem
        return self.file("roots.pem", *both)

    def test_the_chain_is_sent_from_the_leaf_to_the_root_however_the_file_has_it(self) -> None:
        tree = Hierarchy("a.example")
        certificates = [tree.leaf.certificate, tree.middle.certificate, tree.root.certificate]
        middle, root = tree.middle.certificate_pem, tree.root.certificate_pem
        for rest in ((middle, root), (root, middle), (root, middle, root, middle)):
            path = self.file("all.pem", tree.leaf.pem, *rest)
            self.assertEqual(shown(server_certificate(path)), certificates)

    def test_what_is_not_of_the_chain_is_not_sent(self) -> None:
        tree, other = Hierarchy("a.example"), Hierarchy("b.example", word=" of another")
        path = self.file(
            "all.pem", tree.leaf.pem, other.middle.certificate_pem, tree.middle.certificate_pem
        )
        both = [tree.leaf.certificate, tree.middle.certificate]
        self.assertEqual(shown(server_certificate(path)), both)

    def test_of_two_authorities_of_one_name_the_one_that_signed_is_sent(self) -> None:
        """An authority that has got a new key keeps its name."""
        tree = Hierarchy("a.example")
        renewed = issue(subject="middle", issuer=tree.root, authority=True)
        both = [tree.leaf.certificate, tree.middle.certificate]
        for rest in ((tree.middle, renewed), (renewed, tree.middle)):
            path = self.file("all.pem", tree.leaf.pem, *(each.certificate_pem for each in rest))
            self.assertEqual(shown(server_certificate(path)), both)

    def test_authorities_that_certify_each_other_end_the_chain(self) -> None:
        first = issue(subject="first", authority=True)
        second = issue(subject="second", issuer=first, authority=True)
        again = issue(subject="first", issuer=second, key=first.key, authority=True)
        leaf = issue("a.example", issuer=first)
        rest = again.certificate_pem, second.certificate_pem
        found = shown(server_certificate(self.file("all.pem", leaf.pem, *rest)))
        self.assertEqual(found, [leaf.certificate, again.certificate, second.certificate])

    def test_a_missing_file_is_an_os_error_with_its_name(self) -> None:
        one = issue("one.example")
        there, missing = self.file("one.pem", one.pem), str(self.directory / "missing.pem")
        for files in ((missing,), (there, missing), (missing, there), (there, "", missing)):
            with self.assertRaises(FileNotFoundError) as caught:
                server_certificate(*files)
            self.assertEqual(str(caught.exception.filename), missing)
        with self.assertRaises(FileNotFoundError) as caught:
            server_certificate(there, "", "", missing)
        self.assertEqual(str(caught.exception.filename), missing)
        for words in (
            f"privateKey={missing}",
            f"privateKey={there}:certKey={missing}",
            f"privateKey={there}:extraCertChain={missing}",
            f"privateKey={there}:dhParameters={missing}",
        ):
            self.refused_string(f"ssl:0:{words}", f"{missing}: ENOENT")

    def test_a_directory_in_a_files_place_and_an_unreadable_file_are_named(self) -> None:
        self.refused_string(f"ssl:0:privateKey={self.directory}", f"{self.directory}: EISDIR")
        path = self.file("secret.pem", issue("one.example").pem)
        os.chmod(path, 0)
        if not os.access(path, os.R_OK):  # as root, everything can be read
            self.refused_string(f"ssl:0:privateKey={path}", f"{path}: EACCES")

    def test_the_file_that_is_named_in_no_string_is_server_pem(self) -> None:
        before = Path.cwd()
        os.chdir(self.directory)
        self.addCleanup(os.chdir, before)
        self.refused_string("ssl:0", r"server\.pem: ENOENT")
        self.file("server.pem", issue("one.example").pem)
        self.assertIsInstance(server_endpoint(self.reactor, "ssl:0"), TLSListener)

    def test_no_certificate(self) -> None:
        one = issue("one.example")
        key = self.file("key.pem", one.key_pem)
        nothing = self.file("nothing.pem", b"")
        self.refused(f"{key}: no certificate", key)
        self.refused(f"{nothing}: no certificate", nothing)
        self.refused(f"{nothing}: no certificate", key, nothing)

    def test_no_key(self) -> None:
        one = issue("one.example")
        own = self.file("own.pem", one.certificate_pem)
        nothing = self.file("nothing.pem", b"words\n")
        self.refused(f"{own}: no private key", own)
        self.refused(f"{nothing}: no private key", nothing, own)

    def test_a_key_of_another_certificate(self) -> None:
        one, two = issue("one.example"), issue("two.example")
        both = self.file("both.pem", one.key_pem, two.certificate_pem)
        key, own = self.file("one.key", one.key_pem), self.file("two.pem", two.certificate_pem)
        self.refused(f"{both}: the private key is not", both)
        self.refused(f"{key}: the private key is not", key, own)

    def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(self) -> None:
        one = issue("one.example", key=rsa.generate_private_key(65537, 2048))
        for traditional in (False, True):
            key = one.locked(b"secret", traditional)
            path = self.file("locked.pem", key, one.certificate_pem)
            with (
                mock.patch("getpass.getpass", side_effect=AssertionError("asked")),
                mock.patch("builtins.input", side_effect=AssertionError("asked")),
                mock.patch("builtins.open", _no_terminal(open)),
            ):
                self.refused(f"{path}: .*(encrypted|[Pp]assword)", path)

    def test_broken_base64_and_broken_contents(self) -> None:
        one = issue("one.example")
        lines = one.certificate_pem.splitlines(keepends=True)
        for name, block in (
            ("letters", [lines[0], b"!!!! ????\n", *lines[2:]]),
            ("a line is missing", [*lines[:2], *lines[3:]]),
            ("cut in the middle", [*lines[:4], lines[-1]]),
            ("empty", [lines[0], b"AAAA\n", lines[-1]]),
        ):
            path = self.file(f"{name.replace(' ', '-')}.pem", one.key_pem, *block)
            self.refused(f"{path}: ", path)
        lines = one.key_pem.splitlines(keepends=True)
        path = self.file("key.pem", lines[0], b"!!!!\n", *lines[2:], one.certificate_pem)
        self.refused(f"{path}: ", path)

    def test_a_block_without_its_end_is_none(self) -> None:
        one = issue("one.example")
        path = self.file("cut.pem", one.key_pem, one.certificate_pem[:-30])
        self.refused(f"{path}: no certificate", path)

    def test_a_file_that_is_binary_is_refused(self) -> None:
        one = issue("one.example")
        path = self.file("one.der", one.certificate.public_bytes(serialization.Encoding.DER))
        self.refused(f"{path}: no certificate", path)

    def test_diffie_hellman_parameters_that_are_none_are_refused_in_one_line(self) -> None:
        path = self.file("one.pem", issue("one.example").pem)
        self.refused_string(f"ssl:0:privateKey={path}:dhParameters={path}", ".")

    def test_the_string_gives_a_listener_with_its_address(self) -> None:
        path = self.file("one.pem", issue("one.example").pem)
        for words in (f"0:privateKey={path}", f"443:privateKey={path}:interface=127.0.0.1"):
            listener = server_endpoint(self.reactor, f"ssl:{words}")
            self.assertIsInstance(listener, TLSListener)
        self.assertEqual(str(listener), "127.0.0.1:443")


def _no_terminal(real: Any) -> Any:
    def opened(path: Any, *arguments: Any, **more: Any) -> Any:
        assert path != "/dev/tty", "asked"
        return real(path, *arguments, **more)

    return opened


class ByNameTests(CertificateTestCase):
    def chosen(self, name: str | None = None) -> x509.Certificate:
        return shown(sni_contexts(str(self.directory)), name)[0]

    def test_the_name_chooses_a_wildcard_covers_one_label_and_all_else_gets_the_first(self) -> None:
        first = issue("first.example", "also.example")
        wild, exact = issue("*.wild.example"), issue("exact.wild.example")
        for name, each in (("b.pem", wild), ("a.pem", first), ("c.pem", exact)):
            self.file(name, each.pem)
        for asked, found in (
            ("first.example", first),
            ("FIRST.Example", first),
            ("also.example", first),
            ("any.wild.example", wild),
            ("exact.wild.example", exact),
            ("two.labels.wild.example", first),
            ("wild.example", first),
            ("unknown.example", first),
            (None, first),
        ):
            self.assertEqual(self.chosen(asked), found.certificate, asked)

    def test_names_in_the_certificate_are_compared_without_case(self) -> None:
        first, upper = issue("first.example"), issue("UPPER.example")
        self.file("a.pem", first.pem)
        self.file("b.pem", upper.pem)
        self.assertEqual(self.chosen("upper.EXAMPLE"), upper.certificate)

    def test_of_two_for_one_name_the_longer_valid_one(self) -> None:
        short, long = issue("a.example", days=1), issue("a.example", days=30)
        for first, second in ((short, long), (long, short)):
            self.file("a.pem", first.pem)
            self.file("b.pem", second.pem)
            self.assertEqual(self.chosen("a.example"), long.certificate)
            self.assertEqual(self.chosen(None), first.certificate)

    def test_a_certificate_without_names_serves_those_who_ask_for_none(self) -> None:
        bare, named = issue(), issue("named.example")
        self.file("a.pem", bare.pem)
        self.file("b.pem", named.pem)
        self.assertEqual(self.chosen(None), bare.certificate)
        self.assertEqual(self.chosen("named.example"), named.certificate)

    def test_each_is_sent_with_its_own_chain(self) -> None:
        trees = [Hierarchy("a.example"), Hierarchy("b.example", word=" of another")]
        for number, tree in enumerate(trees):
            self.file(f"{number}.pem", tree.leaf.pem, tree.middle.certificate_pem)
        for name, tree in zip(("a.example", "b.example"), trees, strict=True):
            found = shown(sni_contexts(str(self.directory)), name)
            self.assertEqual(found, [tree.leaf.certificate, tree.middle.certificate])

    def test_chains_of_authorities_of_one_name_are_kept_apart(self) -> None:
        trees = [Hierarchy("a.example"), Hierarchy("b.example")]
        for number, tree in enumerate(trees):
            self.file(f"{number}.pem", tree.leaf.pem, tree.middle.certificate_pem)
        for name, tree in zip(("a.example", "b.example"), trees, strict=True):
            found = shown(sni_contexts(str(self.directory)), name)
            self.assertEqual(found, [tree.leaf.certificate, tree.middle.certificate])

    def test_key_and_certificate_may_stand_in_different_files_and_directories(self) -> None:
        one, two = issue("one.example"), issue("two.example")
        for name, each in (("one", one), ("two", two)):
            self.file(f"{name}/fullchain.pem", each.certificate_pem)
            self.file(f"{name}/privkey.pem", each.key_pem)
            self.file(f"{name}/README", b"words")
        self.assertEqual(self.chosen("one.example"), one.certificate)
        self.assertEqual(self.chosen("two.example"), two.certificate)

    def refused_directory(self, pattern: str) -> None:
        with self.assertRaisesRegex(CertificateError, pattern):
            sni_contexts(str(self.directory))
        self.refused_string(f"tls:{self.directory}:0", pattern)

    def test_a_directory_without_any(self) -> None:
        self.file("one.crt", issue("one.example").pem)
        self.refused_directory(rf"{self.directory}: no \*\.pem file")

    def test_a_directory_with_certificates_and_no_key_of_theirs(self) -> None:
        self.file("one.pem", issue("one.example").certificate_pem)
        self.file("two.pem", issue("two.example").key_pem)
        self.refused_directory(rf"{self.directory}: no \*\.pem file")

    def test_a_broken_file_in_it_is_named(self) -> None:
        self.file("a.pem", issue("a.example").pem)
        path = self.file("b.pem", issue("b.example").locked(b"secret"))
        self.refused_directory(f"{path}: ")

    def test_a_directory_that_is_none_is_named(self) -> None:
        missing = self.directory / "missing"
        self.refused_string(f"tls:{missing}:0", f"{missing}: ENOENT")
        path = self.file("one.pem", issue("one.example").pem)
        self.refused_string(f"tls:{path}:0", f"{path}: ENOTDIR")


class DemandTests(CertificateTestCase):
    """What a server demands of its clients, and what it does when files change."""

    def setUp(self) -> None:
        super().setUp()
        self.tree = Hierarchy("localhost")
        self.path = self.file("s.pem", self.tree.leaf.pem, self.tree.middle.certificate_pem)
        self.roots = self.file("root.pem", self.tree.root.certificate_pem)
        self.authority = issue(subject="clients' authority", authority=True)
        self.clients = self.file("clients.pem", self.authority.certificate_pem)

    def client(self, *chain: Issued, issuer: Issued | None = None, **how: Any) -> Any:
        """A client with a certificate of ``issuer``, the clients' authority by default."""
        own = issue(subject="client", issuer=issuer or self.authority, **how)
        path = self.file("client.pem", own.pem, *(each.certificate_pem for each in chain))
        return client_options("localhost", path, roots=self.roots)

    def demanding(self, **demands: Any) -> Any:
        server = server_certificate(self.path)
        server.set_client_auth(ClientAuthPolicy(**{"client_ca": self.clients, **demands}))
        return server

    def turned_away(self, server: Any, client: Any, why: str) -> None:
        with self.assertRaisesRegex(SSL.Error, why):
            meet(server, client)

    def test_whom_the_file_names_may_have_signed_the_client(self) -> None:
        meet(self.demanding(), self.client())

    def test_nobody_else_may(self) -> None:
        for why, client in (
            ("did not return a certificate", client_options("localhost", roots=self.roots)),
            ("verify failed", self.client(issuer=self.tree.root)),
            ("verify failed", self.client(issuer=issue(subject="clients' authority"))),
            ("verify failed", self.client(days=-0.5)),
            ("verify failed", self.client(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))),
        ):
            self.turned_away(self.demanding(), client, why)

    def test_one_without_the_right_to_sign_may_not(self) -> None:
        leaf = issue(subject="leaf", issuer=self.authority)
        self.turned_away(self.demanding(), self.client(leaf, issuer=leaf), "verify failed")

    def test_an_authority_that_is_itself_certified_by_one_that_is_not_named(self) -> None:
        """As an intermediate, that a company runs for its clients alone."""
        middle = issue(subject="middle", issuer=self.authority, authority=True)
        server = self.demanding(client_ca=self.file("middle.pem", middle.certificate_pem))
        meet(server, self.client(issuer=middle))
        self.turned_away(server, self.client(), "verify failed")

    def test_of_several_authorities_any(self) -> None:
        other = issue(subject="other", authority=True)
        both = self.file("both.pem", other.certificate_pem, self.authority.certificate_pem)
        server = self.demanding(client_ca=both)
        meet(server, self.client())
        meet(server, self.client(issuer=other))

    def test_the_least_version(self) -> None:
        class Old(Asking):
            def clientConnectionForTLS(self, _: object) -> SSL.Connection:
                context = SSL.Context(SSL.TLS_METHOD)
                context.set_max_proto_version(SSL.TLS1_2_VERSION)
                return SSL.Connection(context, None)

        server = server_certificate(self.path)
        self.assertEqual(meet(server, Old())[0].get_protocol_version_name(), "TLSv1.2")
        server.set_client_auth(ClientAuthPolicy("1.3"))
        self.turned_away(server, Old(), "unsupported protocol|protocol version")
        self.assertEqual(meet(server, Asking())[0].get_protocol_version_name(), "TLSv1.3")

    def test_a_certificate_that_is_chosen_by_name_comes_with_all_demands(self) -> None:
        for name, each in (("a", issue("first.example")), ("b", self.tree.leaf)):
            self.file(f"names/{name}.pem", each.pem, self.tree.middle.certificate_pem)
        server = sni_contexts(str(self.directory / "names"))
        server.set_client_auth(ClientAuthPolicy("1.3", self.clients))
        meet(server, self.client())
        self.turned_away(server, Asking("localhost"), "did not return a certificate")
        self.turned_away(server, self.client(issuer=self.tree.root), "verify failed")
        server.reload()
        meet(server, self.client())
        self.turned_away(server, Asking("localhost"), "did not return a certificate")

    def test_wrong_authorities_are_refused_and_the_old_demands_stay(self) -> None:
        server = self.demanding()
        for path, pattern in (
            (self.file("empty.pem"), "empty.pem: no certificate in it"),
            (self.file("key.pem", self.tree.leaf.key_pem), "key.pem: no certificate in it"),
            (self.file("cut.pem", self.authority.certificate_pem[:-30]), "cut.pem: no certif"),
        ):
            with self.assertRaisesRegex(CertificateError, pattern):
                server.set_client_auth(ClientAuthPolicy(client_ca=path))
        with self.assertRaises(FileNotFoundError):
            server.set_client_auth(ClientAuthPolicy(client_ca="/no/such"))
        self.turned_away(server, Asking(), "did not return a certificate")
        server.reload()
        self.turned_away(server, Asking(), "did not return a certificate")

    def test_a_reload_reads_everything_anew(self) -> None:
        server = self.demanding()
        renewed = issue("localhost", issuer=self.tree.middle)
        other = issue(subject="other", authority=True)
        self.file("s.pem", renewed.pem, self.tree.middle.certificate_pem)
        self.file("clients.pem", other.certificate_pem)
        meet(server, self.client())
        server.reload()
        _, client = meet(server, self.client(issuer=other))
        self.assertEqual(client.get_peer_certificate(as_cryptography=True), renewed.certificate)
        self.turned_away(server, self.client(), "verify failed")

    def test_where_a_file_has_become_wrong_the_old_ones_stay_all_of_them(self) -> None:
        server, other = self.demanding(), issue(subject="other", authority=True)
        good = (self.tree.leaf.pem, self.tree.middle.certificate_pem)
        weak = issue("localhost", key=rsa.generate_private_key(65537, 1024))
        for own, clients, pattern in (
            ((b"words",), other.certificate_pem, "s.pem: no certificate"),
            ((self.tree.leaf.certificate_pem,), other.certificate_pem, "s.pem: no private key"),
            ((other.key_pem, self.tree.leaf.certificate_pem), b"", "s.pem: the private key is not"),
            ((weak.pem,), other.certificate_pem, "s.pem: OpenSSL cannot use it: .*too small"),
            (issue("localhost").pem.partition(b"---END")[:1], b"", "s.pem: no certificate"),
            (good, b"", "clients.pem: no certificate"),
        ):
            self.file("s.pem", *own)
            self.file("clients.pem", clients)
            with self.assertRaisesRegex(CertificateError, pattern):
                server.reload()
            _, client = meet(server, self.client())
            found = client.get_peer_certificate(as_cryptography=True)
            self.assertEqual(found, self.tree.leaf.certificate)
            self.turned_away(server, Asking(), "did not return a certificate")
        Path(self.path).unlink()
        with self.assertRaises(FileNotFoundError):
            server.reload()
        meet(server, self.client())

    def test_a_wrong_file_in_a_directory_is_named_and_the_old_ones_stay(self) -> None:
        self.file("names/a.pem", self.tree.leaf.pem, self.tree.middle.certificate_pem)
        server = sni_contexts(str(self.directory / "names"))
        weak = issue("weak.example", key=rsa.generate_private_key(65537, 1024))
        for content, pattern in (
            (weak.pem, "names/b.pem: OpenSSL cannot use it: .*too small"),
            (issue("b.example").locked(b"secret"), "names/b.pem: "),
        ):
            self.file("names/b.pem", content)
            with self.assertRaisesRegex(CertificateError, pattern):
                server.reload()
            self.refused_string(f"tls:{self.directory}/names:0", pattern)
            self.assertEqual(shown(server)[0], self.tree.leaf.certificate)

    def test_what_has_not_changed_is_not_parsed_again(self) -> None:
        """To check an RSA key takes long enough for others to notice."""
        self.file("s.pem", issue("localhost", key=rsa.generate_private_key(65537, 2048)).pem)
        with mock.patch.object(
            serialization, "load_pem_private_key", wraps=serialization.load_pem_private_key
        ) as parse:
            server = self.demanding()
            server.reload()
            self.assertEqual(parse.call_count, 1)
            self.file("s.pem", issue("localhost").pem)
            server.reload()
            self.assertEqual(parse.call_count, 2)

    def test_that_one_has_expired_is_said_once_at_each_reading(self) -> None:
        self.file("s.pem", issue("old.example", days=-0.5).pem)
        with said() as lines:
            server = self.demanding()
        self.assertEqual(lines, ["a certificate has expired: CN=old.example"])
        with said() as lines:
            server.reload()
        self.assertEqual(len(lines), 1)

    def test_nothing_is_left_of_what_was_replaced(self) -> None:
        self.file("names/a.pem", self.tree.leaf.pem)
        server = sni_contexts(str(self.directory / "names"))
        old = weakref.ref(server.getContext())
        self.file("names/a.pem", issue("b.example").pem)
        server.reload()
        gc.collect()
        self.assertIsNone(old())


class ClientTests(CertificateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tree = Hierarchy("localhost", "127.0.0.1")
        path = self.file("s.pem", self.tree.leaf.pem, self.tree.middle.certificate_pem)
        self.server = server_certificate(path)
        self.roots = self.file("root.pem", self.tree.root.certificate_pem)

    def failure(self, client: Any, server: Any = None, transport: object = None) -> str:
        with self.assertRaises(SSL.Error) as caught:
            meet(server or self.server, client, transport)
        return str(caught.exception)

    def test_a_file_with_roots_is_all_that_is_trusted(self) -> None:
        other = self.file("other.pem", issue(subject="other", authority=True).certificate_pem)
        meet(self.server, client_options("localhost", roots=self.roots))
        meet(self.server, client_options("127.0.0.1", roots=self.roots))
        untrusting = client_options("localhost", roots=other)
        self.assertIn("certificate verify failed", self.failure(untrusting))

    def test_without_one_it_is_the_system_that_says_whom_to_trust(self) -> None:
        self.assertIn("certificate verify failed", self.failure(client_options("localhost")))

    def test_a_directory_of_roots_is_read_whole(self) -> None:
        self.file("roots/a.pem", issue(subject="other", authority=True).certificate_pem)
        self.file("roots/b/root.pem", self.tree.root.certificate_pem)
        self.file("roots/c.txt", b"words")
        meet(self.server, client_options("localhost", roots=str(self.directory / "roots")))

    def test_a_certificate_that_is_trusted_itself_needs_no_authority(self) -> None:
        alone = issue("localhost")
        server = server_certificate(self.file("alone.pem", alone.pem))
        meet(server, client_options("localhost", roots=self.file("r.pem", alone.certificate_pem)))

    def test_another_name_is_refused(self) -> None:
        for name in ("other.example", "localhost.example", "127.0.0.2"):
            told: list[Any] = []
            client = client_options(name, roots=self.roots)
            transport = mock.Mock(failVerification=told.append)
            failure = self.failure(client, transport=transport)
            self.assertIn("certificate verify failed", failure)
            self.assertIn("VerificationError", told[0].type.__name__)

    def verifying(self) -> Any:
        """A server that demands a certificate of its clients."""
        server = server_certificate(str(self.directory / "s.pem"))
        context = server.getContext()
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(self.tree.root.certificate))
        wanted = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(wanted, lambda *words: bool(words[-1]))
        return server

    def test_a_client_shows_its_certificate_and_the_chain(self) -> None:
        own = issue("client.example", issuer=self.tree.middle)
        chain = self.tree.middle.certificate_pem
        one = self.file("client.pem", own.pem, chain)
        key, certificate = (
            self.file("client.key", own.key_pem),
            self.file("client.crt", own.certificate_pem, chain),
        )
        for files in ((one, ""), (certificate, key), ("", one)):
            client = client_options("localhost", *files, roots=self.roots)
            server, _ = meet(self.verifying(), client)
            found = server.get_peer_certificate(as_cryptography=True)
            self.assertEqual(found, own.certificate)

    def test_one_that_shows_none_is_refused_where_one_is_wanted(self) -> None:
        client = client_options("localhost", roots=self.roots)
        self.assertIn("did not return a certificate", self.failure(client, self.verifying()))

    def test_wrong_files_are_refused_and_named(self) -> None:
        one, two = issue("one.example"), issue("two.example")
        key, own = self.file("one.key", one.key_pem), self.file("two.pem", two.certificate_pem)
        nothing = self.file("nothing.pem", b"words\n")
        locked = self.file("locked.pem", one.locked(b"secret"), one.certificate_pem)
        (self.directory / "empty").mkdir()
        for words, pattern in (
            (f"certificate={own}:privateKey={key}", f"{key}: the private key is not"),
            (f"certificate={own}", f"{own}: no private key"),
            (f"privateKey={key}", f"{key}: no certificate"),
            (f"certificate={locked}", f"{locked}: .*(encrypted|[Pp]assword)"),
            (f"trustRoots={nothing}", f"{nothing}: no certificate"),
            (f"trustRoots={key}", f"{key}: no certificate"),
            (f"trustRoots={self.directory}/empty", f"{self.directory}/empty: no certificate"),
            (f"trustRoots={self.directory}/missing", f"{self.directory}/missing: ENOENT"),
            (f"certificate={self.directory}/missing", f"{self.directory}/missing: ENOENT"),
        ):
            self.refused_string(f"tls:localhost:8107:{words}", pattern, client_endpoint)

    def test_the_string_gives_a_connector(self) -> None:
        words = f"tls:localhost:8107:trustRoots={self.roots}"
        self.assertIsInstance(client_endpoint(self.reactor, words).endpoint, TLSConnector)

    def test_a_host_that_no_certificate_can_name_is_refused_in_one_line(self) -> None:
        for host in ("a..b", "a" * 64, "käse\N{SNOWMAN}.example", "x y"):
            try:
                client_endpoint(self.reactor, f"tls:{host}:8107:trustRoots={self.roots}")
            except EndpointError as error:
                self.assertNotIn("\n", str(error))


class UnusualTests(SynchronousTestCase):
    """What lies about on disks."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.place = Path(directory.name)

    def test_nothing_is_warned_of_where_a_serial_number_is_0(self) -> None:
        """The tests would fail of a warning."""
        key, certificate = self.place / "key.pem", self.place / "certificate.pem"
        command = [
            need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-nodes", "-set_serial", "0", "-subj", "/CN=localhost",
            "-keyout", str(key), "-out", str(certificate),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=LIMIT)
        server_certificate(str(key), str(certificate))
        sni_contexts(str(self.place))

    def test_directories_below_are_looked_through_up_to_a_number(self) -> None:
        below = self.place / "a" / "b"
        below.mkdir(parents=True)
        (below / "one.pem").write_bytes(issue("one.example").pem)
        sni_contexts(str(self.place))
        self.patch(pems, "MAX_DIRECTORIES", 2)
        with self.assertRaisesRegex(CertificateError, "more than 2 directories below it"):
            sni_contexts(str(self.place))
