"""``check_async`` under ``asyncio.run``, in processes that have no reactor of Twisted's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.certificates import issue
from tests.support.process import ROOT, Server, environment, running
from tests.support.waiting import LIMIT

_HEAD = """
import asyncio, contextlib, json, os, sys, threading
from echosvc import check, check_async
endpoint, *rest = sys.argv[1:]
"""
#: Without what takes long, or sends much.
SHORT = {
    "skip": ("idle", "reset", "server-fin", "back-pressure", "late-answers", "sizes"),
    "max_size": 200_000,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as it:
        yield it


#: Complain of whatever is left behind.
STRICT = ("-X", "dev", "-W", "error")


def run(program: str, *words: str, flags: tuple[str, ...] = STRICT) -> list[Any]:
    """What a program printed, line by line in JSON; it must complain of nothing."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", _HEAD + program, *words],
        capture_output=True, text=True, timeout=4 * LIMIT, env=environment(),
    )  # fmt: skip
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, errors) == (0, [])
    return [json.loads(line) for line in done.stdout.splitlines()]


_WHOLE = f"""
async def main():
    result = await check_async(endpoint, **{SHORT!r})
    print(json.dumps(result.as_dict()))
asyncio.run(main())
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_whole_check(server, host):
    (result,) = run(_WHOLE, f"tcp:{host}:{server.port}")
    found = {probe["name"]: probe["result"] for probe in result["probes"]}
    assert result["ok"]
    assert found["echo"] == found["order"] == found["half-close"] == found["connections"] == "pass"


@pytest.mark.slow
def test_a_whole_check_by_tls_and_by_unix(tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost").pem)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    with running("--listen", listen, "--listen", f"unix:{tmp_path}/s") as both:
        both.wait_lines("Server listening", 2)
        name = f"tls:localhost:{both.port}:trustRoots={pem}"
        results = [run(_WHOLE, endpoint)[0] for endpoint in (name, f"unix:{tmp_path}/s")]
    assert [result["ok"] for result in results] == [True, True]


def test_one_loop_after_the_other_and_two_at_once(server):
    program = """
async def one(**settings):
    return (await check_async(endpoint, only=("connect", "order", "half-close"))).ok
async def two():
    return await asyncio.gather(one(), one())
print(json.dumps([asyncio.run(one()), asyncio.run(one()), asyncio.run(two())]))
"""
    assert run(program, f"tcp:localhost:{server.port}") == [[True, True, [True, True]]]


def test_it_leaves_neither_descriptors_nor_threads(server):
    """Nor a connection for the server to report as reset."""
    program = """
async def once():
    await check_async(endpoint, only=("connect", "connections"))
    return len(os.listdir("/proc/self/fd")), [each.name for each in threading.enumerate()]
async def main():
    await once()  # what Twisted and asyncio keep for the process
    return [await once() for _ in range(3)]
print(json.dumps(asyncio.run(main())))
"""
    before = server.matching("Socket Error")  # of checks that were cancelled
    (found,) = run(program, f"tcp:localhost:{server.port}")
    assert found[0] == found[1] == found[2]
    assert not [name for name in found[0][1] if "check_async" in name]
    assert server.matching("Socket Error") == before


def test_a_path_that_fails_raises_nothing(server):
    program = """
async def main():
    result = await check_async("tcp:127.0.0.1:1", only=("connect", "order"))
    again = await check_async(endpoint, only=("connect", "order"))
    print(json.dumps([result.ok, result.probes[0].finding, again.ok]))
asyncio.run(main())
"""
    ((ok, finding, again),) = run(program, f"tcp:localhost:{server.port}")
    assert (ok, again) == (False, True)
    assert "ECONNREFUSED" in finding


def test_it_can_be_cancelled_at_any_moment(server):
    """As ``wait_for`` does it; nothing is left, and the process ends."""
    program = """
async def main():
    for turns in range(200):
        checking = asyncio.create_task(check_async(endpoint, only=("identity",)))
        for _ in range(turns):
            await asyncio.sleep(0)
        checking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await checking
    left = [each.name for each in threading.enumerate() if "check_async" in each.name]
    print(json.dumps([left, (await check_async(endpoint, only=("order",))).ok]))
asyncio.run(main())
"""
    # Twisted leaves the socket of an attempt that is given up to the collector, which warns.
    assert run(program, f"tcp:127.0.0.1:{server.port}", flags=()) == [[[], True]]


WRONG = {
    "check_async('tcp:localhost')": "port",
    "check_async(endpoint, only=('nothing',))": "there is no probe 'nothing'",
    "check_async(endpoint, prefix='{nope}')": "unknown field '{nope}'",
    "check_async(None)": "check_async takes a string, such as tcp:HOST:PORT",
    "check(endpoint)": "check() runs on Twisted's reactor; in asyncio it is check_async()",
}


def test_what_is_wrong_is_said_in_one_line():
    calls = ", ".join(f"lambda: {wrong}" for wrong in WRONG)
    program = f"""
async def main():
    for call in ({calls}):
        try:
            await call()
        except (ValueError, RuntimeError) as error:
            print(json.dumps(str(error)))
asyncio.run(main())
"""
    said = run(program, "tcp:127.0.0.1:1")
    for line, complaint in zip(said, WRONG.values(), strict=True):
        assert complaint in line
        assert "\n" not in line


def test_a_reactor_that_runs_on_asyncio_runs_check_itself(server):
    """But one that was only installed there has no threads, and is refused."""
    program = """
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncioreactor.install(loop)
from twisted.internet import reactor
from twisted.internet.defer import Deferred

async def main():
    try:
        await check(endpoint)
    except RuntimeError as error:
        print(json.dumps(str(error)))
loop.run_until_complete(main())

def found(result):
    print(json.dumps(result.ok))
    reactor.stop()
checking = lambda: Deferred.fromCoroutine(check(endpoint, only=("connect", "order")))
reactor.callWhenRunning(lambda: checking().addCallback(found))
reactor.run()
loop.close()
"""
    refused, ok = run(program, f"tcp:localhost:{server.port}")
    assert "check_async()" in refused
    assert ok is True


def test_the_readme_shows_it(server):
    """The README's own lines, with another endpoint."""
    text = (ROOT / "README.md").read_text("utf-8")
    (block,) = [each for each in text.split("```python\n") if "check_async" in each]
    lines = block.partition("```")[0].replace("tcp:lb.example:9000", f"tcp:localhost:{server.port}")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", lines],
        capture_output=True, text=True, timeout=2 * LIMIT, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "half-close pass" in done.stdout
    assert "order pass" in done.stdout
