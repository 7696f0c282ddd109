"""Which certificate a client gets for the name that it asks for."""

from __future__ import annotations

from cryptography import x509

from echosvc.tls.context import (
    CertificateError,
    sni_contexts,
)
from tests.support.certificates import CertificateTestCase, Hierarchy, issue, shown


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
