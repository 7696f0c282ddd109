"""Certificates and keys of a server: files read right, or refused in one line."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from echosvc.endpoints import client_endpoint, server_endpoint
from echosvc.tls import pem as pems
from echosvc.tls.context import (
    CertificateError,
    ClientAuthPolicy,
    client_options,
    server_certificate,
    sni_contexts,
)
from echosvc.tls.endpoints import TLSListener
from tests.support.certificates import (
    Asking,
    CertificateTestCase,
    Hierarchy,
    Issued,
    issue,
    meet,
    shown,
    with_odd_name,
)
from tests.support.process import need
from tests.support.recording import logged_lines
from tests.support.waiting import LIMIT


def _openssl(*words: str) -> bytes:
    command = [need("openssl"), *words]
    return subprocess.run(command, check=True, capture_output=True, timeout=LIMIT).stdout


def ffdhe2048() -> bytes:
    """Diffie-Hellman parameters (RFC 7919), PEM."""
    return _openssl("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048")


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
            with logged_lines() as lines:
                server = server_certificate(path)
            self.assertEqual(lines, [])
            self.assertEqual(meet(server, Asking())[0].get_protocol_version_name(), "TLSv1.3")
            end, _ = meet(server, Asking(newest=old))
            self.assertEqual(end.get_protocol_version_name(), "TLSv1.2")

    def test_a_curve_of_tls_1_3_alone_is_served_and_that_is_said(self) -> None:
        key = ec.generate_private_key(ec.BrainpoolP256R1())
        path = self.file("one.pem", issue("one.example", key=key).pem)
        with logged_lines() as lines:
            server = server_certificate(path)
        self.assertEqual(lines, ["no TLS 1.2 client can be served with CN=one.example"])
        meet(server, Asking())
        with logged_lines() as lines:
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
