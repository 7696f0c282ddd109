"""Verification of a server: the chain of its certificate, and the names in it.

OpenSSL verifies the chain and calls back for each certificate. Twisted's callback accepts a
certificate when comparing its names raises anything but a ``VerificationError``, as happens if
it has no names or an invalid one. Here only a successful comparison accepts. It is made twice:
in the callback, so that the server receives an alert, and after the handshake, before a byte is
exchanged. The second also covers the handshakes in which OpenSSL does not call back: a resumed
session, or a server without a certificate.

Two private names are read, since nothing public says the same (Twisted 26.10, pyOpenSSL 26.4):

- ``_hostnameASCII`` of Twisted's ``ClientTLSOptions``, which ``optionsForClientTLS`` returns: the
  name that the server's certificate must be for.
- ``_verify_helper`` of pyOpenSSL's connections and contexts: whether a connection has a callback
  of its own. OpenSSL does not return callbacks to Python.

Without the first one every client of ``optionsForClientTLS`` fails, without the second one the
tests of other creators do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any
from weakref import ref

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import VerificationError as NameMismatch
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity
from twisted.internet._sslverify import ClientTLSOptions
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc._text import escaped
from echosvc.net.errors import VerificationError
from echosvc.net.hosts import is_address, server_name

_VERIFY_MODE = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
#: Most names of a certificate that a message lists.
_MAX_LISTED = 4
_TRUST_ADVICE = "--ca FILE, or trustRoots=FILE, trusts it"
_DAY = 86400


class ServerIdentity:
    """The host that a certificate must be for.

    :param host: a host name or an address.
    :raises ValueError: no certificate can be for it.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        try:
            name = server_name(host)
            self._id: ServiceID = IPAddress_ID(name) if is_address(name) else DNS_ID(name)
        except ValueError:
            raise ValueError(f"no certificate can be for {escaped(host)}") from None

    def verify(self, certificate: x509.Certificate) -> None:
        """Verify that ``certificate`` is for the host.

        :raises VerificationError: it is not, or that cannot be determined.
        """
        try:
            verify_service_identity(extract_patterns(certificate), [self._id], [])
        except NameMismatch:
            why = f"it names {_list_names(certificate)}, not {escaped(self._host)}"
            raise _name_mismatch(why, "--server-name NAME asks for another name") from None
        except Exception:
            raise _name_mismatch(_explain_names(certificate)) from None


def _name_mismatch(
    why: str, advice: str = "the server needs one that names it"
) -> VerificationError:
    return VerificationError(f"the certificate is for another name or address: {why}", advice)


