"""Whether a server is who the client asked for: its certificate's chain and names.

OpenSSL verifies the chain and asks us, by a callback, for each certificate. Twisted's own
callback believes a certificate when comparing its names raises anything but a
``VerificationError``, as it does where there are none, or where one cannot be read. Here
nothing counts but a comparison that says yes, made twice: in the callback, so that the
server is told by an alert, and after the handshake, before a byte is exchanged. The second
stands also where OpenSSL does not call back: a resumed session, a server without a
certificate.
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

_WANTED = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
#: Of the names in a certificate, how many are shown.
_SHOWN = 4
_TRUST = "--ca FILE, or trustRoots=FILE, trusts it"
_DAY = 86400


class Identity:
    """Whom a certificate must be for.

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
        """Return if ``certificate`` is for the host.

        :raises VerificationError: in every other case.
        """
        try:
            verify_service_identity(extract_patterns(certificate), [self._id], [])
        except NameMismatch:
            why = f"it names {_listed(certificate)}, not {escaped(self._host)}"
            raise _refusal(why, "--server-name NAME asks for another name") from None
        except Exception:
            raise _refusal(_unreadable(certificate)) from None


def _refusal(why: str, advice: str = "the server needs one that names it") -> VerificationError:
    return VerificationError(f"the certificate is for another name or address: {why}", advice)


def _names(certificate: x509.Certificate) -> list[str]:
    """Give the names and addresses for which a certificate is.

    :raises ValueError: they cannot be read.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = found.value.get_values_for_type(x509.IPAddress)
    return [*found.value.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _listed(certificate: x509.Certificate) -> str:
    names = _names(certificate)
    shown = ", ".join(escaped(name, 64) for name in names[:_SHOWN]) or "no host"
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _unreadable(certificate: x509.Certificate) -> str:
    """Say why the names in a certificate could not be compared."""
    try:
        if not _names(certificate):
            return "it names no host: it has no subjectAltName, and its common name does not count"
        return f"it names {_listed(certificate)}, and not all of that is a name or an address"
    except Exception:
        return "its subjectAltName cannot be read"


#: Takes a failure with a :class:`~echosvc.net.errors.VerificationError`.
Tell = Callable[[Failure], object]


@implementer(IOpenSSLClientConnectionCreator)
class Verifying:
    """What a client speaks TLS with that verifies whom it meets.

    :param creator: makes the connections.
    :param identity: whom their servers must be.
    """

    def __init__(self, creator: Any, identity: Identity) -> None:
        self._creator = creator
        self._identity = identity

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make OpenSSL's side of one connection."""
        connection: SSL.Connection = self._creator.clientConnectionForTLS(tlsProtocol)
        protocol = ref(tlsProtocol)  # which holds the connection

        def tell(failure: Failure) -> None:
            if (living := protocol()) is not None:
                living.failVerification(failure)

        connection.set_verify(_WANTED, _callback(self._identity, tell))
        return connection

    def verify_server(self, connection: SSL.Connection) -> None:
        """Return if the handshake was with the right server.

        :raises VerificationError: in every other case.
        """
        certificate = _shown_by(connection)
        _verify_chain(connection, certificate)
        self._identity.verify(certificate)


def verifying(creator: Any) -> Any:
    """Give a creator that verifies in place of Twisted's; any other as it is."""
    if not isinstance(creator, ClientTLSOptions):
        return creator
    return Verifying(creator, Identity(creator._hostnameASCII))


def verify_readable(connection: SSL.Connection) -> None:
    """Return if the names in a server's certificate can be read, where somebody has compared them.

    For connections made by others, who may have Twisted's callback on them: it has
    believed a certificate whose names cannot be read. Callbacks of a context are others'.

    :raises VerificationError: they cannot.
    """
    own = getattr(connection, "_verify_helper", None)
    shared = getattr(connection.get_context(), "_verify_helper", None)
    if own is shared or not connection.get_verify_mode() & SSL.VERIFY_PEER:
        return
    certificate = _shown_by(connection)
    with suppress(Exception):
        if extract_patterns(certificate):
            return
    raise _refusal(_unreadable(certificate))


