"""Fixtures for tests of clients: a real echo server, and a relay that breaks things.

Switch them on in ``conftest.py``::

    pytest_plugins = ["echosvc.testing"]

Then a test takes a server on a free port, and what it has seen::

    def test_my_client(echo_server):
        assert my_client(echo_server.host, echo_server.port, b"hello") == b"Sending: hello"
        assert echo_server.outcomes == ["finished"]

or puts a relay before it that does one thing wrong::

    def test_my_client_finds_loss(misbehaving_relay):
        port = misbehaving_relay(Mischief(drop=(1000, 1)))
        ...

Neither sleeps, and both end everything that they began.

They run in a thread of their own, on a reactor that is not installed. So the client may block,
or run an event loop of any kind; the test may be a plain function, one of unittest's, or a
coroutine that pytest-asyncio, anyio or trio runs. pytest and Twisted are enough.

In a test that pytest-twisted runs (``@pytest_twisted.ensureDeferred``, or ``inlineCallbacks``)
they run on the test's own reactor, in its thread::

    @pytest_twisted.ensureDeferred
    async def test_my_client(echo_server):
        await echo_server.start(prefix="> ")
        assert await my_client(echo_server.host, echo_server.port, b"hello") == b"> hello"

Such a test has to leave the reactor its turns: by ``await``, and by
``twisted.internet.threads.deferToThread`` for a client that blocks.
"""

from __future__ import annotations

import inspect
import sys
import unittest
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import pytest
from twisted.internet.defer import Deferred, gatherResults, succeed

from echosvc.connection.outcome import Outcome
from echosvc.faults.relay import Relay
from echosvc.faults.spec import Mischief
from echosvc.net.listeners import TCPListener
from echosvc.net.reactor_thread import ReactorThread
from echosvc.server.factory import EchoFactory
from echosvc.server.protocol import EchoProtocol

__all__ = ["EchoServer", "Mischief", "Relay", "echo_server", "misbehaving_relay"]

#: How something is called in a server's thread; gives what it returns.
Call = Callable[..., Any]


class _Protocol(EchoProtocol):
    """One that tells its server how it ended."""

    factory: _Factory

    def ended(self, outcome: Outcome) -> None:
        """Keep the word."""
        self.factory.outcomes.append(outcome)


def _asked(name: str) -> Any:
    """Give a property of the factory's that is read in the server's thread.

    There it does not change meanwhile, and what a client has seen of the server is counted.
    """
    get = getattr(EchoFactory, name).fget
    return property(lambda factory: factory.call(get, factory), doc=get.__doc__)


class _Factory(EchoFactory):
    protocol = _Protocol
    connections, count = _asked("connections"), _asked("count")
    bytes_in, bytes_out = _asked("bytes_in"), _asked("bytes_out")

    def __init__(self, call: Call, **settings: Any) -> None:
        self.call = call
        super().__init__(**settings)
        self.outcomes: list[Outcome] = []


