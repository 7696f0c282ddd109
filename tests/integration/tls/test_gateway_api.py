"""The dialect ``gateway-api`` over TLS says what it knows of the connection, in Go's words."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any

import pytest
import pytest_twisted

from echosvc import EchoFactory
from echosvc.wire.gateway_api import WELCOME
from tests.support.reactor import in_thread
from tests.support.sockets import receive_until
from tests.support.tls_peer import context, serving_tls
from tests.support.waiting import LIMIT


def ask(port: int, version: ssl.TLSVersion, name: str | None) -> tuple[dict[str, Any], Any]:
    """What is said of a connection, and the cipher that the client knows."""
    made = context(minimum_version=version, maximum_version=version)
    below = socket.create_connection(("127.0.0.1", port), LIMIT)
    with made.wrap_socket(below, server_hostname=name) as client:
        client.sendall(b"IS_TLS\nTEST\n")
        came = receive_until(client, b"}}\n")
        assert came.startswith(WELCOME + b"true\n")
        return json.loads(came.removeprefix(WELCOME + b"true\n")), client.cipher()


@pytest.mark.parametrize("name", ["a.example", None])
@pytest_twisted.ensureDeferred
async def test_with_tls_1_3(pem, name):
    async with serving_tls(EchoFactory(dialect="gateway-api", log="quiet"), pem) as (_, port):
        said, cipher = await in_thread(ask, port, ssl.TLSVersion.TLSv1_3, name)
    assert (said["isTLS"], said["tlsport"], said["tcpport"]) == (True, str(port), "")
    tls = said["tls"]
    assert (tls["version"], tls["serverName"]) == ("TLS 1.3", name or "")
    assert tls["cipherSuite"] == cipher[0]
    assert tls.get("curves", "X25519") in ("X25519", "X25519MLKEM768", "CurveP256")


@pytest_twisted.ensureDeferred
async def test_with_tls_1_2_the_cipher_suite_has_its_registered_name(pem):
    async with serving_tls(EchoFactory(dialect="gateway-api", log="quiet"), pem) as (_, port):
        said, cipher = await in_thread(ask, port, ssl.TLSVersion.TLSv1_2, "a.example")
    tls = said["tls"]
    assert tls["version"] == "TLS 1.2"
    assert tls["cipherSuite"].startswith("TLS_ECDHE_")
    assert "_WITH_" in tls["cipherSuite"]
    assert tls["cipherSuite"].replace("_", "").endswith(cipher[0].rpartition("-")[2])
