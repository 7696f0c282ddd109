"""Certificates and keys: PEM files to what TLS is set up with."""

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
from echosvc.tls.identity import Identity, Verifying
from echosvc.tls.pem import CertificateError, Pems, keys_of_openssl, pem_files, read_pair

#: Versions of TLS that may be asked for as the least.
TLS_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


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
        if store is not None:
            # Whom the file names is trusted, though it be certified by one that it does not.
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for authority in _authorities(self.client_ca):
            if store is not None:
                store.add_cert(crypto.X509.from_cryptography(authority))
            context.add_client_ca(authority)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


#: What a server shows, and with what: the first to clients that ask for no name.
_Contexts = dict[x509.Certificate, SSL.Context]


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """What a server speaks TLS with.

    Twisted's ``CertificateOptions`` refuses every client that offers a protocol by
    ALPN, as browsers and curl do. This has none to offer, and goes on without.
    """

    def __init__(self, load: Callable[[Pems], _Contexts]) -> None:
        self._load = load
        self._pems = Pems()
        self._demands = Demands()
        self._tried: frozenset[x509.Certificate] = frozenset()
        self.reload()

    def demand(self, demands: Demands) -> None:
        """Demand it of every client that connects from now on.

        :raises OSError: a file cannot be read.
        :raises CertificateError: something in one does not fit.
        """
        self._read(replace(demands, client_ca=_absolute(demands.client_ca)))

    def reload(self) -> None:
        """Read all files again, for connections that come; where one is wrong, keep the old.

        :raises OSError: a file cannot be read.
        :raises CertificateError: something in one does not fit.
        """
        for leaf in self._read(self._demands):
            if leaf.not_valid_after_utc < datetime.now(timezone.utc):
                log.warn("a certificate has expired: {name}", name=self._pems.name_of(leaf))

    def _read(self, demands: Demands) -> _Contexts:
        pems = Pems(self._pems.texts)
        contexts = self._load(pems)
        for context in contexts.values():
            demands.put_on(context)
        self._try(pems, contexts)
        pems.known = {}  # a key that is not there any more is not kept
        self._pems, self._demands = pems, demands
        self._context = next(iter(contexts.values()))
        return contexts

    def _try(self, pems: Pems, leaves: Iterable[x509.Certificate]) -> None:
        """Try each certificate that is new with its key, before a client does."""
        for leaf in leaves:
            if leaf not in self._tried and not pems.try_pair(leaf):
                log.warn("no client of TLS 1.2 can be served with {name}", name=pems.name_of(leaf))
        self._tried = frozenset(leaves)

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
    key, certificate = _absolute(key), _absolute(certificate)
    chain, parameters = _absolute(chain), _absolute(parameters)

    def load(pems: Pems) -> _Contexts:
        leaf = read_pair(pems, key, certificate, chain)
        return {leaf: pems.context(leaf, parameters)}

    return ServerTLS(load)


def certificates_by_name(directory: str) -> ServerTLS:
    """Read a directory of ``*.pem`` files; clients get the certificate they ask for.

    A client that asks for no name, or for one that is not there, gets the first
    certificate in the order of the files' names.

    :raises OSError: it cannot be read.
    :raises CertificateError: no certificate with its key is in it.
    """
    where = _absolute(directory)
    return ServerTLS(lambda pems: _by_name(pems, where))


def _absolute(path: str) -> str:
    """Give a path that is read again later: a daemon changes its directory meanwhile."""
    return absolute(path) if path else ""


def _by_name(pems: Pems, directory: str) -> _Contexts:
    os.scandir(directory).close()
    for path in pem_files(directory):
        pems.read(path)
    leaves = [each for each in pems.certificates if pems.key_of(each) is not None]
    if not leaves:
        raise CertificateError(f"{directory}: no *.pem file with a certificate and its key")
    contexts = {leaf: pems.context(leaf) for leaf in dict.fromkeys(leaves)}
    by_name: dict[str, SSL.Context] = {}
    # Of two for one name, the one that is valid for longer.
    for leaf in sorted(contexts, key=lambda each: each.not_valid_after_utc):
        with pems.blamed(leaf):
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
    """How a client speaks TLS.

    :ivar certificate: file with the client's own certificate, and its key unless
        ``key`` names another file; ``""`` = none.
    :ivar roots: file, or directory of ``*.pem`` files, with the authorities to trust;
        ``""`` = the system's.
    :ivar server_name: whom to ask for and to verify, where that is not the host.
    :ivar insecure: verify nothing: whoever answers is believed.
    """

    certificate: str = ""
    key: str = ""
    roots: str = ""
    server_name: str = ""
    insecure: bool = False

    def creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        """Give what a client of this host is set up with.

        :raises OSError: a file cannot be read.
        :raises CertificateError: something is missing in them.
        """
        name = server_name(self.server_name or host)
        if self.insecure:
            return Unverified(name, _own(self.certificate, self.key))
        return client_options(name, self.certificate, self.key, self.roots)


@implementer(IOpenSSLClientConnectionCreator)
class Unverified:
    """What a client speaks TLS with that believes whoever answers.

    :param host: whom to ask for (SNI); an address cannot be asked for.
    :param options: of Twisted's ``CertificateOptions``.
    :raises OpenSSL.SSL.Error: OpenSSL does not take them.
    """

    def __init__(self, host: str, options: dict[str, Any]) -> None:
        with keys_of_openssl():
            self._context = ssl.CertificateOptions(**options).getContext()
        name = server_name(host)
        self._name = b"" if is_address(name) else name.encode("ascii")

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: ARG002
        """Make OpenSSL's side of one connection."""
        connection = SSL.Connection(self._context)
        if self._name:
            connection.set_tlsext_host_name(self._name)
        return connection


def client_options(
    host: str, certificate: str = "", key: str = "", roots: str = ""
) -> IOpenSSLClientConnectionCreator:
    """Give what a client that verifies ``host`` is set up with; files as :class:`ClientTLS`.

    :raises OSError: a file cannot be read.
    :raises CertificateError: something is missing in them, or no certificate can be for
        this host.
    """
    options = _own(certificate, key)
    options["trustRoot"] = (
        ssl.trustRootFromCertificates(_for_twisted(roots)) if roots else ssl.platformTrust()
    )
    try:
        identity = Identity(host)
    except ValueError as error:
        raise CertificateError(str(error)) from None
    return Verifying(Unverified(host, options), identity)


def _own(certificate: str, key: str) -> dict[str, Any]:
    """Give a client's certificate as Twisted's ``CertificateOptions`` take it."""
    if not (certificate or key):
        return {}
    pems = Pems()
    leaf = read_pair(pems, key or certificate, certificate, "")
    pems.try_pair(leaf)  # a client signs as a server does
    # pyOpenSSL takes cryptography's objects, whatever Twisted's annotations say.
    own = {"certificate": leaf, "privateKey": pems.openssl_key_of(leaf)}
    return {**own, "extraCertChain": pems.chain_of(leaf)}


def _authorities(path: str) -> list[x509.Certificate]:
    pems = Pems()
    for each in pem_files(path) if Path(path).is_dir() else [path]:
        pems.read(each)
    if not pems.certificates:
        raise CertificateError(f"{path}: no certificate in it")
    return pems.certificates


def _for_twisted(path: str) -> list[ssl.Certificate]:
    return [ssl.Certificate(crypto.X509.from_cryptography(each)) for each in _authorities(path)]
