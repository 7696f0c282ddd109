"""From certificate files to OpenSSL contexts, for servers and clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
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

from echosvc._log import log
from echosvc.net.files import absolute
from echosvc.net.hosts import is_address, server_name
from echosvc.tls.identity import ServerIdentity, VerifyingClientContext
from echosvc.tls.pem import CertificateError, PemBundle, allow_openssl_keys, pem_files, read_pair

#: The TLS versions that may be the lowest one accepted.
TLS_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@dataclass(frozen=True)
class ClientAuthPolicy:
    """What a server requires of its TLS clients.

    :ivar min_version: the lowest version accepted, a key of :data:`TLS_VERSIONS`.
    :ivar client_ca: file with CA certificates, one of which must have issued the client's
        certificate; ``""`` = no client certificate is requested.
    """

    min_version: str = "1.2"
    client_ca: str = ""

    def apply_to(self, context: SSL.Context) -> None:
        """Configure a context to require this of its clients.

        :raises OSError: the file cannot be read.
        :raises CertificateError: the file holds no certificate.
        """
        context.set_min_proto_version(TLS_VERSIONS[self.min_version])
        if not self.client_ca:
            return
        store = context.get_cert_store()
        if store is not None:
            # Trust a listed intermediate CA even if its root is not listed.
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for authority in _load_authorities(self.client_ca):
            if store is not None:
                store.add_cert(crypto.X509.from_cryptography(authority))
            context.add_client_ca(authority)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


#: A server's certificates and their contexts; the first is for clients without a server name.
_Contexts = dict[x509.Certificate, SSL.Context]


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLSContext:
    """A server's TLS configuration, which can be reloaded.

    Twisted's ``CertificateOptions`` refuses every client that offers a protocol by ALPN, as
    browsers and curl do. This one ignores the offer and continues without ALPN.
    """

    def __init__(self, load: Callable[[PemBundle], _Contexts]) -> None:
        self._load = load
        self._bundle = PemBundle()
        self._policy = ClientAuthPolicy()
        self._checked: frozenset[x509.Certificate] = frozenset()
        self.reload()

    def set_client_auth(self, policy: ClientAuthPolicy) -> None:
        """Apply a policy to every client that connects from now on.

        :raises OSError: a file cannot be read.
        :raises CertificateError: a file cannot be used.
        """
        self._read(replace(policy, client_ca=_absolute(policy.client_ca)))

    def reload(self) -> None:
        """Read all files again, for new connections. After an error the old ones stay in use.

        :raises OSError: a file cannot be read.
        :raises CertificateError: a file cannot be used.
        """
        for leaf in self._read(self._policy):
            if leaf.not_valid_after_utc < datetime.now(timezone.utc):
                log.warn("a certificate has expired: {name}", name=self._bundle.subject_of(leaf))

    def _read(self, policy: ClientAuthPolicy) -> _Contexts:
        bundle = PemBundle(self._bundle.parsed)
        contexts = self._load(bundle)
        for context in contexts.values():
            policy.apply_to(context)
        self._check_pairs(bundle, contexts)
        bundle.cache = {}  # keep no key that was removed
        self._bundle, self._policy = bundle, policy
        self._context = next(iter(contexts.values()))
        return contexts

    def _check_pairs(self, bundle: PemBundle, leaves: Iterable[x509.Certificate]) -> None:
        """Check each new certificate with its key by a handshake in memory."""
        for leaf in leaves:
            if leaf not in self._checked and not bundle.check_pair(leaf):
                log.warn(
                    "no TLS 1.2 client can be served with {name}", name=bundle.subject_of(leaf)
                )
        self._checked = frozenset(leaves)

    def getContext(self) -> SSL.Context:
        """Return the context for a client that sends no server name."""
        return self._context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Return OpenSSL's side of one connection."""
        return SSL.Connection(self._context)


def server_certificate(
    key: str, certificate: str = "", chain: str = "", parameters: str = ""
) -> ServerTLSContext:
    """Return the TLS configuration of a server with one certificate.

    :param key: file with the private key.
    :param certificate: file with the certificate, and its chain if any; ``""`` = the file of
        the key.
    :param chain: file with more of the chain; ``""`` = none.
    :param parameters: file with Diffie-Hellman parameters, for TLS 1.2; ``""`` = none.
    :raises OSError: a file cannot be read.
    :raises CertificateError: a file lacks something or cannot be used.
    """
    key, certificate = _absolute(key), _absolute(certificate)
    chain, parameters = _absolute(chain), _absolute(parameters)

    def load(bundle: PemBundle) -> _Contexts:
        leaf = read_pair(bundle, key, certificate, chain)
        return {leaf: bundle.context(leaf, parameters)}

    return ServerTLSContext(load)


def sni_contexts(directory: str) -> ServerTLSContext:
    """Return the TLS configuration of a server that chooses its certificate by SNI.

    A client that sends no server name, or an unknown one, gets the first certificate in the
    order of the files' names.

    :param directory: holds ``*.pem`` files with certificates and keys.
    :raises OSError: it cannot be read.
    :raises CertificateError: it holds no certificate with its key.
    """
    where = _absolute(directory)
    return ServerTLSContext(lambda bundle: _load_by_name(bundle, where))


