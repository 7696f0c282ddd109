"""The fixtures serve tests of every kind, and refuse in one line what cannot work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import environment
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.slow

CONFTEST = 'pytest_plugins = ["echosvc.testing"]\n'
HEAD = """
import asyncio
import functools
import os
import socket
import sys
import threading
import unittest

import pytest
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from echosvc.testing import FaultSpec

def exchange(port, data=b"x"):
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))

async def exchange_in_asyncio(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x")
    assert await reader.readexactly(10) == b"Sending: x"
    writer.close()
    await writer.wait_closed()

def wrapped(function):
    return functools.wraps(function)(lambda *words, **more: function(*words, **more))
"""
#: For tests that pytest-twisted runs.
TWISTED = "import pytest_twisted\n"
#: A stand-in for plugins that run coroutines, each by its marker or its fixture.
RUNNER = """
import asyncio
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"

def pytest_configure(config):
    for name in ("asyncio", "anyio"):
        config.addinivalue_line("markers", name)

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    runs = any(pyfuncitem.iter_markers("asyncio")) or any(pyfuncitem.iter_markers("anyio"))
    if runs or "anyio_backend" in pyfuncitem.fixturenames:
        words = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        asyncio.run(pyfuncitem.obj(**words))
        return True
"""
#: Tests that leave no reactor its turns, and how many they are.
BLOCKING = """
def test_a_function(echo_server):
    assert exchange(echo_server.port) == b"Sending: x"

def test_a_loop_inside(echo_server):
    asyncio.run(exchange_in_asyncio(echo_server.port))

def test_the_relay(misbehaving_relay):
    assert exchange(misbehaving_relay(FaultSpec(drop=(10, 2))), b"hello") == b"Sending: hlo"
    port = misbehaving_relay(["drop=2,at=10", "insert=!,at=10"])
    assert exchange(port, b"hello") == b"Sending: h!lo"
    assert misbehaving_relay.counts(port) == {"drop": 1, "insert": 1}
    misbehaving_relay.change(port, "close,at=9")
    assert exchange(port, b"hello") == b"Sending: "
    misbehaving_relay.change(port, None)
    assert exchange(port, b"hello") == b"Sending: hello"
    assert exchange(misbehaving_relay(), b"hello") == b"Sending: hello"

def test_faults(echo_server):
    echo_server.start(faults="drop=1,at=2", prefix="")
    assert exchange(echo_server.port, b"hello") == b"helo"

def test_the_relay_at_a_host_with_a_name(echo_server, misbehaving_relay):
    port = misbehaving_relay(None, ("localhost", echo_server.port))
    assert exchange(port) == b"Sending: x"

@pytest.fixture
def answer(echo_server):
    return exchange(echo_server.port)

def test_by_way_of_a_fixture(answer):
    assert answer == b"Sending: x"

@wrapped
def test_a_wrapped_function(echo_server):
    assert exchange(echo_server.port) == b"Sending: x"

class TestIt:
    def test_a_method(self, echo_server):
        assert exchange(echo_server.port) == b"Sending: x"

class ItTests(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def server(self, echo_server):
        self.port = echo_server.port

    def test_of_unittest(self):
        self.assertEqual(exchange(self.port), b"Sending: x")

class ItCoroutineTests(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def server(self, echo_server):
        self.server = echo_server

    async def test_of_unittest(self):
        await self.server.start()
        await exchange_in_asyncio(self.server.port)

class ItTrialTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def server(self, echo_server):
        self.port = echo_server.port

    def test_of_trial(self):
        self.assertEqual(exchange(self.port), b"Sending: x")

@pytest.mark.asyncio
async def test_of_asyncio(echo_server):
    await exchange_in_asyncio(echo_server.port)

@pytest.mark.asyncio
async def test_of_asyncio_may_await(echo_server):
    assert await echo_server.start(prefix="> ") is echo_server
    assert await asyncio.to_thread(exchange, echo_server.port) == b"> x"
    assert await echo_server.when_idle() is None
    assert await echo_server.stop() is None

@pytest.mark.anyio
async def test_of_anyio(misbehaving_relay):
    await exchange_in_asyncio(misbehaving_relay())

@pytest.mark.usefixtures("anyio_backend")
async def test_of_anyio_without_its_marker(echo_server):
    await exchange_in_asyncio(echo_server.port)

def test_other_settings(echo_server):
    first = echo_server.port
    assert echo_server.start(prefix="> ", framing="line") is echo_server
    assert echo_server.port != first
    assert exchange(echo_server.port, b"a\\nb\\n") == b"> a\\n> b\\n"

def test_wrong_settings_leave_the_server_as_it_is(echo_server):
    with pytest.raises(ValueError, match="idle_timeout"):
        echo_server.start(idle_timeout=-1)
    assert exchange(echo_server.port) == b"Sending: x"

def test_time_outs_are_met(echo_server):
    echo_server.start(idle_timeout=0.1, idle_action="close")
    with socket.create_connection((echo_server.host, echo_server.port), 30) as client:
        assert client.recv(1) == b""
    echo_server.when_idle()
    assert echo_server.outcomes == ["timed-out"]

def test_a_server_that_was_stopped_listens_no_more(echo_server):
    with socket.create_connection((echo_server.host, echo_server.port), 30) as client:
        client.sendall(b"x")
        assert client.recv(99) == b"Sending: x"
        echo_server.stop()
        echo_server.stop()  # once more does no harm
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        exchange(echo_server.port)

@pytest.mark.parametrize("time", range(50))
def test_what_a_client_has_seen_is_counted(echo_server, time):
    assert exchange(echo_server.port, b"hello") == b"Sending: hello"
    assert echo_server.outcomes == ["finished"]
    assert exchange(echo_server.port, b"hello") == b"Sending: hello"
    assert echo_server.factory.count == 0
    assert exchange(echo_server.port, b"hello") == b"Sending: hello"
    assert echo_server.factory.connections == ()
    factory = echo_server.factory
    assert (factory.accepted, factory.bytes_in, factory.bytes_out) == (3, 15, 42)

def test_something_is_called_in_the_thread_of_the_server(echo_server):
    with socket.create_connection((echo_server.host, echo_server.port), 30) as client:
        client.sendall(b"x")
        assert client.recv(99) == b"Sending: x"
        (connection,) = echo_server.factory.connections
        echo_server.call(connection.finish)
        assert client.recv(1) == b""
    echo_server.when_idle()
    assert echo_server.outcomes == ["closed"]
    assert echo_server.call(threading.current_thread) is not threading.current_thread()

def test_a_wait_for_the_last_connection_is_bounded(echo_server):
    from twisted.internet.defer import TimeoutError
    with socket.create_connection((echo_server.host, echo_server.port), 30) as client:
        client.sendall(b"x")
        client.recv(99)
        with pytest.raises(TimeoutError):
            echo_server.when_idle(0.05)
"""
COUNT = 71
#: What one test leaves behind. Nothing that waits for the garbage collector counts as gone; the
#: look after the test comes when all other fixtures of the test are gone.
LEAVES_NOTHING = """
import gc
import os
import threading
import pytest

def here():
    places = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            places[number] = os.readlink("/proc/self/fd/" + number)
        except FileNotFoundError:  # that of the list
            pass
    return places, set(threading.enumerate())

@pytest.fixture(autouse=True)
def nothing_is_left(request):
    from twisted.internet.tcp import _reservedFD
    _reservedFD.reserve()  # one descriptor of the process, at its first listener
    gc.collect()
    gc.disable()
    before = here()
    yield
    try:
        assert here() == before
    finally:
        gc.enable()
"""
NO_REACTOR = """
def test_z_no_reactor_was_installed():
    assert "twisted.internet.reactor" not in sys.modules
    assert "pytest_twisted" not in sys.modules
"""
#: pytest-twisted's reactor opens a pipe more when it starts, at the first test of all.
STARTS_REACTOR = """
def test_it():
    pass
"""
OTHER_REACTOR = """
from twisted.internet import selectreactor
selectreactor.install()
"""
#: Tests that cannot work, and why.
REFUSED = {
    "that nobody awaits": (
        """
async def test_it(echo_server):
    exchange(echo_server.port)
""",
        "nobody awaits this test: put @pytest_twisted.ensureDeferred above it",
    ),
    "by way of the relay": (
        """
async def test_it(misbehaving_relay):
    exchange(misbehaving_relay())
""",
        "nobody awaits this test: put @pytest_twisted.ensureDeferred above it",
    ),
    "asyncio that takes all": (
        """
@pytest.mark.asyncio
@pytest_twisted.ensureDeferred
async def test_it(echo_server):
    await deferToThread(exchange, echo_server.port)
""",
        "this test is written for pytest-twisted, but asyncio runs it: set asyncio_mode to strict",
    ),
}
#: Tests that leave the reactor its turns.
SERVED = """
@pytest_twisted.ensureDeferred
async def test_a_coroutine(echo_server):
    assert await deferToThread(exchange, echo_server.port) == b"Sending: x"

@pytest_twisted.ensureDeferred
async def test_it_runs_on_the_reactor_of_the_test(echo_server):
    before = threading.active_count()
    assert await echo_server.start(prefix="> ") is echo_server
    assert echo_server.call(threading.current_thread) is threading.current_thread()
    assert threading.active_count() == before
    assert await deferToThread(exchange, echo_server.port) == b"> x"
    await echo_server.when_idle()
    assert echo_server.outcomes == ["finished"]

@pytest_twisted.ensureDeferred
async def test_a_loop_in_a_thread(misbehaving_relay):
    await deferToThread(asyncio.run, exchange_in_asyncio(misbehaving_relay()))

@pytest_twisted.ensureDeferred
def test_a_deferred(echo_server):
    return deferToThread(exchange, echo_server.port)

def test_a_deferred_of_a_plain_function(echo_server):
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


def absent(place: Path) -> str:
    """A directory in which pytest-twisted is not installed."""
    (place / "absent").mkdir()
    missing = "raise ModuleNotFoundError(name='pytest_twisted')\n"
    (place / "absent" / "pytest_twisted.py").write_text(missing)
    return str(place / "absent")


def assert_passed(done: subprocess.CompletedProcess[str], count: int) -> None:
    assert f"\n{count} passed in" in done.stdout, done.stdout + done.stderr
    assert done.stderr == ""


def test_tests_that_block_are_served_where_pytest_twisted_is_absent(tmp_path):
    tests = {"blocking": LEAVES_NOTHING + BLOCKING + NO_REACTOR}
    assert_passed(run(tmp_path, tests, path=absent(tmp_path)), COUNT + 1)


def test_tests_that_block_are_served_beside_pytest_twisted(tmp_path):
    tests = {"a first one": STARTS_REACTOR, "blocking": LEAVES_NOTHING + BLOCKING}
    assert_passed(run(tmp_path, tests, "-p", "pytest_twisted"), COUNT + 1)


def test_tests_that_block_are_served_whatever_reactor_is_installed(tmp_path):
    tests = {"blocking": OTHER_REACTOR + LEAVES_NOTHING + BLOCKING}
    assert_passed(run(tmp_path, tests), COUNT)


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each of the tests that cannot work."""
    place = tmp_path_factory.mktemp("refused")
    tests = {name: TWISTED + text for name, (text, _) in REFUSED.items()}
    done = run(place, tests, "-p", "pytest_twisted", "-rE")
    assert f"\n{len(REFUSED)} errors" in done.stdout, done.stdout + done.stderr
    return dict(
        re.findall(r"^ERROR test_(\w+)\.py::\S+ - Failed: (.*)$", done.stdout, re.MULTILINE)
    )


@pytest.mark.parametrize("name", REFUSED)
def test_a_test_that_cannot_work_is_refused_in_one_line(refusals, name):
    assert refusals[name.replace(" ", "_")] == f"echo_server: {REFUSED[name][1]}"


def test_tests_of_pytest_twisted_are_served_on_their_own_reactor(tmp_path):
    assert_passed(run(tmp_path, {"served": TWISTED + SERVED}, "-p", "pytest_twisted"), 11)


def test_tests_of_pytest_twisted_are_refused_where_it_is_disabled(tmp_path):
    test = """
@pytest_twisted.ensureDeferred
async def test_it(echo_server):
    pass
"""
    done = run(tmp_path, {"it": TWISTED + test})
    why = "this test is written for pytest-twisted, but that plugin is not installed, or disabled"
    assert f"Failed: echo_server: {why}" in done.stdout
    assert "\n1 error" in done.stdout


def test_a_generator_of_twisted_is_refused_where_pytest_twisted_is_absent(tmp_path):
    test = """
@inlineCallbacks
def test_it(echo_server):
    yield
"""
    done = run(tmp_path, {"it": test}, path=absent(tmp_path))
    assert "pytest-twisted, but that plugin is not installed, or disabled" in done.stdout
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
    done = run(tmp_path, {"it": TWISTED + tests}, "-p", "pytest_twisted")
    assert "pytest-twisted, but its reactor was stopped" in done.stdout
