"""Bytes of an earlier connection are called that, and reported once."""

from __future__ import annotations

from typing import Any

import pytest_twisted

from tests.support.checking import against


class Pool:
    """A middlebox that sends the end of a long stream to the next client as well.

    :param shortest: how many bytes a client must send at once to get it.
    """

    def __init__(self, shortest: int) -> None:
        self._left, self._shortest, self._owner = b"", shortest, None

    def heard(self, transport: Any, data: bytes) -> None:
        """Answer all bytes."""
        if len(data) > 20_000:
            self._left, self._owner = data[-1000:], transport
        elif self._left and self._owner is not transport and len(data) >= self._shortest:
            transport.write(self._left)
            self._left = b""
        transport.write(data)


@pytest_twisted.ensureDeferred
async def test_they_may_come_before_the_first_answer():
    pool = Pool(1)
    result = await against(heard=pool.heard, only=("order", "rtt"), skip=(), timeout=0.5)
    found = {probe.name: probe for probe in result.probes}
    assert found["reuse"].result == "fail"
    assert found["reuse"].finding.startswith("bytes of an earlier connection came before the first")
    assert found["reuse"].cause.startswith("a middlebox gives its connection to the server to the")
    assert (found["order"].result, found["order"].facts["see"]) == ("skip", "reuse")
    assert found["rtt"].result == "info"


@pytest_twisted.ensureDeferred
async def test_they_may_come_in_a_stream():
    pool = Pool(50)
    result = await against(heard=pool.heard, only=("order", "rtt"), skip=(), timeout=0.5)
    found = {probe.name: probe for probe in result.probes}
    assert (found["order"].result, found["order"].facts["see"]) == ("skip", "reuse")
    assert found["reuse"].finding.startswith("1000 bytes of an earlier connection came in at ")
    assert found["rtt"].result == "info"