def _names(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that a certificate is for.

    :raises ValueError: they cannot be read.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = found.value.get_values_for_type(x509.IPAddress)
    return [*found.value.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _list_names(certificate: x509.Certificate) -> str:
    names = _names(certificate)
    shown = ", ".join(escaped(name, 64) for name in names[:_MAX_LISTED]) or "no host"
    return shown + (f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else "")


def _explain_names(certificate: x509.Certificate) -> str:
    """Return why the names in a certificate could not be compared."""
    try:
        if not _names(certificate):
            return "it names no host: it has no subjectAltName, and its common name does not count"
        return f"it names {_list_names(certificate)}, and not all of that is a name or an address"
    except Exception:
        return "its subjectAltName cannot be read"


#: Is called with a failure, which has a :class:`~echosvc.net.errors.VerificationError`.
FailureCallback = Callable[[Failure], object]


@implementer(IOpenSSLClientConnectionCreator)
class VerifyingClientContext:
    """Makes client connections that verify the server.

    :param creator: makes the connections.
    :param identity: what the servers' certificates must be for.
    """

    def __init__(self, creator: Any, identity: ServerIdentity) -> None:
        self._creator = creator
        self._identity = identity

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Return OpenSSL's side of one connection."""
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        protocol = ref(tlsProtocol)  # weak: it refers to the connection

        def fail(failure: Failure) -> None:
            if (living := protocol()) is not None:
                living.failVerification(failure)

        connection.set_verify(_VERIFY_MODE, _verify_callback(self._identity, fail))
        return connection

    def verify_server(self, connection: SSL.Connection) -> None:
        """Verify the server of a completed handshake.

        :raises VerificationError: it is refused.
        """
        certificate = _peer_certificate(connection)
        _verify_chain(connection, certificate)
        self._identity.verify(certificate)


def with_verification(creator: Any) -> Any:
    """Return a verifying creator for one of Twisted's; any other unchanged."""
    if not isinstance(creator, ClientTLSOptions):
        return creator
    return VerifyingClientContext(creator, ServerIdentity(creator._hostnameASCII))


def verify_names_readable(connection: SSL.Connection) -> None:
    """Check that the names in a server's certificate can be read, if they were compared.

    For connections of other creators, which may use Twisted's callback: it accepts a certificate
    whose names cannot be read. A callback of the context is not Twisted's.

    :raises VerificationError: the names cannot be read.
    """
    own = getattr(connection, "_verify_helper", None)
    shared = getattr(connection.get_context(), "_verify_helper", None)
    if own is shared or not connection.get_verify_mode() & SSL.VERIFY_PEER:
        return
    certificate = _peer_certificate(connection)
    with suppress(Exception):
        if extract_patterns(certificate):
            return
    raise _name_mismatch(_explain_names(certificate))


def _peer_certificate(connection: SSL.Connection) -> x509.Certificate:
    """Return the certificate of the server.

    :raises VerificationError: there is none, which some ciphers allow whatever is required.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        raise VerificationError("the server sent no certificate")
    return certificate


def _verify_chain(connection: SSL.Connection, certificate: x509.Certificate) -> None:
    """Verify the chain, unless this handshake has done so.

    A resumed session is not verified again, and its first handshake may not have verified it.

    :raises VerificationError: the chain is not valid.
    """
    if connection.get_verified_chain():
        return
    store = connection.get_context().get_cert_store()
    chain = connection.get_peer_cert_chain() or []
    try:
        if store is None:
            raise VerificationError("no CA is trusted")
        own = crypto.X509.from_cryptography(certificate)
        crypto.X509StoreContext(store, own, chain).verify_certificate()
    except crypto.X509StoreContextError as error:
        raise _chain_error(error.errors[0], error.certificate.to_cryptography()) from None


def _verify_callback(identity: ServerIdentity, fail: FailureCallback) -> Callable[..., bool]:
    """Return OpenSSL's callback for each certificate of a chain. It raises nothing."""

    def verify(_: object, certificate: crypto.X509, fault: int, depth: int, fine: int) -> bool:
        try:
            found = certificate.to_cryptography()
            if not fine:
                raise _chain_error(fault, found)
            if depth == 0:
                identity.verify(found)
        except Exception as error:
            fail(Failure(_as_verification_error(error)))
            return False
        return True

    return verify


def _as_verification_error(error: Exception) -> VerificationError:
    if isinstance(error, VerificationError):
        return error
    return VerificationError(f"the certificate cannot be read: {escaped(str(error), 100)}")


# -- OpenSSL's errors of a chain: X509_V_ERR_* --------------------------------------------

_NOT_YET, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = (2, 20, 21)
_SELF_SIGNED, _UNTRUSTED_ROOT = 18, 19
#: Other errors that occur with certificates in use.
_CHAIN_ERRORS = {
    7: "its signature is wrong",
    22: "its chain is too long",
    23: "it is revoked",
    24: "it issued another certificate but is no CA",
    26: "it is not valid for servers",
    28: "it is rejected",
    66: "its key is too weak",
    67: "the key of its CA is too weak",
    68: "the hash of its signature is too weak",
    79: "it issued another certificate but is no CA",
}


def _chain_error(fault: int, certificate: x509.Certificate) -> VerificationError:
    """Return the error in words: which certificate, what is wrong, what can be done."""
    why, advice = _CHAIN_ERRORS.get(fault, f"OpenSSL's verification error {fault}"), ""
    subject = _format_name(lambda: certificate.subject)
    if fault == _EXPIRED:
        why = f"it has expired, {_how_long_ago(certificate.not_valid_after_utc)}"
        advice = "the server needs a new one"
    elif fault == _NOT_YET:
        why = f"it is not valid before {_format_time(certificate.not_valid_before_utc)}"
        advice = "if that is in the past, the clock of this machine is wrong"
    elif fault == _SELF_SIGNED:
        why, advice = "it is self-signed and not trusted", _TRUST_ADVICE
    elif fault == _UNTRUSTED_ROOT:
        why, advice = "it is a root CA that is not trusted", _TRUST_ADVICE
    elif fault in _UNKNOWN_ISSUER:
        why = f"its issuer {_format_name(lambda: certificate.issuer)} is unknown"
        advice = f"{_TRUST_ADVICE}; or the server does not send its complete chain"
    return VerificationError(f"certificate verify failed: {subject}: {why}", advice)


def _format_name(read: Callable[[], x509.Name]) -> str:
    """Return a name in a certificate as text; CAs have signed names that cannot be read."""
    try:
        return escaped(read().rfc4514_string(), 100)
    except (ValueError, TypeError):
        return "a name that cannot be read"


def _format_time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _how_long_ago(when: datetime) -> str:
    days = int((datetime.now(timezone.utc) - when).total_seconds() // _DAY)
    return f"{days} days ago, on {_format_time(when)}" if days > 1 else f"on {_format_time(when)}"
