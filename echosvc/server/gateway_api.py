"""The server's side of one connection in the dialect ``gateway-api``."""

from __future__ import annotations

import os
from typing import Any

from echosvc.net.addresses import address_of
from echosvc.server.protocol import EchoProtocol
from echosvc.wire.gateway_api import TLSFacts, answer


class GatewayAPIProtocol(EchoProtocol):
    """Answers lines as the TCP server of the Gateway API's conformance tests does.

    :mod:`echosvc.wire.gateway_api` describes its language. What an :class:`EchoProtocol` promises
    holds here, too.
    """

    def reply(self, message: bytes) -> bytes | None:
        """Return the answer to one line; ``None`` for no answer."""
        port = getattr(address_of(self.transport, "getHost"), "port", 0)
        return answer(message, os.environ, port, self._tls_facts()) or None

    def _tls_facts(self) -> TLSFacts | None:
        """Return what is known of the connection's TLS; ``None``: there is none of ours."""
        if self.tls_version == "-":
            return None
        tls: Any = self.transport
        handle = tls.getHandle()
        return TLSFacts(
            self.tls_version,
            _text(handle.get_servername()),
            _text(handle.get_alpn_proto_negotiated()),
            _group_name(handle),
            handle.get_cipher_name() or "",
        )


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _group_name(handle: Any) -> str:
    """Return the group of the key exchange; "": this OpenSSL does not say it."""
    try:
        return handle.get_group_name() or ""
    except (AttributeError, NotImplementedError):
        return ""
