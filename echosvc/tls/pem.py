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


#: So many directories are looked through for ``*.pem`` files.
MOST_DIRECTORIES = 10_000


class CertificateError(ReloadError, ValueError):
    """A file does not hold what TLS needs; says which and why in one line."""


#: What parsers raise where they do not understand, and OpenSSL where it does not like it.
_FAULTS = (ValueError, TypeError, UnsupportedAlgorithm, SSL.Error)


@dataclass
class Pems:
    """What PEM files hold.

    :ivar known: objects by their text, of an earlier reading; to read a key of RSA again
        would take 0.05 to 0.3 seconds.
    :ivar texts: the same of this reading.
    :ivar certificates: in the files' order.
    """

    known: dict[bytes, Any] = field(default_factory=dict)
    texts: dict[bytes, Any] = field(default_factory=dict)
    certificates: list[x509.Certificate] = field(default_factory=list)
    _keys: dict[bytes, Any] = field(default_factory=dict)  # by their public halves
    _key_texts: dict[bytes, bytes] = field(default_factory=dict)  # by the same
    _files: dict[x509.Certificate, str] = field(default_factory=dict)
    _named: dict[x509.Name, list[x509.Certificate]] = field(default_factory=dict)

    def read(self, path: str | Path) -> None:
        """Add what one file holds.

        :raises OSError: it cannot be read.
        :raises CertificateError: something in it cannot be understood.
        """
        for block in _BLOCK.finditer(Path(path).read_bytes()):
            with _blamed(str(path)):
                thing = self.known.get(block[0]) or _parsed(block[1], block[0])
                self.texts[block[0]] = thing
                self._add(thing, block[0], str(path))

    def _add(self, thing: Any, text: bytes, path: str) -> None:
        if isinstance(thing, x509.Certificate):
            self.certificates.append(thing)
            self._files.setdefault(thing, path)
            with suppress(*_FAULTS):  # OpenSSL takes names that are not as they should be
                self._named.setdefault(thing.subject, []).append(thing)
        elif thing is not None:
            public = _spki(thing.public_key())
            self._keys.setdefault(public, thing)
            self._key_texts.setdefault(public, text)

    def name_of(self, certificate: x509.Certificate) -> str:
        """Give its subject, or its file where that cannot be read."""
        try:
            return certificate.subject.rfc4514_string()
        except _FAULTS:
            return self._files[certificate]

    @property
    def keyless(self) -> bool:
        """Whether there is no private key at all."""
        return not self._keys

    def blamed(self, certificate: x509.Certificate) -> AbstractContextManager[None]:
        """Turn what is wrong with ``certificate`` into an error that names its file."""
        return _blamed(self._files[certificate])

    def key_of(self, certificate: x509.Certificate) -> Any:
        """Give the private key of ``certificate``; ``None`` if it is not there."""
        with suppress(*_FAULTS):  # an authority's may be of a kind that is not known
            return self._keys.get(_spki(certificate.public_key()))
        return None

    def openssl_key_of(self, certificate: x509.Certificate) -> Any:
        """Give its private key as pyOpenSSL is to get it, which may be ``None``.

        ``cryptography`` reads an RSASSA-PSS key as one of plain RSA, which does not go with
        the certificate: OpenSSL itself has to read that.
        """
        if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS:
            return self.key_of(certificate)
        text = self._key_texts[_spki(certificate.public_key())]
        return crypto.load_privatekey(crypto.FILETYPE_PEM, text)

    def chain_of(self, certificate: x509.Certificate) -> list[Any]:
        """Give the certificates that lead from ``certificate`` to its root."""
        chain: list[Any] = []
        while (issuer := self._issuer((chain or [certificate])[-1])) is not None:
            if issuer in (certificate, *chain):
                break
            chain.append(issuer)
        return chain

    def _issuer(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """Who signed it, of those that are here: a name alone may be another's, too."""
        with suppress(*_FAULTS):
            for each in self._named.get(certificate.issuer, ()):
                with suppress(InvalidSignature, *_FAULTS):
                    certificate.verify_directly_issued_by(each)
                    return each
        return None

    def context(self, leaf: x509.Certificate, parameters: str = "") -> SSL.Context:
        """Give the context of a server with this certificate.

        :param parameters: file with Diffie-Hellman parameters; ``""`` = none.
        :raises OSError: it cannot be read.
        :raises CertificateError: OpenSSL refuses the certificate, its key or that file.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_options(_OPTIONS)
        context.set_cipher_list(_CIPHERS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"echosvc")  # or clients with certificates cannot resume
        with self.blamed(leaf):
            context.use_certificate(leaf)
            for each in self.chain_of(leaf):
                context.add_extra_chain_cert(each)
            with keys_of_openssl():
                context.use_privatekey(self.openssl_key_of(leaf))
            context.check_privatekey()
        if parameters:
            Path(parameters).open().close()  # OpenSSL's error does not name the file
            with _blamed(parameters):
                context.load_tmp_dh(os.fsencode(parameters))
        return context

    def try_pair(self, leaf: x509.Certificate) -> bool:
        """Try whether OpenSSL can use a certificate with its key.

        :return: whether it can by TLS 1.2, too.
        :raises CertificateError: it cannot.
        """
        context = self.context(leaf)
        with self.blamed(leaf):
            try_handshake(context)
        try:
            try_handshake(context, SSL.TLS1_2_VERSION)
        except SSL.Error:  # some curves are of TLS 1.3 alone
            return False
        return True


@contextmanager
def keys_of_openssl() -> Iterator[None]:
    """Let pyOpenSSL take a key that OpenSSL has read; it would rather have others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _parsed(kind: bytes, block: bytes) -> Any:
    """Give a certificate or a private key; ``None`` for all else.

    The library warns of what a later version of it will refuse, such as a serial number 0.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == b"CERTIFICATE":
            return x509.load_pem_x509_certificate(block)
        if kind.endswith(b"PRIVATE KEY"):
            return serialization.load_pem_private_key(block, None)
    return None


def pem_files(directory: str) -> list[Path]:
    """Return the ``*.pem`` files in a directory and in those below it, in order.

    :raises CertificateError: there are more than :data:`MOST_DIRECTORIES` of these.
    """
    found: list[Path] = []
    for count, (where, _, names) in enumerate(os.walk(directory)):
        if count >= MOST_DIRECTORIES:
            why = f"it has more than {MOST_DIRECTORIES} directories below it"
            raise CertificateError(f"{directory}: {why}: name one that holds certificates")
        found += [Path(where, name) for name in names if name.endswith(".pem")]
    return sorted(found)


def _spki(public: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(public.public_bytes(serialization.Encoding.DER, form))


@contextmanager
def _blamed(path: str) -> Iterator[None]:
    try:
        yield
    except CertificateError:
        raise
    except SSL.Error as error:
        why = "".join(f": {each}" for each in (openssl_reasons(error) or [])[-1:])
        raise CertificateError(f"{path}: OpenSSL cannot use it{why}") from None
    except _FAULTS as error:
        raise CertificateError(f"{path}: {str(error).split('. ')[0]}") from None


def read_pair(pems: Pems, key: str, certificate: str, chain: str) -> x509.Certificate:
    """Read a certificate, its key and its chain; give the certificate.

    :raises OSError: a file cannot be read.
    :raises CertificateError: something is missing in them, or does not fit.
    """
    for path in filter(None, (certificate or key, chain)):
        before = len(pems.certificates)
        pems.read(path)
        if len(pems.certificates) == before:
            raise CertificateError(f"{path}: no certificate in it")
    if certificate:
        pems.read(key)
    if pems.keyless:
        raise CertificateError(f"{key}: no private key in it")
    leaf = pems.certificates[0]
    if pems.key_of(leaf) is None:
        raise CertificateError(f"{key}: the private key is not the certificate's")
    return leaf
