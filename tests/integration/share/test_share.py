"""``share`` on a reactor, and ``share_async`` under asyncio, with typed results."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock

from echosvc import EchoFactory, ShareResult, share, share_async
from echosvc.endpoints import EndpointError
from echosvc.probe.share.expectation import ExpectationError
from echosvc.probe.share.settings import ShareSettingsError
from echosvc.wire.template import TemplateError
from tests.support.line_servers import endpoint, istio
from tests.support.process import environment
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT


async def shared(to: Any, **settings: Any) -> ShareResult:
    from twisted.internet.defer import Deferred

    return await within(Deferred.fromCoroutine(share(to, **settings)))


@pytest_twisted.ensureDeferred
async def test_a_program_gets_a_typed_result():
    async with serving(EchoFactory(prefix="v1: ", log="quiet")) as (host, port):
        found = await shared(f"tcp:{host}:{port}", connections=20)
    assert isinstance(found, ShareResult)
    assert [(each.name, each.count, each.share) for each in found.shares] == [("v1", 20, 1.0)]
    assert (found.ok, found.verdict, found.interrupted) == (True, "none", False)
    assert found.as_dict()["connections"]["counted"] == 20


@pytest_twisted.ensureDeferred
async def test_an_endpoint_of_twisted_s_is_asked_too():
    async with serving(EchoFactory(prefix="v1: ", log="quiet")) as (host, port):
        to = TCP4ClientEndpoint(reactor, host, port)
        found = await shared(to, connections=5, prefix=b"v1: ", expect="v1=90±11")
    assert (found.connections, found.verdict) == (5, "undecided")
    assert "TCP4ClientEndpoint" in found.endpoint


@pytest_twisted.ensureDeferred
async def test_it_stops_as_soon_as_it_is_sure():
    async with serving(EchoFactory(prefix="v1: ", log="quiet")) as (host, port):
        found = await shared(f"tcp:{host}:{port}", expect="v1=50±5,v2=50±5")
    assert found.verdict == "fail"
    assert found.connections < 40


@pytest_twisted.ensureDeferred
async def test_no_connection_of_a_share_is_left_behind():
    factory = EchoFactory(prefix="v1: ", log="quiet")
    async with serving(factory) as (host, port):
        await shared(f"tcp:{host}:{port}", expect="v1=50±5")
        await within(factory.when_idle())


WRONG = (
    ({"expect": "x"}, ExpectationError, "must be NAME=SHARE"),
    ({"prefix": "{x}"}, TemplateError, "unknown field"),
    ({"prefix": 1}, ShareSettingsError, "prefix must be text or bytes, not 1"),
    ({"connections": "3"}, ShareSettingsError, "connections must be a whole number, not '3'"),
    ({"unknown": 1}, ShareSettingsError, "there is no setting 'unknown'; there are dialect,"),
    ({"dialect": "x"}, ShareSettingsError, "dialect must be one of echosvc, istio, gateway-api"),
)


@pytest.mark.parametrize(("wrong", "kind", "why"), WRONG, ids=str)
def test_wrong_settings_are_refused_before_anything_is_connected_to(
    wrong: dict[str, Any], kind: type[Exception], why: str
) -> None:
    coroutine = share("tcp:127.0.0.1:9", reactor=Clock(), **wrong)
    with pytest.raises(kind, match=re.escape(why)):
        coroutine.send(None)
    with pytest.raises(kind, match=re.escape(why)):
        asyncio.run(share_async("tcp:127.0.0.1:9", **wrong))


def test_a_wrong_endpoint_is_refused() -> None:
    with pytest.raises(EndpointError):
        asyncio.run(share_async("nonsense"))
    with pytest.raises(EndpointError, match="share_async takes a string"):
        asyncio.run(share_async(3))  # type: ignore[arg-type]


_UNDER_ASYNCIO = """
import asyncio, json, sys
from echosvc import share, share_async
async def main():
    try:
        await share(sys.argv[1])
    except RuntimeError as error:
        print(json.dumps(str(error)))
    found = await share_async(sys.argv[1], dialect="istio", connections=30)
    print(json.dumps(found.as_dict()))
asyncio.run(main())
"""


def test_under_asyncio_it_runs_without_a_reactor_and_leaves_nothing_behind() -> None:
    with istio("one", "two") as server:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", _UNDER_ASYNCIO, endpoint(server)],
            capture_output=True, text=True, timeout=4 * LIMIT, env=environment(), check=False,
        )  # fmt: skip
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, errors) == (0, [])
    refusal, found = map(json.loads, done.stdout.splitlines())
    assert "in asyncio it is share_async()" in refusal
    assert {name: each["count"] for name, each in found["shares"].items()} == {"one": 15, "two": 15}
