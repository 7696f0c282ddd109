"""TLS alerts of a server, and what a client can do about them. Imports no Twisted."""

from __future__ import annotations

_REFUSED = "the server refuses the client's certificate, or requires one (--cert, --key)"

#: By OpenSSL's name of an alert, what it means to a client (RFC 8446, 6.2).
_ALERTS = {
    "certificate required": "the server requires a client certificate (--cert, --key)",
    "handshake failure": "no cipher or version in common, or the server requires a client"
    " certificate (--cert, --key)",
    "unknown ca": "the server does not trust the issuer of the client's certificate"
    " (--cert, --key)",
    "bad certificate": _REFUSED,
    "unsupported certificate": _REFUSED,
    "certificate revoked": "the client's certificate is revoked (--cert, --key)",
    "certificate expired": "the client's certificate has expired (--cert, --key)",
    "certificate unknown": _REFUSED,
    "access denied": "the server denies access with the client's certificate (--cert, --key)",
    "decrypt error": _REFUSED,
    "protocol version": "no version of TLS in common",
    "insufficient security": "the server requires stronger ciphers",
}


_NO_TLS = "no TLS there, or another version, or it wants a client's certificate (--cert)"


def handshake_advice(words: str) -> str:
    """Return the likeliest cause of a handshake that failed.

    :param words: the text of a :class:`~echosvc.net.errors.TLSError`.
    """
    return alert_advice(words) or _NO_TLS


def alert_advice(words: str) -> str:
    """Return what a client can do about an alert from the server; ``""`` = not known.

    With TLS 1.3 alerts about the client's certificate come after the handshake.

    :param words: the text of a :class:`~echosvc.net.errors.TLSError`.
    """
    _, alert, name = words.partition(" alert ")
    return _ALERTS.get(name.partition(";")[0], "") if alert else ""
