"""Certificates and keys: PEM files to what TLS is set up with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from zope.interface import implementer

from echosvc.pems import CertificateError, Pems, read_pair

#: Versions of TLS that may be asked for as the least.
TLS_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


#: For TLS 1.2: forward secrecy and authenticated encryption, nothing else.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"


@dataclass(frozen=True)
class Demands:
    """What a server demands of its TLS clients.

    :ivar least_version: a key of :data:`TLS_VERSIONS`.
    :ivar client_ca: file with the authorities, one of which must have signed the client's
        certificate; ``""`` = none is asked for.
    """

    least_version: str = "1.2"
    client_ca: str = ""

    def put_on(self, context: SSL.Context) -> None:
        """Demand it of the clients of a context.

        :raises OSError: the file cannot be read.
        :raises CertificateError: no certificate is in it.
        """
        context.set_min_proto_version(TLS_VERSIONS[self.least_version])
        if not self.client_ca:
            return
        store = context.get_cert_store()
        for authority in _authorities(self.client_ca):
            if store is not None:
                store.add_cert(authority.original)
            context.add_client_ca(authority.original)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


#: Reads the files anew; gives the context of a client that asks for no name, and all others.
_Load = Callable[[], tuple[SSL.Context, Iterable[SSL.Context]]]


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """What a server speaks TLS with.

    Twisted's ``CertificateOptions`` refuses every client that offers a protocol by
    ALPN, as browsers and curl do. This has none to offer, and goes on without.
    """

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._demands = Demands()
        self._context = self._loaded(self._demands)

    def demand(self, demands: Demands) -> None:
        """Demand it of every client that connects from now on.

        :raises OSError: a file cannot be read.
        :raises CertificateError: something in one does not fit.
        """
        self._context = self._loaded(demands)
        self._demands = demands

    def reload(self) -> None:
        """Read all files again, for connections that come; where one is wrong, keep the old.

        :raises OSError: a file cannot be read.
        :raises CertificateError: something in one does not fit.
        """
        self._context = self._loaded(self._demands)

    def _loaded(self, demands: Demands) -> SSL.Context:
        first, others = self._load()
        for context in {id(each): each for each in (first, *others)}.values():
            context.set_cipher_list(_CIPHERS)
            demands.put_on(context)
        return first

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

    def load() -> tuple[SSL.Context, Iterable[SSL.Context]]:
        pems, leaf = read_pair(key, certificate, chain)
        try:
            return pems.context(leaf, parameters), ()
        except SSL.Error:
            Path(parameters or key).open().close()  # OpenSSL's error does not name the file
            raise CertificateError(f"{parameters or key}: OpenSSL cannot use it") from None

    return ServerTLS(load)


def certificates_by_name(directory: str) -> ServerTLS:
    """Read a directory of ``*.pem`` files; clients get the certificate they ask for.

    A client that asks for no name, or for one that is not there, gets the first
    certificate in the order of the files' names.

    :raises OSError: it cannot be read.
    :raises CertificateError: no certificate with its key is in it.
    """
    return ServerTLS(lambda: _by_name(directory))


def _by_name(directory: str) -> tuple[SSL.Context, Iterable[SSL.Context]]:
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
    return first, contexts.values()


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
        pems, leaf = read_pair(key or certificate, certificate, "")
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
