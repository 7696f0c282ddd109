"""What a server demands of its clients' certificates and versions."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from echosvc.tls.context import (
    CertificateError,
    ClientAuthPolicy,
    client_options,
    server_certificate,
    sni_contexts,
)
from tests.support.certificates import (
    Asking,
    CertificateTestCase,
    Hierarchy,
    Issued,
    issue,
    meet,
    shown,
)
from tests.support.recording import logged_lines


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
        with logged_lines() as lines:
            server = self.demanding()
        self.assertEqual(lines, ["a certificate has expired: CN=old.example"])
        with logged_lines() as lines:
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