def _directly(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class EchoServer:
    """A server in this process, on a free port of 127.0.0.1.

    In a test that pytest-twisted runs, :meth:`start`, :meth:`stop` and :meth:`when_idle` return
    a Deferred. In any other test they block until it is done, some milliseconds; ``await`` before
    them is allowed there, and waits no longer.

    :param reactor: what to run on.
    :param call: how to call something in that reactor's thread, where this is another one.
    :ivar factory: an :class:`~echosvc.EchoFactory`. A test may read it: its counts, its live
        connections. What changes something is for :meth:`call`.
    :ivar host: where it listens.
    :ivar port: where it listens; each :meth:`start` takes another.
    """

    host = "127.0.0.1"

    def __init__(self, reactor: Any, call: Call = _directly) -> None:
        self._reactor, self._call = reactor, call
        self._listening: Any = None
        self.factory = self._make_factory({})
        self.port = 0

    def _make_factory(self, settings: dict[str, Any]) -> _Factory:
        return _Factory(self._call, **{"log": "quiet", "clock": self._reactor, **settings})

    def __await__(self) -> Generator[Any, Any, EchoServer]:
        """Give itself at once: it serves already where :meth:`start` has returned it."""
        return self
        yield

    @property
    def outcomes(self) -> list[Outcome]:
        """How connections ended, one word for each, in their order."""
        return cast("list[Outcome]", self._call(lambda: self.factory.outcomes))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function`` in the server's thread, and return what it returns.

        ``echo_server.call(echo_server.factory.abort_all)``. Where the server has a thread of its
        own and ``function`` returns a Deferred, its result is waited for.
        """
        return self._call(function, *arguments)

    def start(self, **settings: Any) -> Any:
        """Serve with these settings, the fields of :class:`~echosvc.Config`, from now on.

        :return: this server, or a Deferred that gives it.
        :raises ConfigError: a wrong value.
        """
        factory = self._make_factory(settings)
        return self._call(self._start, factory)

    def _start(self, factory: _Factory) -> Deferred[EchoServer]:
        def listen(_: object) -> Deferred[Any]:
            self.factory = factory
            return TCPListener(self._reactor, self.host, 0).listen(factory)

        def listening(port: Any) -> EchoServer:
            self._listening = port
            self.port = port.getHost().port
            return self

        return self._stop().addCallback(listen).addCallback(listening)

    def stop(self) -> Deferred[None]:
        """Listen no more, and end every connection."""
        return _fired(self._call(self._stop))

    def _stop(self) -> Deferred[None]:
        listening, self._listening = self._listening, None
        if listening is None:
            return succeed(None)
        gone = listening.stopListening()
        self.factory.abort_all()
        both: Deferred[Any] = gatherResults([gone or succeed(None), self.factory.when_idle()])
        return both.addCallback(lambda _: None)

    def when_idle(self, seconds: float = 10.0) -> Deferred[None]:
        """Wait until no connection lives: the outcomes of all are known then.

        :param seconds: how long at most.
        :raises twisted.internet.defer.TimeoutError: one lives longer.
        """

        def wait() -> Deferred[None]:
            return self.factory.when_idle().addTimeout(seconds, self._reactor)

        return _fired(self._call(wait))


def _fired(result: Deferred[None] | None) -> Deferred[None]:
    """Give a Deferred, also where its result was waited for: any coroutine may await it."""
    return succeed(None) if result is None else result


class _Ground(NamedTuple):
    """What the fixtures of one test run on.

    :ivar call: calls something in the reactor's thread.
    :ivar wait: waits for what was called, if it is not done; for the fixtures themselves.
    """

    reactor: Any
    call: Call
    wait: Callable[[Any], Any]


@contextmanager
def _ground(request: pytest.FixtureRequest) -> Iterator[_Ground]:
    """Give what suits the test."""
    if _is_on_reactor(request):
        import pytest_twisted
        from twisted.internet import reactor

        yield _Ground(reactor, _directly, pytest_twisted.blockon)
        return
    thread = ReactorThread("echosvc.testing")
    try:
        yield _Ground(thread.reactor, thread.call, lambda done: done)
    finally:
        thread.stop()


#: What other plugins mark the tests with that they run.
_OTHERS = ("asyncio", "anyio", "trio", "tornado")


def _is_on_reactor(request: pytest.FixtureRequest) -> bool:
    """Whether pytest-twisted runs this test, on the reactor.

    Fail, in one line, a test that is written for that and that it does not run.
    """
    test = request.node
    if issubclass(getattr(test, "cls", None) or object, unittest.TestCase):
        return False
    function = getattr(test, "obj", None)
    given = getattr(getattr(function, "hypothesis", None), "inner_test", None)
    if _is_for_twisted(function) or _is_for_twisted(given):
        why = _other_runner(test) or _idle_reactor(request)
        if why:
            _refuse(f"this test is written for pytest-twisted, but {why}")
        return True
    unawaited = inspect.iscoroutinefunction(function) and not _runner(test)
    if unawaited and _plugin(request.config) is not None:  # which lets it pass without running it
        _refuse("nobody awaits this test: put @pytest_twisted.ensureDeferred above it")
    return False


def _refuse(why: str) -> None:
    pytest.fail(f"echo_server: {why}", pytrace=False)


def _plugin(config: pytest.Config) -> Any:
    """Give pytest-twisted, where it is installed and switched on."""
    plugin = sys.modules.get("pytest_twisted")
    return plugin if plugin and config.pluginmanager.is_registered(plugin) else None


def _runner(test: Any) -> str:
    """Name another plugin that runs this test; "" = none is known."""
    if "anyio_backend" in getattr(test, "fixturenames", ()):  # where it takes all
        return "anyio"
    return next((name for name in _OTHERS if any(test.iter_markers(name))), "")


def _other_runner(test: Any) -> str:
    name = _runner(test)
    return f"{name} runs it: set {name}_mode to strict" if name else ""


def _idle_reactor(request: pytest.FixtureRequest) -> str:
    """Why no reactor runs; "" where it does."""
    if _plugin(request.config) is None:
        return "that plugin is not installed, or switched off"
    greenlet = request.getfixturevalue("twisted_greenlet")
    if greenlet is not None and greenlet.dead:
        return "its reactor was stopped, and cannot be started again: no test may stop it"
    return ""


def _is_for_twisted(function: Any) -> bool:
    """Whether it is decorated by pytest-twisted, or by Twisted's own ``inlineCallbacks``."""
    while function is not None:
        of_twisted = getattr(function, "__globals__", {}).get("__name__") == Deferred.__module__
        if of_twisted or getattr(function, "_pytest_twisted_mark", None):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


@pytest.fixture
def _echo_ground(request: pytest.FixtureRequest) -> Iterator[_Ground]:
    """Give what the server and the relays of a test run on."""
    with _ground(request) as ground:
        yield ground


@pytest.fixture
def echo_server(_echo_ground: _Ground) -> Iterator[EchoServer]:
    """Give an :class:`EchoServer` that serves with the default settings.

    ``echo_server.start(prefix="> ")`` gives it others; in a test that pytest-twisted runs it is
    ``await echo_server.start(...)``, and a client that blocks is run by
    ``await twisted.internet.threads.deferToThread(client, echo_server.port)``.
    """
    server = EchoServer(_echo_ground.reactor, _echo_ground.call)
    _echo_ground.wait(server.start())
    yield server
    _echo_ground.wait(server.stop())


@pytest.fixture
def misbehaving_relay(
    _echo_ground: _Ground, echo_server: EchoServer
) -> Iterator[Callable[..., int]]:
    """Give a function that puts a relay before the ``echo_server``, and gives its port.

    Its arguments: a :class:`~echosvc.faults.spec.Mischief`, and host and port of each server
    where it is not the fixture's.
    """
    relays: list[Relay] = []

    def relay(mischief: Mischief | None = None, *targets: tuple[str, int]) -> int:
        places = targets or [(echo_server.host, echo_server.port)]
        made = Relay(_echo_ground.reactor, places, mischief)
        port = cast(int, _echo_ground.call(made.listen))
        relays.append(made)
        return port

    yield relay
    for each in relays:
        _echo_ground.wait(_echo_ground.call(each.stop))
