"""Which certificates are believed for which host, and what is said of the others."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet import ssl
from twisted.trial.unittest import SynchronousTestCase

from echosvc.net.errors import TLSError, VerificationError
from echosvc.tls.context import (
    CertificateError,
    InsecureClientContext,
    client_options,
    server_certificate,
)
from echosvc.tls.identity import (
    ServerIdentity,
    VerifyingClientContext,
    verify_names_readable,
    with_verification,
)
from tests.support.certificates import (
    HOST,
    UNREADABLE,
    CertificateTestCase,
    Issued,
    issue,
    meet,
    names,
    with_odd_name,
)

ANOTHER = "TLS: the certificate is for another name or address: "


FAILED = "TLS: certificate verify failed: "


#: What can be read and names others.
OTHERS: dict[str, bytes] = {
    "another": names(b"other.example"),
    "star above": names(b"*.example.test"),
    "star at another level": names(b"*.bank.example"),
    "above": names(b"example"),
    "below": names(b"www.bank.example"),
    "only its beginning": names(b"bank.exampl"),
    "only its end": names(b"ank.example"),
    "URI": names(b"https:bank.example", tag=0x86),
    "mail": names(b"root@bank.example", tag=0x81),
    "address": names(b"\xc0\0\2\7", tag=0x87),
}


class IdentityTests(SynchronousTestCase):
    def refused(self, host: str, certificate: x509.Certificate) -> str:
        with self.assertRaises(VerificationError) as caught:
            ServerIdentity(host).verify(certificate)
        said = str(caught.exception)
        self.assertTrue(said.isprintable(), said)
        self.assertTrue(said.startswith(ANOTHER), said)
        return said

    def test_a_certificate_is_believed_for_its_names_and_addresses(self) -> None:
        one = issue(
            "bank.example", "*.wild.example", "192.0.2.7", "2001:db8::7", "xn--bnk-qla.test"
        )
        for host in (
            HOST, "BANK.Example", "a.wild.example", "192.0.2.7", "2001:db8::7", "2001:DB8:0::7",
            "bänk.test",
        ):  # fmt: skip
            ServerIdentity(host).verify(one.certificate)
        for host in (
            "other.example", "wild.example", "a.b.wild.example", "192.0.2.8", "2001:db8::8",
            "bunk.test",
        ):  # fmt: skip
            self.refused(host, one.certificate)

    def test_one_whose_names_cannot_be_read_is_believed_for_no_host(self) -> None:
        for kind, alternatives in UNREADABLE.items():
            one = issue(subject=HOST, alternatives=alternatives)
            for host in (
                HOST,
                "test",
                "a.test",
                "a.b.test",
                "192.0.2.7",
                "2001:db8::7",
                "127.0.0.1",
            ):
                with self.subTest(kind, host=host):
                    self.refused(host, one.certificate)

    def test_one_that_names_others_is_theirs(self) -> None:
        for kind, alternatives in OTHERS.items():
            with self.subTest(kind):
                one = issue(subject=HOST, alternatives=alternatives)
                self.refused(HOST, one.certificate)

    def test_the_message_has_the_names_and_what_to_do(self) -> None:
        one = issue("a.example", "192.0.2.7").certificate
        said = "it names 'a.example', '192.0.2.7', not 'bank.example'"
        advice = " (--server-name NAME asks for another name)"
        self.assertEqual(self.refused(HOST, one), f"{ANOTHER}{said}{advice}")
        self.assertIn("no subjectAltName", self.refused(HOST, issue(subject=HOST).certificate))
        self.assertIn(
            "'*', and not all of that is a name", self.refused(HOST, issue("*").certificate)
        )

    def test_of_many_names_and_long_ones_some_are_shown(self) -> None:
        many = issue(*(f"{'x' * 60}.{number}.example" for number in range(99)), subject="x")
        said = self.refused(HOST, many.certificate)
        self.assertIn("and 95 more", said)
        self.assertLess(len(said), 500, said)

    def test_a_hostile_name_is_escaped(self) -> None:
        one = issue(alternatives=names(b"\x1b[31m\n.evil.example"))
        self.assertIn(r"\x1b[31m\n.evil.example", self.refused(HOST, one.certificate))

    def test_a_host_that_no_certificate_can_be_for_is_refused_in_one_line(self) -> None:
        for host in ("123", "", " ", "a b", "a\nb", "\0"):
            with self.assertRaisesRegex(ValueError, "no certificate can be for '.*'$"):
                ServerIdentity(host)
        with self.assertRaisesRegex(CertificateError, "no certificate can be for '123'$"):
            client_options("123")
        with self.assertRaisesRegex(ValueError, "no certificate can be for '123'$"):
            with_verification(ssl.optionsForClientTLS("123"))


class Told:
    """A transport that is told of a failure, and notes it."""

    factory = mock.Mock(wrappedFactory=None)

    def __init__(self) -> None:
        self.errors: list[Any] = []

    def failVerification(self, reason: Any) -> None:
        self.errors.append(reason.value)


class MemoryTestCase(CertificateTestCase):
    """A client and a server that shows what it is told to, in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.root = issue(subject="root", authority=True)
        self.roots = self.file("root.pem", self.root.certificate_pem)

    def server(self, one: Issued, *chain: Issued) -> Any:
        """A server that shows what it is told to."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(one.certificate)
        context.use_privatekey(one.key)
        for each in chain:
            context.add_extra_chain_cert(each.certificate)
        return mock.Mock(serverConnectionForTLS=lambda _: SSL.Connection(context))

    def refusal(self, server: Any, client: Any = None) -> VerificationError:
        """What the client's transport is told; the server gets an alert."""
        told = Told()
        with self.assertRaises(SSL.Error) as caught:
            meet(server, client or client_options(HOST, roots=self.roots), told)
        self.assertIn("certificate verify failed", str(caught.exception))
        (error,) = told.errors
        self.assertIsInstance(error, TLSError)
        self.assertTrue(str(error).isprintable())
        return error

    def twisteds(self) -> Any:
        root = ssl.Certificate.loadPEM(self.root.certificate_pem)
        return ssl.optionsForClientTLS(HOST, ssl.trustRootFromCertificates([root]))

    def unverified(self, **options: Any) -> InsecureClientContext:
        root = ssl.Certificate.loadPEM(self.root.certificate_pem)
        return InsecureClientContext(
            HOST, {"trustRoot": ssl.trustRootFromCertificates([root]), **options}
        )