def _absolute(path: str) -> str:
    """Return a path for later reads: a daemon changes its working directory meanwhile."""
    return absolute(path) if path else ""


def _load_by_name(bundle: PemBundle, directory: str) -> _Contexts:
    os.scandir(directory).close()
    for path in pem_files(directory):
        bundle.read(path)
    leaves = [each for each in bundle.certificates if bundle.key_of(each) is not None]
    if not leaves:
        raise CertificateError(f"{directory}: no *.pem file with a certificate and its key")
    contexts = {leaf: bundle.context(leaf) for leaf in dict.fromkeys(leaves)}
    by_name: dict[str, SSL.Context] = {}
    # Of two certificates for one name, use the one that expires later.
    for leaf in sorted(contexts, key=lambda each: each.not_valid_after_utc):
        with bundle.errors_name_file(leaf):
            by_name.update(dict.fromkeys(_names(leaf), contexts[leaf]))

    def choose(connection: SSL.Connection) -> None:
        asked = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        context = by_name.get(asked) or by_name.get(f"*.{asked.partition('.')[2]}")
        if context is not None:
            connection.set_context(context)

    contexts[leaves[0]].set_tlsext_servername_callback(choose)
    return contexts


def _names(certificate: x509.Certificate) -> Iterable[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]


@dataclass(frozen=True)
class ClientTLS:
    """A client's TLS settings.

    :ivar certificate: file with the client's certificate, and its key unless ``key`` names
        another file; ``""`` = none.
    :ivar roots: file, or directory of ``*.pem`` files, with the CA certificates to trust;
        ``""`` = the system's.
    :ivar server_name: the name to send (SNI) and to verify; ``""`` = the host.
    :ivar insecure: verify nothing: any server is accepted.
    """

    certificate: str = ""
    key: str = ""
    roots: str = ""
    server_name: str = ""
    insecure: bool = False

    def creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        """Return what makes OpenSSL's side of connections to this host.

        :raises OSError: a file cannot be read.
        :raises CertificateError: a file lacks something or cannot be used.
        """
        name = server_name(self.server_name or host)
        if self.insecure:
            return InsecureClientContext(name, _client_certificate(self.certificate, self.key))
        return client_options(name, self.certificate, self.key, self.roots)


@implementer(IOpenSSLClientConnectionCreator)
class InsecureClientContext:
    """Makes client connections that verify nothing.

    :param host: the server name to send (SNI); for an address none is sent.
    :param options: arguments of Twisted's ``CertificateOptions``.
    :raises OpenSSL.SSL.Error: OpenSSL refuses them.
    """

    def __init__(self, host: str, options: dict[str, Any]) -> None:
        with allow_openssl_keys():
            self._context = ssl.CertificateOptions(**options).getContext()
        name = server_name(host)
        self._name = b"" if is_address(name) else name.encode("ascii")

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Return OpenSSL's side of one connection."""
        connection = SSL.Connection(self._context)
        if self._name:
            connection.set_tlsext_host_name(self._name)
        return connection


def client_options(
    host: str, certificate: str = "", key: str = "", roots: str = ""
) -> IOpenSSLClientConnectionCreator:
    """Return what makes client connections that verify ``host``; files as :class:`ClientTLS`.

    :raises OSError: a file cannot be read.
    :raises CertificateError: a file lacks something or cannot be used, or no certificate can be
        for this host.
    """
    options = _client_certificate(certificate, key)
    options["trustRoot"] = (
        ssl.trustRootFromCertificates(_load_for_twisted(roots)) if roots else ssl.platformTrust()
    )
    try:
        identity = ServerIdentity(host)
    except ValueError as error:
        raise CertificateError(str(error)) from None
    return VerifyingClientContext(InsecureClientContext(host, options), identity)


def _client_certificate(certificate: str, key: str) -> dict[str, Any]:
    """Return a client's certificate as arguments of Twisted's ``CertificateOptions``."""
    if not (certificate or key):
        return {}
    bundle = PemBundle()
    leaf = read_pair(bundle, key or certificate, certificate, "")
    bundle.check_pair(leaf)  # a client signs as a server does
    # pyOpenSSL accepts cryptography's objects, although Twisted's annotations differ.
    own = {"certificate": leaf, "privateKey": bundle.openssl_key_of(leaf)}
    return {**own, "extraCertChain": bundle.chain_of(leaf)}


def _load_authorities(path: str) -> list[x509.Certificate]:
    bundle = PemBundle()
    for each in pem_files(path) if Path(path).is_dir() else [path]:
        bundle.read(each)
    if not bundle.certificates:
        raise CertificateError(f"{path}: no certificate in it")
    return bundle.certificates


def _load_for_twisted(path: str) -> list[ssl.Certificate]:
    return [
        ssl.Certificate(crypto.X509.from_cryptography(each)) for each in _load_authorities(path)
    ]
