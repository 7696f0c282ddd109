"""Fixtures for tests of clients: a real echo server, and a relay that breaks things.

With pytest and pytest-twisted; switch them on in ``conftest.py``::

    pytest_plugins = ["echosvc.testing"]

Then a test takes a server on a free port, and what it has seen::

    @pytest_twisted.ensureDeferred
    async def test_my_client(echo_server):
        answer = await my_client(echo_server.host, echo_server.port, b"hello")
        assert answer == b"Sending: hello"

or puts a relay before it that does one thing wrong::

    @pytest_twisted.ensureDeferred
    async def test_my_client_finds_loss(misbehaving_relay):
        port = misbehaving_relay(Mischief(drop=(1000, 1)))
        ...

Neither sleeps, and both end everything that they began.

Both run on Twisted's reactor, in the thread of the test, so the test has to leave the reactor
its turns: by ``await``, and by ``twisted.internet.threads.deferToThread`` for a client that
blocks. A test that pytest-twisted does not run would wait for ever, so the fixtures refuse it.
"""

from __future__ import annotations

import inspect
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from echosvc.factory import EchoFactory
from echosvc.listeners import TCPListener
from echosvc.mischief import Mischief
from echosvc.relay import Relay
from echosvc.report import Outcome
from echosvc.server import EchoProtocol

try:
    import pytest_twisted
except ModuleNotFoundError as missing:
    if missing.name != "pytest_twisted":
        raise
    raise pytest.UsageError(
        "echosvc.testing needs pytest-twisted, which is not installed: pip install pytest-twisted"
    ) from None

__all__ = ["EchoServer", "Mischief", "Relay", "echo_server", "misbehaving_relay"]


class _Protocol(EchoProtocol):
    """One that tells its server how it ended."""

    factory: _Factory

    def ended(self, outcome: Outcome) -> None:
        """Keep the word."""
        self.factory.outcomes.append(outcome)


class _Factory(EchoFactory):
    protocol = _Protocol

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.outcomes: list[Outcome] = []


class EchoServer:
    """A server in this process, on a free port of 127.0.0.1.

    :ivar factory: an :class:`~echosvc.EchoFactory`: its counts, its live connections.
    :ivar host: where it listens.
    :ivar port: where it listens; each :meth:`start` takes another.
    """

    host = "127.0.0.1"

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._listening: Any = None
        self.factory = _Factory(log="quiet")
        self.port = 0

    @property
    def outcomes(self) -> list[Outcome]:
        """How connections ended, one word for each, in their order."""
        return self.factory.outcomes

    def start(self, **settings: Any) -> Deferred[EchoServer]:
        """Serve with these settings, the fields of :class:`~echosvc.Config`, from now on."""
        stopped = self.stop() if self._listening is not None else None
        self.factory = _Factory(**{"log": "quiet", **settings})

        def listen(_: object) -> Deferred[Any]:
            return TCPListener(self._reactor, self.host, 0).listen(self.factory)

        def listening(port: Any) -> EchoServer:
            self._listening = port
            self.port = port.getHost().port
            return self

        started = (stopped or _done()).addCallback(listen)
        return started.addCallback(listening)

    def stop(self) -> Deferred[None]:
        """Listen no more, and end every connection."""
        listening, self._listening = self._listening, None
        if listening is None:
            return _done()
        gone = listening.stopListening()
        self.factory.abort_all()
        both: Deferred[Any] = gatherResults([gone or _done(), self.factory.when_idle()])
        return both.addCallback(lambda _: None)


def _done() -> Deferred[Any]:
    done: Deferred[Any] = Deferred()
    done.callback(None)
    return done


#: What other plugins mark the tests with that they run.
_OTHERS = ("asyncio", "anyio", "trio", "tornado")
_DO = (
    "write it as an async def under @pytest_twisted.ensureDeferred, and run a client that blocks"
    " by twisted.internet.threads.deferToThread"
)


def _refuse_what_would_wait_for_ever(request: pytest.FixtureRequest) -> None:
    """Fail, in one line, a test during which the reactor cannot serve."""
    if why := _idle_reactor(request.config, request) or _wrong_kind(request.node):
        pytest.fail(f"echo_server serves on Twisted's reactor, but {why}", pytrace=False)


def _idle_reactor(config: pytest.Config, request: pytest.FixtureRequest) -> str:
    """Why no reactor runs; "" where it does."""
    if not config.pluginmanager.is_registered(pytest_twisted):
        return "the plugin pytest-twisted is switched off: nobody runs it"
    greenlet = request.getfixturevalue("twisted_greenlet")
    if greenlet is not None and greenlet.dead:
        return "that was stopped, and cannot be started again: no test may stop it"
    return ""


def _wrong_kind(test: Any) -> str:
    """Why the reactor does not get its turns in this test; "" where it does."""
    if issubclass(getattr(test, "cls", None) or object, unittest.TestCase):
        return f"this test is one of unittest's, which hold it up: {_DO}"
    function = getattr(test, "obj", None)
    given = getattr(getattr(function, "hypothesis", None), "inner_test", None)
    decorated = _is_for_twisted(function) or _is_for_twisted(given)
    for name in _OTHERS:
        if any(test.iter_markers(name)):
            do = f"set {name}_mode to strict" if decorated else _DO
            return f"{name} runs this test, and holds it up: {do}"
    if decorated:
        return ""
    if inspect.iscoroutinefunction(function):
        return "nobody awaits this test: put @pytest_twisted.ensureDeferred above it"
    return f"this test, a plain function, holds it up: {_DO}"


def _is_for_twisted(function: Any) -> bool:
    """Whether it is decorated by pytest-twisted, or by Twisted's own ``inlineCallbacks``."""
    while function is not None:
        of_twisted = getattr(function, "__globals__", {}).get("__name__") == Deferred.__module__
        if of_twisted or getattr(function, "_pytest_twisted_mark", None):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


@pytest.fixture
def echo_server(request: pytest.FixtureRequest) -> Iterator[EchoServer]:
    """Give an :class:`EchoServer` that serves with the default settings.

    ``await echo_server.start(prefix="> ")`` gives it others. For tests that pytest-twisted
    runs: ``async def`` under ``@pytest_twisted.ensureDeferred``. A client that blocks is run by
    ``await twisted.internet.threads.deferToThread(client, echo_server.port)``.
    """
    _refuse_what_would_wait_for_ever(request)
    from twisted.internet import reactor

    server = EchoServer(reactor)
    pytest_twisted.blockon(server.start())
    yield server
    pytest_twisted.blockon(server.stop())


@pytest.fixture
def misbehaving_relay(echo_server: EchoServer) -> Iterator[Callable[..., int]]:
    """Give a function that puts a relay before the ``echo_server``, and gives its port.

    Its arguments: a :class:`~echosvc.mischief.Mischief`, and host and port of each server
    where it is not the fixture's.
    """
    from twisted.internet import reactor

    relays: list[Relay] = []

    def relay(mischief: Mischief | None = None, *targets: tuple[str, int]) -> int:
        made = Relay(reactor, targets or [(echo_server.host, echo_server.port)], mischief)
        relays.append(made)
        return made.listen()

    yield relay
    for each in relays:
        pytest_twisted.blockon(each.stop())
