"""What a client trusts, shows and demands."""

from __future__ import annotations

from typing import Any
from unittest import mock

from OpenSSL import SSL, crypto

from echosvc.endpoints import EndpointError, client_endpoint
from echosvc.tls.context import (
    client_options,
    server_certificate,
)
from echosvc.tls.endpoints import TLSConnector
from tests.support.certificates import CertificateTestCase, Hierarchy, issue, meet


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
