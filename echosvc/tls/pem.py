"""PEM files: certificates, their keys and their chains."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import PublicKeyAlgorithmOID
from OpenSSL import SSL, crypto

from echosvc.net.errors import ReloadError, openssl_reasons
from echosvc.tls.handshake import try_handshake

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION
#: For TLS 1.2: forward secrecy and authenticated encryption, nothing else.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"


#: Most directories that are searched for ``*.pem`` files.
MAX_DIRECTORIES = 10_000


class CertificateError(ReloadError, ValueError):
    """A file lacks what TLS needs or cannot be used; the message says which and why on one line."""


#: What the parsers of ``cryptography`` and OpenSSL raise for invalid files.
_PARSE_ERRORS = (ValueError, TypeError, UnsupportedAlgorithm, SSL.Error)


@dataclass
class PemBundle:
    """The certificates and keys of PEM files.

    :ivar cache: objects of an earlier reading, by their text; to parse an RSA key again takes
        0.05 to 0.3 seconds.
    :ivar parsed: objects of this reading, by their text.
    :ivar certificates: the certificates in the order of the files.
    """

    cache: dict[bytes, Any] = field(default_factory=dict)
    parsed: dict[bytes, Any] = field(default_factory=dict)
    certificates: list[x509.Certificate] = field(default_factory=list)
    _keys: dict[bytes, Any] = field(default_factory=dict)  # by their public halves
    _key_blocks: dict[bytes, bytes] = field(default_factory=dict)  # by the same
    _files: dict[x509.Certificate, str] = field(default_factory=dict)
    _by_subject: dict[x509.Name, list[x509.Certificate]] = field(default_factory=dict)

    def read(self, path: str | Path) -> None:
        """Add the certificates and keys of one file.

        :raises OSError: it cannot be read.
        :raises CertificateError: it cannot be parsed.
        """
        for block in _BLOCK.finditer(Path(path).read_bytes()):
            with _errors_name_file(str(path)):
                thing = self.cache.get(block[0]) or _parse(block[1], block[0])
                self.parsed[block[0]] = thing
                self._add(thing, block[0], str(path))

    def _add(self, thing: Any, text: bytes, path: str) -> None:
        if isinstance(thing, x509.Certificate):
            self.certificates.append(thing)
            self._files.setdefault(thing, path)
            with suppress(*_PARSE_ERRORS):  # OpenSSL accepts certificates with invalid names
                self._by_subject.setdefault(thing.subject, []).append(thing)
        elif thing is not None:
            public = _spki(thing.public_key())
            self._keys.setdefault(public, thing)
            self._key_blocks.setdefault(public, text)

    def subject_of(self, certificate: x509.Certificate) -> str:
        """Return the subject of a certificate, or its file if the subject cannot be read."""
        try:
            return certificate.subject.rfc4514_string()
        except _PARSE_ERRORS:
            return self._files[certificate]

    @property
    def has_no_key(self) -> bool:
        """Whether there is no private key."""
        return not self._keys

    def errors_name_file(self, certificate: x509.Certificate) -> AbstractContextManager[None]:
        """Return a context that turns errors into ones that name the certificate's file."""
        return _errors_name_file(self._files[certificate])

    def key_of(self, certificate: x509.Certificate) -> Any:
        """Return the private key of ``certificate``; ``None`` = there is none."""
        with suppress(*_PARSE_ERRORS):  # a CA's key may be of an unknown kind
            return self._keys.get(_spki(certificate.public_key()))
        return None

    def openssl_key_of(self, certificate: x509.Certificate) -> Any:
        """Return the private key of ``certificate`` for pyOpenSSL; ``None`` = there is none.

        ``cryptography`` parses an RSASSA-PSS key as a plain RSA key, which does not match the
        certificate: such a key is parsed by OpenSSL.
        """
        if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS:
            return self.key_of(certificate)
        text = self._key_blocks[_spki(certificate.public_key())]
        return crypto.load_privatekey(crypto.FILETYPE_PEM, text)

    def chain_of(self, certificate: x509.Certificate) -> list[Any]:
        """Return the chain of ``certificate``: its issuer, the issuer's issuer and so on."""
        chain: list[Any] = []
        while (issuer := self._issuer_of((chain or [certificate])[-1])) is not None:
            if issuer in (certificate, *chain):
                break
            chain.append(issuer)
        return chain

    def _issuer_of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """Return the issuer, found by name and signature: several may have one name."""
        with suppress(*_PARSE_ERRORS):
            for each in self._by_subject.get(certificate.issuer, ()):
                with suppress(InvalidSignature, *_PARSE_ERRORS):
                    certificate.verify_directly_issued_by(each)
                    return each
        return None

    def context(self, leaf: x509.Certificate, parameters: str = "") -> SSL.Context:
        """Return the context of a server with this certificate.

        :param parameters: file with Diffie-Hellman parameters; ``""`` = none.
        :raises OSError: that file cannot be read.
        :raises CertificateError: OpenSSL refuses the certificate, its key or that file.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_options(_OPTIONS)
        context.set_cipher_list(_CIPHERS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"echosvc")  # without it, clients with certificates cannot resume
        with self.errors_name_file(leaf):
            context.use_certificate(leaf)
            for each in self.chain_of(leaf):
                context.add_extra_chain_cert(each)
            with allow_openssl_keys():
                context.use_privatekey(self.openssl_key_of(leaf))
            context.check_privatekey()
        if parameters:
            Path(parameters).open().close()  # OpenSSL's error does not name the file
            with _errors_name_file(parameters):
                context.load_tmp_dh(os.fsencode(parameters))
        return context

    def check_pair(self, leaf: x509.Certificate) -> bool:
        """Check that OpenSSL can use a certificate with its key.

        :return: whether TLS 1.2 can use them too.
        :raises CertificateError: no version can.
        """
        context = self.context(leaf)
        with self.errors_name_file(leaf):
            try_handshake(context)
        try:
            try_handshake(context, SSL.TLS1_2_VERSION)
        except SSL.Error:  # some curves are for TLS 1.3 only
            return False
        return True


@contextmanager
def allow_openssl_keys() -> Iterator[None]:
    """Suppress pyOpenSSL's warning about keys that OpenSSL has parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _parse(kind: bytes, block: bytes) -> Any:
    """Return a certificate or a private key; ``None`` for any other kind of block.

    The library warns of what its later versions will refuse, such as a serial number of 0.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == b"CERTIFICATE":
            return x509.load_pem_x509_certificate(block)
        if kind.endswith(b"PRIVATE KEY"):
            return serialization.load_pem_private_key(block, None)
    return None


def pem_files(directory: str) -> list[Path]:
    """Return the ``*.pem`` files in a directory and its subdirectories, sorted.

    :raises CertificateError: there are more than :data:`MAX_DIRECTORIES` directories.
    """
    found: list[Path] = []
    for count, (where, _, names) in enumerate(os.walk(directory)):
        if count >= MAX_DIRECTORIES:
            why = f"it has more than {MAX_DIRECTORIES} directories below it"
            raise CertificateError(f"{directory}: {why}: name one that holds certificates")
        found += [Path(where, name) for name in names if name.endswith(".pem")]
    return sorted(found)


def _spki(public: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(public.public_bytes(serialization.Encoding.DER, form))


@contextmanager
def _errors_name_file(path: str) -> Iterator[None]:
    try:
        yield
    except CertificateError:
        raise
    except SSL.Error as error:
        why = "".join(f": {each}" for each in (openssl_reasons(error) or [])[-1:])
        raise CertificateError(f"{path}: OpenSSL cannot use it{why}") from None
    except _PARSE_ERRORS as error:
        raise CertificateError(f"{path}: {str(error).split('. ')[0]}") from None


def read_pair(bundle: PemBundle, key: str, certificate: str, chain: str) -> x509.Certificate:
    """Read a certificate, its key and its chain; return the certificate.

    :raises OSError: a file cannot be read.
    :raises CertificateError: a file lacks something or cannot be used.
    """
    for path in filter(None, (certificate or key, chain)):
        before = len(bundle.certificates)
        bundle.read(path)
        if len(bundle.certificates) == before:
            raise CertificateError(f"{path}: no certificate in it")
    if certificate:
        bundle.read(key)
    if bundle.has_no_key:
        raise CertificateError(f"{key}: no private key in it")
    leaf = bundle.certificates[0]
    if bundle.key_of(leaf) is None:
        raise CertificateError(f"{key}: the private key is not the certificate's")
    return leaf