class HandshakeTests(MemoryTestCase):
    """What stands in the handshake itself, whatever transport uses it."""

    def test_a_right_one_is_believed(self) -> None:
        server = self.server(issue(HOST, issuer=self.root))
        for client in (client_options(HOST, roots=self.roots), with_verification(self.twisteds())):
            _, end = meet(server, client, Told())
            client.verify_server(end)

    def test_what_names_nobody_is_refused(self) -> None:
        for kind, alternatives in UNREADABLE.items():
            with self.subTest(kind):
                one = issue(subject="printer-17", alternatives=alternatives, issuer=self.root)
                for client in (None, with_verification(self.twisteds())):
                    error = self.refusal(self.server(one), client)
                    self.assertRegex(error.why, "^TLS: (the certificate is for another|.*unknown)")

    def test_wrong_chains_are_told_apart(self) -> None:
        middle = issue(subject="middle", issuer=self.root, authority=True)
        stranger, leaf = issue(subject="stranger", authority=True), self.of(self.root, "leaf")
        for said, advice, *shown in (
            ("'CN=me': it is self-signed", "--ca FILE", issue(HOST, subject="me")),
            ("'CN=x': its issuer 'CN=stranger' is unknown", "--ca FILE", self.of(stranger)),
            (
                "'CN=stranger': it is a root CA that is not",
                "--ca FILE",
                self.of(stranger),
                stranger,
            ),
            ("'CN=x': its issuer 'CN=middle' is unknown", "complete chain", self.of(middle)),
            ("'CN=x': it has expired, ", "needs a new one", self.of(self.root, days=-0.5)),
            ("'CN=x': it is not valid before ", "clock", self.of(self.root, begins=0.5)),
            ("'CN=x': it is not valid for servers", "", self.for_clients()),
            ("'CN=leaf': it issued another certificate but is no CA", "", self.of(leaf), leaf),
        ):
            with self.subTest(said):
                error = self.refusal(self.server(*shown))
                self.assertTrue(error.why.startswith(FAILED + said), error.why)
                self.assertIn(advice, error.advice)
                if error.advice:
                    self.assertEqual(str(error), f"{error.why} ({error.advice})")

    def of(self, issuer: Issued, subject: str = "x", **how: Any) -> Issued:
        return issue(HOST, subject=subject, issuer=issuer, **how)

    def for_clients(self) -> Issued:
        return self.of(self.root, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))

    def test_it_is_said_since_when_and_until_when(self) -> None:
        ended = datetime.now(timezone.utc) - timedelta(days=3.5)
        one = issue(HOST, issuer=self.root, begins=-9, days=-3.5)
        why = self.refusal(self.server(one)).why
        self.assertIn(f"it has expired, 3 days ago, on {ended:%Y-%m-%d %H:%M} UTC", why)
        begin = datetime.now(timezone.utc) + timedelta(days=0.5)
        one = issue(HOST, issuer=self.root, begins=0.5)
        self.assertIn(f"before {begin:%Y-%m-%d %H:%M} UTC", self.refusal(self.server(one)).why)

    def test_a_name_that_cannot_be_read_does_not_hide_what_is_wrong(self) -> None:
        pem = with_odd_name(self.root, days=-0.5)
        key, _, certificate = pem.partition(b"-----BEGIN CERTIFICATE")
        path = self.file("odd.pem", b"-----BEGIN CERTIFICATE" + certificate, key)
        self.assertIn("it has expired", str(self.refusal(server_certificate(path))))

    def test_a_session_from_where_nothing_was_verified_is_verified_when_it_is_resumed(self) -> None:
        """OpenSSL does not call back then."""
        for one, said in (
            (issue("printer-17", issuer=self.root), "another name"),
            (issue(HOST), "is self-signed"),
            (issue(HOST, issuer=self.root), ""),
        ):
            server = self.server(one)
            old = {"lowerMaximumSecurityTo": ssl.TLSVersion.TLSv1_2}
            client = Resuming(self.unverified(enableSessionTickets=True, **old))
            meet(server, client, Told())
            verifier = VerifyingClientContext(client, ServerIdentity(HOST))
            _, end = meet(server, verifier, Told())
            self.assertIsNone(end.get_verified_chain(), "it was not resumed")
            if said:
                with self.assertRaisesRegex(VerificationError, said):
                    verifier.verify_server(end)
            else:
                verifier.verify_server(end)

    def test_a_server_without_a_certificate_is_refused(self) -> None:
        """Some ciphers need none, whatever is demanded."""
        client = VerifyingClientContext(Anonymous(), ServerIdentity(HOST))
        _, end = meet(Anonymous(), client, Told())
        with self.assertRaisesRegex(VerificationError, "sent no certificate"):
            client.verify_server(end)

    def test_an_exception_of_any_kind_in_the_comparison_refuses(self) -> None:
        server = self.server(issue(HOST, issuer=self.root))
        for error in (RuntimeError("one\ntwo"), AssertionError(), IndexError("x"), SSL.Error()):
            identity = mock.Mock(verify=mock.Mock(side_effect=error))
            self.refusal(server, VerifyingClientContext(self.unverified(), identity))


