"""``load`` as programs call it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint

from echosvc import EchoFactory, LoadOptionsError, load
from tests.integration.load.paths import ANY_GENERATOR
from tests.support.process import environment, running
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT

ASYNCIO = """
import asyncio, sys
from echosvc import load_async
result = asyncio.run(load_async(
    sys.argv[1], rate=100.0, duration=0.2, max_send_lag=1000.0, max_cpu_wait=1.0,
    prefix="Sending: "))
print(result.verdict, result.tally.answered)
assert "echosvc.server" not in sys.modules
"""


@pytest_twisted.ensureDeferred
async def test_an_endpoint_of_twisteds_and_a_prefix_in_bytes():
    from twisted.internet import reactor

    async with serving(EchoFactory(log="quiet", prefix="> ")) as (host, port):
        endpoint = HostnameEndpoint(reactor, host, port)
        running = load(endpoint, prefix=b"> ", rate=100.0, duration=0.2, **ANY_GENERATOR)
        result = await within(Deferred.fromCoroutine(running))
    assert (str(result.verdict), result.tally.answered) == ("OK", 20)
    assert result.ok


@pytest.mark.parametrize(
    ("options", "named"),
    [({"rat": 1}, "no option 'rat'"), ({"prefix": 1}, "prefix"), ({"rate": -1}, "rate")],
)
@pytest_twisted.ensureDeferred
async def test_a_wrong_argument_is_named(options, named):
    with pytest.raises(LoadOptionsError, match=named):
        await load("tcp:127.0.0.1:1", **options)


@pytest.mark.slow
def test_in_asyncio():
    with running("--log", "quiet", "--listen", "tcp:0:interface=127.0.0.1") as server:
        done = subprocess.run(
            [sys.executable, "-c", ASYNCIO, f"tcp:127.0.0.1:{server.port}"],
            capture_output=True, timeout=LIMIT, env=environment(), check=False,
        )  # fmt: skip
    assert (done.stdout, done.stderr) == (b"OK 20\n", b"")
