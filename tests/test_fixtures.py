"""The fixtures for tests of clients refuse, in one line, a test that would wait for ever."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import LIMIT, environment

CONFTEST = 'pytest_plugins = ["echosvc.testing"]\n'
HEAD = """
import asyncio
import functools
import socket
import unittest

import pytest
import pytest_twisted
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

def exchange(port):
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(b"x")
        return client.recv(99)

async def exchange_in_asyncio(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x")
    assert await reader.readexactly(10) == b"Sending: x"
    writer.close()
    await writer.wait_closed()

def wrapped(function):
    return functools.wraps(function)(lambda *words, **more: function(*words, **more))
"""
#: A stand-in for plugins that run coroutines, each by its marker.
RUNNER = """
import asyncio
import pytest

def pytest_configure(config):
    for name in ("asyncio", "anyio"):
        config.addinivalue_line("markers", name)

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if any(pyfuncitem.iter_markers("asyncio")) or any(pyfuncitem.iter_markers("anyio")):
        words = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        asyncio.run(pyfuncitem.obj(**words))
        return True
"""
#: Tests that would wait for ever, and why.
REFUSED = {
    "blocking": (
        """
def test_it(echo_server):
    assert exchange(echo_server.port) == b"Sending: x"
""",
        "this test, a plain function, holds it up",
    ),
    "a loop inside": (
        """
def test_it(echo_server):
    asyncio.run(exchange_in_asyncio(echo_server.port))
""",
        "this test, a plain function, holds it up",
    ),
    "by way of the relay": (
        """
def test_it(misbehaving_relay):
    assert exchange(misbehaving_relay()) == b"Sending: x"
""",
        "this test, a plain function, holds it up",
    ),
    "by way of a fixture": (
        """
@pytest.fixture
def answer(echo_server):
    return exchange(echo_server.port)

def test_it(answer):
    assert answer == b"Sending: x"
""",
        "this test, a plain function, holds it up",
    ),
    "a wrapper of a plain function": (
        """
@wrapped
def test_it(echo_server):
    exchange(echo_server.port)
""",
        "this test, a plain function, holds it up",
    ),
    "in a class": (
        """
class TestIt:
    def test_it(self, echo_server):
        exchange(echo_server.port)
""",
        "this test, a plain function, holds it up",
    ),
    "that nobody awaits": (
        """
async def test_it(echo_server):
    exchange(echo_server.port)
""",
        "nobody awaits this test: put @pytest_twisted.ensureDeferred above it",
    ),
    "unittest": (
        """
class ItTests(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def server(self, echo_server):
        self.port = echo_server.port

    def test_it(self):
        exchange(self.port)
""",
        "this test is one of unittest's, which hold it up",
    ),
    "trial": (
        """
class ItTests(TestCase):
    @pytest.fixture(autouse=True)
    def server(self, echo_server):
        self.port = echo_server.port

    def test_it(self):
        return deferToThread(exchange, self.port)
""",
        "this test is one of unittest's, which hold it up",
    ),
    "asyncio": (
        """
@pytest.mark.asyncio
async def test_it(echo_server):
    await exchange_in_asyncio(echo_server.port)
""",
        "asyncio runs this test, and holds it up: write it as an async def",
    ),
    "anyio": (
        """
@pytest.mark.anyio
async def test_it(echo_server):
    await exchange_in_asyncio(echo_server.port)
""",
        "anyio runs this test, and holds it up",
    ),
    "asyncio that takes all": (
        """
@pytest.mark.asyncio
@pytest_twisted.ensureDeferred
async def test_it(echo_server):
    await exchange_in_asyncio(echo_server.port)
""",
        "asyncio runs this test, and holds it up: set asyncio_mode to strict",
    ),
}
#: Tests that leave the reactor its turns.
SERVED = """
@pytest_twisted.ensureDeferred
async def test_a_coroutine(echo_server):
    assert await deferToThread(exchange, echo_server.port) == b"Sending: x"

@pytest_twisted.ensureDeferred
async def test_a_loop_in_a_thread(misbehaving_relay):
    await deferToThread(asyncio.run, exchange_in_asyncio(misbehaving_relay()))

@pytest_twisted.ensureDeferred
def test_a_deferred(echo_server):
    return deferToThread(exchange, echo_server.port)

@pytest_twisted.inlineCallbacks
def test_a_generator(echo_server):
    assert (yield deferToThread(exchange, echo_server.port)) == b"Sending: x"

@inlineCallbacks
def test_a_generator_of_twisted(echo_server):
    assert (yield deferToThread(exchange, echo_server.port)) == b"Sending: x"

class TestIt:
    @pytest.mark.parametrize("number", [1, 2])
    @pytest_twisted.ensureDeferred
    async def test_a_method(self, echo_server, number):
        assert await deferToThread(exchange, echo_server.port) == b"Sending: x"

@wrapped
@pytest_twisted.ensureDeferred
async def test_a_wrapped_one(echo_server):
    assert await deferToThread(exchange, echo_server.port) == b"Sending: x"

def test_without_the_fixtures():
    assert True
"""


#: No plugin but those that are named; no line of a summary is cut.
PYTEST = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "500"}


def run(
    place: Path, tests: dict[str, str], *options: str, path: str = ""
) -> subprocess.CompletedProcess[str]:
    """What pytest says of these files, as somebody has them who has only the fixtures."""
    (place / "conftest.py").write_text(CONFTEST)
    (place / "coroutines.py").write_text(RUNNER)
    for name, text in tests.items():
        (place / f"test_{name.replace(' ', '_')}.py").write_text(HEAD + text)
    words = ["-q", "-p", "no:cacheprovider", "-p", "coroutines", "-W", "error", *options]
    found = os.pathsep.join(filter(None, (path, str(place), environment()["PYTHONPATH"])))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--tb=line", *words],
        capture_output=True, text=True, timeout=2 * LIMIT, cwd=place,
        env={**environment(), "PYTHONPATH": found, **PYTEST},
    )  # fmt: skip


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each of the tests that would wait for ever."""
    place = tmp_path_factory.mktemp("refused")
    tests = {name: text for name, (text, _) in REFUSED.items()}
    done = run(place, tests, "-p", "pytest_twisted", "-rE")
    assert f"\n{len(REFUSED)} errors" in done.stdout, done.stdout + done.stderr
    return dict(
        re.findall(r"^ERROR test_(\w+)\.py::\S+ - Failed: (.*)$", done.stdout, re.MULTILINE)
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_test_that_would_wait_for_ever_is_refused_in_one_line(refusals, name):
    said = refusals[name.replace(" ", "_")]
    assert said.startswith(f"echo_server serves on Twisted's reactor, but {REFUSED[name][1]}")
    assert "pytest_twisted.ensureDeferred" in said or said.endswith("set asyncio_mode to strict")


def test_tests_that_leave_the_reactor_its_turns_are_served(tmp_path):
    done = run(tmp_path, {"served": SERVED}, "-p", "pytest_twisted")
    assert "\n9 passed" in done.stdout, done.stdout + done.stderr


def test_without_the_plugin_it_says_that_nobody_runs_the_reactor(tmp_path):
    done = run(tmp_path, {"it": REFUSED["blocking"][0]})
    assert "reactor, but the plugin pytest-twisted is switched off" in done.stdout
    assert "\n1 error" in done.stdout


def test_after_a_test_that_stopped_the_reactor_it_says_so(tmp_path):
    tests = """
@pytest_twisted.ensureDeferred
async def test_a():
    from twisted.internet import reactor
    from twisted.internet.task import deferLater
    reactor.stop()
    await deferLater(reactor, 60)

@pytest_twisted.ensureDeferred
async def test_b(echo_server):
    pass
"""
    done = run(tmp_path, {"it": tests}, "-p", "pytest_twisted")
    assert "reactor, but that was stopped" in done.stdout


def test_where_pytest_twisted_is_absent_one_line_says_what_to_install(tmp_path):
    (tmp_path / "absent").mkdir()
    missing = "raise ModuleNotFoundError(name='pytest_twisted')\n"
    (tmp_path / "absent" / "pytest_twisted.py").write_text(missing)
    done = run(tmp_path, {"it": SERVED}, path=str(tmp_path / "absent"))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.strip() == (
        "ERROR: echosvc.testing needs pytest-twisted, which is not installed:"
        " pip install pytest-twisted"
    )
