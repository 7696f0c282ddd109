"""What the alerts of TLS mean to a client. No Twisted."""

from __future__ import annotations

_OF_CLIENT = "the server refuses the client's certificate, or wants one (--cert, --key)"


#: What the peer's alerts mean to a client, by OpenSSL's words for them (RFC 8446, 6.2).
_ALERTS = {
    "certificate required": "the server wants a client's certificate (--cert, --key)",
    "handshake failure": "no cipher or version in common, or the server wants a client's"
    " certificate (--cert, --key)",
    "unknown ca": "the server does not trust who signed the client's certificate (--cert, --key)",
    "bad certificate": _OF_CLIENT,
    "unsupported certificate": _OF_CLIENT,
    "certificate revoked": "the client's certificate is revoked (--cert, --key)",
    "certificate expired": "the client's certificate has ended (--cert, --key)",
    "certificate unknown": _OF_CLIENT,
    "access denied": "the server lets nobody in with the client's certificate (--cert, --key)",
    "decrypt error": _OF_CLIENT,
    "protocol version": "no version of TLS in common",
    "insufficient security": "the server wants stronger ciphers",
}


def alert_advice(words: str) -> str:
    """Return what a client can do about an alert that the server sent; ``""``: nothing known.

    With TLS 1.3 the alerts about a client's certificate come after the handshake.

    :param words: of a :class:`TLSError`.
    """
    _, alert, name = words.partition(" alert ")
    return _ALERTS.get(name.partition(";")[0], "") if alert else ""