class Resuming:
    """A client that believes anybody at first, and then resumes its session."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._made: list[SSL.Connection] = []  # one that goes takes its session with it

    def clientConnectionForTLS(self, transport: Any) -> SSL.Connection:
        connection: SSL.Connection = self._client.clientConnectionForTLS(transport)
        connection.set_verify(SSL.VERIFY_NONE)
        if self._made:
            session = self._made[0].get_session()
            assert session is not None
            connection.set_session(session)
        self._made.append(connection)
        return connection


class Anonymous:
    """Either end of TLS 1.2 without certificates."""

    def __init__(self) -> None:
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_cipher_list(b"aNULL:@SECLEVEL=0")

    def clientConnectionForTLS(self, _: object) -> SSL.Connection:
        return SSL.Connection(self._context)

    serverConnectionForTLS = clientConnectionForTLS


class CallbackOfOthersTests(MemoryTestCase):
    """A client made by somebody else, with a callback that may be Twisted's."""

    def wrapped(self) -> Any:
        inner = self.twisteds()

        class Wrapping:
            def clientConnectionForTLS(self, transport: Any) -> SSL.Connection:
                connection: SSL.Connection = inner.clientConnectionForTLS(transport)
                connection.set_alpn_protos([b"echo"])
                return connection

        return Wrapping()

    def test_what_twisteds_believes_wrongly_is_refused(self) -> None:
        for kind, alternatives in UNREADABLE.items():
            with self.subTest(kind):
                one = issue(subject="printer-17", alternatives=alternatives, issuer=self.root)
                try:
                    _, end = meet(self.server(one), self.wrapped(), Told())
                except SSL.Error:
                    continue  # it was refused in the handshake
                with self.assertRaisesRegex(VerificationError, "another name or address"):
                    verify_names_readable(end)
        self.flushLoggedErrors()

    def test_what_can_be_read_has_been_compared(self) -> None:
        _, end = meet(self.server(issue(HOST, issuer=self.root)), self.wrapped(), Told())
        verify_names_readable(end)
        with self.assertRaises(SSL.Error):
            meet(self.server(issue("other.example", issuer=self.root)), self.wrapped(), Told())

    def test_who_verifies_no_name_is_left_to_it(self) -> None:
        root = ssl.Certificate.loadPEM(self.root.certificate_pem)
        chain_only = ssl.CertificateOptions(trustRoot=root)
        for client in (chain_only, ssl.CertificateOptions(), InsecureClientContext(HOST, {})):
            server = self.server(issue(subject="printer-17", issuer=self.root))
            _, end = meet(server, client, Told())
            verify_names_readable(end)
