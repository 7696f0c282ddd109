"""``check`` tells a deadlock of two full directions from a server that hangs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from echosvc import check
from echosvc.probe.result import CheckResult
from echosvc.probe.settings import MIB
from tests.programs.faults.programs import free_port
from tests.support.blind_relay import blind_relay
from tests.support.checking import against
from tests.support.process import need
from tests.support.reactor import within
from tests.support.waiting import LIMIT, wait_until


async def checked(port: int, *names: str, **settings: Any) -> CheckResult:
    run = check(f"tcp:127.0.0.1:{port}", only=names, timeout=1.0, **settings)
    return await within(Deferred.fromCoroutine(run), 4 * LIMIT)


def results(result: CheckResult) -> dict[str, str]:
    return {probe.name: probe.result for probe in result.probes}


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_deadlock_is_reported_once_and_blamed_on_no_probe():
    with blind_relay() as port:
        result = await checked(port, "order", "back-pressure")
    assert results(result) == {"deadlock": "fail", "order": "skip", "back-pressure": "skip"}
    found = result.probes[0]
    assert found.finding.startswith("the path neither takes nor gives while both directions are")
    assert found.facts["taken"] > 65536
    assert "deadlock" in found.cause


@pytest.mark.slow
@pytest.mark.programs
@pytest_twisted.ensureDeferred
async def test_ncat_with_a_program_is_a_deadlock():
    port = free_port()
    with ncat(port):
        result = await checked(port, "back-pressure")
    assert results(result) == {"deadlock": "fail", "back-pressure": "skip"}, result


@contextmanager
def ncat(port: int) -> Iterator[None]:
    """One that starts a program for each connection; they end together."""
    command = [need("ncat"), "-l", "127.0.0.1", str(port), "-k", "-e", "/bin/cat"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or accepts(port))
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_server_that_stops_after_a_number_of_bytes_is_no_deadlock():
    taken: dict[Any, int] = {}

    def heard(transport: Any, data: bytes) -> None:
        taken[transport] = taken.get(transport, 0) + len(data)
        if taken[transport] > 200_000:
            transport.pauseProducing()  # it reads no more, and answers no more
        else:
            transport.write(data)

    result = await against(heard=heard, only=("order",), skip=(), timeout=0.5, max_size=MIB)
    assert "fail" in results(result).values()
    assert "deadlock" not in results(result), result
