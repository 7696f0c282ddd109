"""Certificates and keys: PEM files to what TLS is set up with."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from zope.interface import implementer

from echosvc.report import log

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)


_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION
#: For TLS 1.2: forward secrecy and authenticated encryption, nothing else.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"


class CertificateError(ValueError):
    """A file does not hold what TLS needs; says which and why in one line."""


@dataclass
class Pems:
    """What PEM files hold.

    :ivar certificates: in the files' order.
    :ivar keys: private keys.
    """

    certificates: list[x509.Certificate] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)

    def read(self, path: str | Path) -> None:
        """Add what one file holds.

        :raises OSError: it cannot be read.
        :raises CertificateError: something in it cannot be understood.
        """
        for block in _BLOCK.finditer(Path(path).read_bytes()):
            try:
                self._add(block[1], block[0])
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                why = str(error).split(". ")[0]
                raise CertificateError(f"{path}: {why}") from None

    def _add(self, kind: bytes, block: bytes) -> None:
        if kind == b"CERTIFICATE":
            self.certificates.append(x509.load_pem_x509_certificate(block))
        elif kind.endswith(b"PRIVATE KEY"):
            self.keys.append(serialization.load_pem_private_key(block, None))

    def key_of(self, certificate: x509.Certificate) -> Any:
        """Give the private key of ``certificate``; ``None`` if it is not there."""
        public = certificate.public_key()
        return next((key for key in self.keys if key.public_key() == public), None)

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
        for each in self.certificates:
            with suppress(ValueError, TypeError, InvalidSignature):
                certificate.verify_directly_issued_by(each)
                return each
        return None

    def context(self, leaf: x509.Certificate, parameters: str = "") -> SSL.Context:
        """Give the context of a server with this certificate.

        :param parameters: file with Diffie-Hellman parameters; ``""`` = none.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(_OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"echosvc")  # or clients with certificates cannot resume
        context.use_certificate(leaf)
        for each in self.chain_of(leaf):
            context.add_extra_chain_cert(each)
        context.use_privatekey(self.key_of(leaf))
        if parameters:
            context.load_tmp_dh(os.fsencode(parameters))
        if leaf.not_valid_after_utc < datetime.now(timezone.utc):
            log.warn("a certificate has expired: {name}", name=leaf.subject.rfc4514_string())
        return context


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """What a server speaks TLS with.

    Twisted's ``CertificateOptions`` refuses every client that offers a protocol by
    ALPN, as browsers and curl do. This has none to offer, and goes on without.
    """

    def __init__(self, context: SSL.Context) -> None:
        self._context = context
        context.set_cipher_list(_CIPHERS)

    def getContext(self) -> SSL.Context:
        """The context of a client that asks for no name."""
        return self._context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Make OpenSSL's side of one connection."""
        return SSL.Connection(self._context)


def server_certificate(
    key: str, certificate: str = "", chain: str = "", parameters: str = ""
) -> ServerTLS:
    """Read one server's certificate.

    :param key: file with the private key.
    :param certificate: file with the certificate and maybe its chain; ``""`` = the
        same file.
    :param chain: file with more of the chain.
    :param parameters: file with Diffie-Hellman parameters, for TLS 1.2; ``""`` = none.
    :raises OSError: a file cannot be read.
    :raises CertificateError: something is missing in them, or does not fit.
    """
    pems, leaf = _pair(key, certificate, chain)
    try:
        return ServerTLS(pems.context(leaf, parameters))
    except SSL.Error:
        Path(parameters or key).open().close()  # OpenSSL's error does not name the file
        raise CertificateError(f"{parameters or key}: OpenSSL cannot use it") from None


def _pair(key: str, certificate: str, chain: str) -> tuple[Pems, x509.Certificate]:
    """Read a certificate, its key and its chain."""
    pems = Pems()
    for path in filter(None, (certificate or key, chain)):
        before = len(pems.certificates)
        pems.read(path)
        if len(pems.certificates) == before:
            raise CertificateError(f"{path}: no certificate in it")
    if certificate:
        pems.read(key)
    if not pems.keys:
        raise CertificateError(f"{key}: no private key in it")
    leaf = pems.certificates[0]
    if pems.key_of(leaf) is None:
        raise CertificateError(f"{key}: the private key is not the certificate's")
    return pems, leaf


def certificates_by_name(directory: str) -> ServerTLS:
    """Read a directory of ``*.pem`` files; clients get the certificate they ask for.

    A client that asks for no name, or for one that is not there, gets the first
    certificate in the order of the files' names.

    :raises OSError: it cannot be read.
    :raises CertificateError: no certificate with its key is in it.
    """
    pems = Pems()
    os.scandir(directory).close()
    for path in sorted(Path(directory).rglob("*.pem")):
        pems.read(path)
    leaves = [each for each in pems.certificates if pems.key_of(each) is not None]
    if not leaves:
        raise CertificateError(f"{directory}: no *.pem file with a certificate and its key")
    contexts = {leaf: pems.context(leaf) for leaf in leaves}
    by_name: dict[str, SSL.Context] = {}
    # Of two for one name, the one that is valid for longer.
    for leaf in sorted(leaves, key=lambda each: each.not_valid_after_utc):
        by_name.update(dict.fromkeys(_names(leaf), contexts[leaf]))

    def choose(connection: SSL.Connection) -> None:
        asked = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        context = by_name.get(asked) or by_name.get(f"*.{asked.partition('.')[2]}")
        if context is not None:
            connection.set_context(context)

    first = contexts[leaves[0]]
    first.set_tlsext_servername_callback(choose)
    return ServerTLS(first)


def _names(certificate: x509.Certificate) -> Iterable[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]


def client_options(
    host: str, certificate: str = "", key: str = "", roots: str = ""
) -> IOpenSSLClientConnectionCreator:
    """Give what a client that verifies ``host`` is set up with.

    :param certificate: file with the client's own certificate, and its key unless
        ``key`` names another file; ``""`` = none.
    :param roots: file, or directory of ``*.pem`` files, with the authorities to trust;
        ``""`` = the system's.
    :raises OSError: a file cannot be read.
    :raises CertificateError: something is missing in them.
    """
    own: dict[str, Any] = {}
    if certificate or key:
        pems, leaf = _pair(key or certificate, certificate, "")
        # pyOpenSSL takes cryptography's objects, whatever Twisted's annotations say.
        own = {"certificate": leaf, "privateKey": pems.key_of(leaf)}
        own["extraCertChain"] = pems.chain_of(leaf)
    trust = None if not roots else ssl.trustRootFromCertificates(_authorities(roots))
    return ssl.optionsForClientTLS(host, trustRoot=trust, extraCertificateOptions=own)


def _authorities(path: str) -> list[ssl.Certificate]:
    pems = Pems()
    for each in sorted(Path(path).rglob("*.pem")) if Path(path).is_dir() else [path]:
        pems.read(each)
    if not pems.certificates:
        raise CertificateError(f"{path}: no certificate in it")
    return [ssl.Certificate(crypto.X509.from_cryptography(each)) for each in pems.certificates]