def _shown_by(connection: SSL.Connection) -> x509.Certificate:
    """Give the certificate that the server has shown.

    :raises VerificationError: none. Some ciphers need none, whatever is demanded.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        raise VerificationError("the server has shown no certificate")
    return certificate


def _verify_chain(connection: SSL.Connection, certificate: x509.Certificate) -> None:
    """Return if the chain was verified in this handshake, or can be now.

    A resumed session is not verified again, and may have begun where nothing was.

    :raises VerificationError: it cannot be.
    """
    if connection.get_verified_chain():
        return
    store = connection.get_context().get_cert_store()
    chain = connection.get_peer_cert_chain() or []
    try:
        if store is None:
            raise VerificationError("no authority is trusted")
        own = crypto.X509.from_cryptography(certificate)
        crypto.X509StoreContext(store, own, chain).verify_certificate()
    except crypto.X509StoreContextError as error:
        raise _chain_refusal(error.errors[0], error.certificate.to_cryptography()) from None


def _callback(identity: Identity, tell: Tell) -> Callable[..., bool]:
    """Give what OpenSSL asks of each certificate of a chain. It raises nothing."""

    def judge(_: object, certificate: crypto.X509, fault: int, depth: int, fine: int) -> bool:
        try:
            found = certificate.to_cryptography()
            if not fine:
                raise _chain_refusal(fault, found)
            if depth == 0:
                identity.verify(found)
        except Exception as error:
            tell(Failure(_as_refusal(error)))
            return False
        return True

    return judge


def _as_refusal(error: Exception) -> VerificationError:
    if isinstance(error, VerificationError):
        return error
    return VerificationError(f"the certificate cannot be read: {escaped(str(error), 100)}")


# -- what OpenSSL finds wrong with a chain: X509_V_ERR_* ----------------------------------

_NOT_YET, _EXPIRED = 9, 10
_UNKNOWN = (2, 20, 21)
_SELF_SIGNED, _ROOT = 18, 19
#: The others that certificates in use meet.
_FAULTS = {
    7: "its signature is wrong",
    22: "its chain is too long",
    23: "it is revoked",
    24: "it has signed another, and is no authority",
    26: "it is not for servers",
    28: "it is rejected",
    66: "its key is too weak",
    67: "the key of its authority is too weak",
    68: "the hash of its signature is too weak",
    79: "it has signed another, and is no authority",
}


def _chain_refusal(fault: int, certificate: x509.Certificate) -> VerificationError:
    """Say in words what is wrong, with which certificate, and what to do."""
    why, advice = _FAULTS.get(fault, f"OpenSSL's verification error {fault}"), ""
    subject = _name(lambda: certificate.subject)
    if fault == _EXPIRED:
        why = f"it has expired, {_ago(certificate.not_valid_after_utc)}"
        advice = "the server needs a new one"
    elif fault == _NOT_YET:
        why = f"it is not valid before {_time(certificate.not_valid_before_utc)}"
        advice = "if that is past, our clock is wrong"
    elif fault == _SELF_SIGNED:
        why, advice = "it is signed by itself, by no authority that is trusted", _TRUST
    elif fault == _ROOT:
        why, advice = "it is an authority that is not trusted", _TRUST
    elif fault in _UNKNOWN:
        why = f"its issuer {_name(lambda: certificate.issuer)} is unknown"
        advice = f"{_TRUST}; or the server does not send its whole chain"
    return VerificationError(f"certificate verify failed: {subject}: {why}", advice)


def _name(read: Callable[[], x509.Name]) -> str:
    """Give a name in a certificate; authorities have signed what cannot be read."""
    try:
        return escaped(read().rfc4514_string(), 100)
    except (ValueError, TypeError):
        return "a name that cannot be read"


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _ago(when: datetime) -> str:
    days = int((datetime.now(timezone.utc) - when).total_seconds() // _DAY)
    return f"{days} days ago, on {_time(when)}" if days > 1 else f"on {_time(when)}"
