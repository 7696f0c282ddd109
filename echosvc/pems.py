"""PEM files: certificates, their keys and their chains."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from echosvc.report import log

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION


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


def read_pair(key: str, certificate: str, chain: str) -> tuple[Pems, x509.Certificate]:
    """Read a certificate, its key and its chain.

    :raises OSError: a file cannot be read.
    :raises CertificateError: something is missing in them, or does not fit.
    """
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
