"""The language of the TCP server in the Gateway API's conformance tests (``echo-basic``).

It greets with a line, then answers lines: ``TEST`` by one line of JSON, which says where it runs
and what it knows of TLS, ``IS_TLS`` by ``true`` or ``false``, ``PING`` by ``PONG``. All other lines
have no answer. Its names of versions, cipher suites and curves are those of Go's ``crypto/tls``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: What it sends first.
WELCOME = b"Gateway API Test TCP Server\n"
#: Longest line that it reads, bytes, the LF included.
MAX_LINE = 65536

#: The fields of JSON that are environment variables.
_CONTEXT = {
    "namespace": "NAMESPACE",
    "ingress": "INGRESS_NAME",
    "service": "SERVICE_NAME",
    "pod": "POD_NAME",
}
#: What Go's encoder escapes besides: it is safe within HTML and JavaScript.
_ESCAPED = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_CURVES = {
    "secp256r1": "CurveP256",
    "prime256v1": "CurveP256",
    "secp384r1": "CurveP384",
    "secp521r1": "CurveP521",
    "x25519": "X25519",
    "x25519mlkem768": "X25519MLKEM768",
}
#: A cipher suite of TLS 1.2 as OpenSSL calls it: key exchange, cipher, and what protects records.
_CIPHER = re.compile(
    r"(?:(ECDHE)-(ECDSA|RSA)-)?(?:AES(128|256)|(CHACHA20))-(?:(GCM)-)?(SHA\d*|POLY1305)"
)


@dataclass(frozen=True)
class TLSFacts:
    """What is known of the TLS of a connection, as OpenSSL says it.

    :ivar version: such as ``TLSv1.3``.
    :ivar server_name: that the client asked for, or "".
    :ivar protocol: that ALPN has chosen, or "".
    :ivar group: of the key exchange, or "".
    :ivar cipher: the cipher suite.
    """

    version: str
    server_name: str = ""
    protocol: str = ""
    group: str = ""
    cipher: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the same as JSON has it, in Go's words."""
        optional = {
            "negotiatedProtocol": self.protocol,
            "curves": _CURVES.get(self.group.lower(), self.group),
        }
        return {
            "version": self.version.replace("TLSv1", "TLS 1", 1),
            "serverName": self.server_name,
            **{name: value for name, value in optional.items() if value},
            "cipherSuite": _suite(self.cipher),
        }


def answer(line: bytes, environment: Mapping[str, str], port: int, tls: TLSFacts | None) -> bytes:
    """Return the answer to one line; ``b""``: it has none.

    :param line: with its LF, unless the stream has ended.
    :param environment: of the process.
    :param port: that the connection came to; 0: there is none.
    :param tls: of the connection; ``None``: there is none.
    """
    command = line.removesuffix(b"\n").removesuffix(b"\r")
    if command == b"TEST":
        return _description(environment, port, tls)
    if command == b"IS_TLS":
        return b"false\n" if tls is None else b"true\n"
    return b"PONG\n" if command == b"PING" else b""


def _description(environment: Mapping[str, str], port: int, tls: TLSFacts | None) -> bytes:
    """Return the line of JSON."""
    fields: dict[str, object] = {
        name: _valid(environment.get(variable, "")) for name, variable in _CONTEXT.items()
    }
    own = str(port) if port else ""
    fields["tcpport"] = _valid(environment.get("TCP_PORT", "")) or ("" if tls else own)
    if tls_port := _valid(environment.get("TLS_PORT", "")) or (own if tls else ""):
        fields["tlsport"] = tls_port
    fields["isTLS"] = tls is not None
    if tls is not None:
        fields["tls"] = tls.as_dict()
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return "".join(_ESCAPED.get(each, each) for each in text).encode("utf-8", "replace") + b"\n"


def _valid(text: str) -> str:
    """Return the text of a variable; what is no UTF-8 becomes U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _suite(cipher: str) -> str:
    """Return Go's name of a cipher suite: the one that IANA has registered."""
    found = _CIPHER.fullmatch(cipher)
    if found is None:
        return cipher  # of TLS 1.3, which have one name everywhere
    exchange, signature, bits, chacha, gcm, digest = found.groups()
    key = f"{exchange}_{signature}" if exchange else "RSA"
    if chacha:
        return f"TLS_{key}_WITH_CHACHA20_POLY1305_SHA256"
    return f"TLS_{key}_WITH_AES_{bits}_{'GCM' if gcm else 'CBC'}_{digest}"
