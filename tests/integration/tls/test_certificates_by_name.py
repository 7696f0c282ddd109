"""Certificates by server name."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization

from echosvc import Outcome
from echosvc.tls.transport import TLSError
from tests.support.certificates import issue
from tests.support.client import receive_to_end
from tests.support.payload import MARK
from tests.support.reactor import in_thread, serving
from tests.support.recording import Recording, all_gone
from tests.support.tls_peer import ANY, Heard, Peer, to_server

DER = serialization.Encoding.DER


def shown_to(address: Any, name: str | None) -> bytes:
    with Peer(address, ANY, name) as peer:
        peer.shake_hands()
        found = peer.tls.getpeercert(binary_form=True)
        assert peer.converse(peer.sealed(b"x", notify=True)) == Heard(MARK + b"x", True, "FIN")
        assert found is not None
        return found


@pytest_twisted.ensureDeferred
async def test_the_name_that_a_client_asks_for_chooses_its_certificate(tmp_path):
    first, wild = issue("one.example", "also.example"), issue("*.wild.example")
    (tmp_path / "b.pem").write_bytes(wild.pem)
    (tmp_path / "a.pem").write_bytes(first.pem)
    factory = Recording(prefix=MARK)
    async with serving(factory, f"tls:{tmp_path}:0:interface=127.0.0.1") as address:
        assert address[1] != 0
        for name, wanted in (
            ("one.example", first),
            ("also.example", first),
            ("any.wild.example", wild),
            ("ANY.Wild.example", wild),
            ("unknown.example", first),
            (None, first),
        ):
            found = await in_thread(shown_to, address, name)
            assert found == wanted.certificate.public_bytes(DER), name
        await all_gone(factory)
    assert set(factory.outcomes) == {Outcome.FINISHED}


@pytest_twisted.ensureDeferred
async def test_our_client_verifies_the_name_that_it_asks_for(tmp_path):
    first, wild = issue("localhost"), issue("*.wild.example")
    (tmp_path / "a.pem").write_bytes(first.pem)
    (tmp_path / "b.pem").write_bytes(wild.pem)
    factory = Recording(prefix=MARK)
    async with serving(factory, f"tls:{tmp_path}:0:interface=127.0.0.1") as (_, port):
        for host in ("localhost", "any.wild.example"):
            client = await to_server(port, tmp_path, host)
            client.write(b"hello")
            client.finish()
            assert await receive_to_end(client) == MARK + b"hello"
        with pytest.raises(TLSError):
            await to_server(port, tmp_path, "unknown.example")
