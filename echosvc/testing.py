"""Fixtures for tests of clients: a real echo server, and a relay that injects faults.

Enable them in ``conftest.py``::

    pytest_plugins = ["echosvc.testing"]

Then a test has a server on a free port, and what that has seen::

    def test_my_client(echo_server):
        assert my_client(echo_server.host, echo_server.port, b"hello") == b"Sending: hello"
        assert echo_server.outcomes == ["finished"]

or a relay between its client and the server, with one fault::

    def test_my_client_finds_loss(misbehaving_relay):
        port = misbehaving_relay("drop=1,at=1000")
        ...

Neither sleeps. Both end every connection and thread that they started.

They run in a thread of their own, on a reactor that is not installed. So the client may block,
or run an event loop of any kind. The test may be a plain function, a method of a
``unittest.TestCase``, or a coroutine that pytest-asyncio, anyio or trio runs. Only pytest and
Twisted are needed.

In a test that pytest-twisted runs (``@pytest_twisted.ensureDeferred``, or ``inlineCallbacks``)
they run on the test's own reactor, in its thread::

    @pytest_twisted.ensureDeferred
    async def test_my_client(echo_server):
        await echo_server.start(prefix="> ")
        assert await my_client(echo_server.host, echo_server.port, b"hello") == b"> hello"

Such a test must not block the reactor: it uses ``await``, and
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
from echosvc.faults.injector import FaultInjector
from echosvc.faults.relay import Relay
from echosvc.faults.spec import Faults, FaultSpec, as_specs
from echosvc.net.listeners import TCPListener
from echosvc.net.reactor_thread import ReactorThread
from echosvc.server.factory import EchoFactory
from echosvc.server.protocol import EchoProtocol

__all__ = ["EchoServer", "FaultSpec", "Relay", "RelayStarter", "echo_server", "misbehaving_relay"]

#: Calls a function in the thread of a server, and returns what it returns.
Call = Callable[..., Any]


class _RecordingProtocol(EchoProtocol):
    """A connection that adds its outcome to those of its factory."""

    factory: _Factory

    def ended(self, outcome: Outcome) -> None:
        """Record the outcome."""
        self.factory.outcomes.append(outcome)


def _read_in_thread(name: str) -> Any:
    """Return a property of the factory that is read in the thread of the server.

    So it does not change while it is read, and includes all that a client has seen of the server.
    """
    get = getattr(EchoFactory, name).fget
    return property(lambda factory: factory.call(get, factory), doc=get.__doc__)


class _Factory(EchoFactory):
    """A factory whose figures may be read from any thread, and which keeps all outcomes."""

    protocol = _RecordingProtocol
    connections, count = _read_in_thread("connections"), _read_in_thread("count")
    bytes_in, bytes_out = _read_in_thread("bytes_in"), _read_in_thread("bytes_out")

    def __init__(self, call: Call, **settings: Any) -> None:
        self.call = call
        super().__init__(**settings)
        self.outcomes: list[Outcome] = []


def _call_directly(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class EchoServer:
    """A server in this process, on a free port of 127.0.0.1.

    In a test that pytest-twisted runs, :meth:`start`, :meth:`stop` and :meth:`when_idle` return
    a Deferred. In any other test they block until it is done, some milliseconds; ``await`` before
    them is allowed there, and does nothing.

    :param reactor: the reactor to run on.
    :param call: calls a function in the thread of that reactor, if that is another thread.
    :ivar factory: an :class:`~echosvc.EchoFactory`. A test may read its counts and its
        open connections. Changes are made through :meth:`call`.
    :ivar host: the address that it listens on.
    :ivar port: the port that it listens on; each :meth:`start` takes another one.
    """

    host = "127.0.0.1"

    def __init__(self, reactor: Any, call: Call = _call_directly) -> None:
        self._reactor, self._call = reactor, call
        self._listening: Any = None
        self.factory = self._make_factory({})
        self.port = 0

    def _make_factory(self, settings: dict[str, Any]) -> _Factory:
        return _Factory(self._call, **{"log": "quiet", "clock": self._reactor, **settings})

    def _make_injector(self, faults: Faults, seed: object) -> FaultInjector:
        """Return what injects faults; called in the thread of the server."""
        injector = self.factory.injector = FaultInjector(self._reactor, faults, seed)
        if self._listening is not None:
            injector.add_port(self._listening)
        return injector

    def __await__(self) -> Generator[Any, Any, EchoServer]:
        """Return itself at once: :meth:`start` has returned a server that runs already."""
        return self
        yield

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes of the connections that have ended, in that order."""
        return cast("list[Outcome]", self._call(lambda: self.factory.outcomes))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function`` in the thread of the server, and return what it returns.

        ``echo_server.call(echo_server.factory.abort_all)``. If the server has a thread of its own
        and ``function`` returns a Deferred, this waits for the result.
        """
        return self._call(function, *arguments)

    def start(self, *, faults: Faults = None, seed: object = 0, **settings: Any) -> Any:
        """Start anew with these settings, which are the fields of :class:`~echosvc.Config`.

        :param faults: faults on purpose, as :class:`~echosvc.faults.spec.FaultSpec` or text.
        :param seed: what all draws of faults depend on.
        :return: this server, or a Deferred with it.
        :raises ConfigError: a wrong value.
        :raises FaultSpecError: a fault makes no sense.
        """
        specs, factory = as_specs(faults), self._make_factory(settings)
        return self._call(self._start, factory, specs, seed)

    def _start(self, factory: _Factory, faults: Faults, seed: object) -> Deferred[EchoServer]:
        def listen(_: object) -> Deferred[Any]:
            self.factory = factory
            return TCPListener(self._reactor, self.host, 0).listen(factory)

        def listening(port: Any) -> EchoServer:
            self._listening = port
            self.port = port.getHost().port
            if faults:
                self._make_injector(faults, seed)
            return self

        return self._stop().addCallback(listen).addCallback(listening)

    def stop(self) -> Deferred[None]:
        """Stop listening, and end every connection."""
        return _as_deferred(self._call(self._stop))

    def _stop(self) -> Deferred[None]:
        listening, self._listening = self._listening, None
        if listening is None:
            return succeed(None)
        injector = self.factory.injector
        if injector is not None:
            injector.leave_ports()
        gone = listening.stopListening()
        self.factory.abort_all()
        if injector is not None:
            injector.abort_all()
        both: Deferred[Any] = gatherResults([gone or succeed(None), self.factory.when_idle()])
        return both.addCallback(lambda _: None)

    def change(self, faults: Faults) -> None:
        """Set the faults in place of all, at once, also for open connections.

        Those that were opened while the server had never had a fault stay without.
        """
        self._call(self._change, as_specs(faults))

    def _change(self, faults: Faults) -> None:
        injector = self.factory.injector
        if injector is None:
            self._make_injector(faults, 0)
        else:
            injector.change(faults)

    def counts(self) -> dict[str, int]:
        """Return how often faults of each kind have happened since the start."""
        return cast("dict[str, int]", self._call(self._counts))

    def _counts(self) -> dict[str, int]:
        injector = self.factory.injector
        return {} if injector is None else dict(injector.plan.counts)

    def when_idle(self, seconds: float = 10.0) -> Deferred[None]:
        """Wait until no connection is open: then the outcomes of all are known.

        :param seconds: the longest time to wait.
        :raises twisted.internet.defer.TimeoutError: a connection is open for longer.
        """

        def wait() -> Deferred[None]:
            return self.factory.when_idle().addTimeout(seconds, self._reactor)

        return _as_deferred(self._call(wait))


def _as_deferred(result: Deferred[None] | None) -> Deferred[None]:
    """Return a Deferred, even if its result is there already, so that it can be awaited."""
    return succeed(None) if result is None else result


class _Environment(NamedTuple):
    """The reactor that the fixtures of one test run on.

    :ivar call: calls a function in the thread of the reactor.
    :ivar wait: waits for the result of a call; for the fixtures themselves.
    """

    reactor: Any
    call: Call
    wait: Callable[[Any], Any]


@contextmanager
def _environment(request: pytest.FixtureRequest) -> Iterator[_Environment]:
    """Provide the reactor of the test, or one in a thread."""
    if _runs_on_reactor(request):
        import pytest_twisted
        from twisted.internet import reactor

        yield _Environment(reactor, _call_directly, pytest_twisted.blockon)
        return
    thread = ReactorThread("echosvc.testing")
    try:
        yield _Environment(thread.reactor, thread.call, lambda done: done)
    finally:
        thread.stop()


#: Markers of tests that other plugins run.
_OTHER_MARKERS = ("asyncio", "anyio", "trio", "tornado")


def _runs_on_reactor(request: pytest.FixtureRequest) -> bool:
    """Return whether pytest-twisted runs this test, on the reactor.

    Fail a test that is written for pytest-twisted and that it does not run, in one line.
    """
    test = request.node
    if issubclass(getattr(test, "cls", None) or object, unittest.TestCase):
        return False
    function = getattr(test, "obj", None)
    given = getattr(getattr(function, "hypothesis", None), "inner_test", None)
    if _is_for_twisted(function) or _is_for_twisted(given):
        why = _other_runner(test) or _idle_reactor(request)
        if why:
            _fail(f"this test is written for pytest-twisted, but {why}")
        return True
    unawaited = inspect.iscoroutinefunction(function) and not _runner(test)
    # The plugin passes such a test without running it.
    if unawaited and _plugin(request.config) is not None:
        _fail("nobody awaits this test: put @pytest_twisted.ensureDeferred above it")
    return False


def _fail(why: str) -> None:
    pytest.fail(f"echo_server: {why}", pytrace=False)


def _plugin(config: pytest.Config) -> Any:
    """Return pytest-twisted if it is installed and enabled."""
    plugin = sys.modules.get("pytest_twisted")
    return plugin if plugin and config.pluginmanager.is_registered(plugin) else None


def _runner(test: Any) -> str:
    """Return the name of another plugin that runs this test; "" = none is known."""
    if "anyio_backend" in getattr(test, "fixturenames", ()):  # it is set to run all coroutines
        return "anyio"
    return next((name for name in _OTHER_MARKERS if any(test.iter_markers(name))), "")


def _other_runner(test: Any) -> str:
    name = _runner(test)
    return f"{name} runs it: set {name}_mode to strict" if name else ""


def _idle_reactor(request: pytest.FixtureRequest) -> str:
    """Return why no reactor runs; "" = it runs."""
    if _plugin(request.config) is None:
        return "that plugin is not installed, or disabled"
    greenlet = request.getfixturevalue("twisted_greenlet")
    if greenlet is not None and greenlet.dead:
        return "its reactor was stopped, and cannot be started again: no test may stop it"
    return ""


def _is_for_twisted(function: Any) -> bool:
    """Return whether it is decorated by pytest-twisted, or by Twisted's ``inlineCallbacks``."""
    while function is not None:
        of_twisted = getattr(function, "__globals__", {}).get("__name__") == Deferred.__module__
        if of_twisted or getattr(function, "_pytest_twisted_mark", None):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


@pytest.fixture
def _echo_environment(request: pytest.FixtureRequest) -> Iterator[_Environment]:
    """The reactor that the server and the relays of a test run on."""
    with _environment(request) as environment:
        yield environment


@pytest.fixture
def echo_server(_echo_environment: _Environment) -> Iterator[EchoServer]:
    """An :class:`EchoServer` that runs with the default settings.

    ``echo_server.start(prefix="> ")`` starts it with others. In a test that pytest-twisted runs
    it is ``await echo_server.start(...)``, and a client that blocks is run by
    ``await twisted.internet.threads.deferToThread(client, echo_server.port)``.
    """
    server = EchoServer(_echo_environment.reactor, _echo_environment.call)
    _echo_environment.wait(server.start())
    yield server
    _echo_environment.wait(server.stop())


class RelayStarter:
    """Starts relays to a server, and changes their faults while a test runs.

    :param environment: what they run on.
    :param server: the server where no other one is named.
    """

    def __init__(self, environment: _Environment, server: EchoServer) -> None:
        self._environment, self._server = environment, server
        self._relays: dict[int, Relay] = {}

    def __call__(self, faults: Faults = None, *targets: tuple[str, int], seed: object = 0) -> int:
        """Start a relay; return its port on 127.0.0.1.

        :param faults: one fault or several, as :class:`~echosvc.faults.spec.FaultSpec` or text.
        :param targets: host and port of each server, if that is not the fixture's.
        :param seed: what all draws depend on.
        """
        servers = targets or ((self._server.host, self._server.port),)
        relay = self._environment.call(Relay, self._environment.reactor, servers, faults, seed)
        port = cast(int, self._environment.call(relay.listen))
        self._relays[port] = relay
        return port

    def change(self, port: int, faults: Faults) -> None:
        """Set the faults of a relay in place of all, also for open connections, at once."""
        self._environment.call(self._relays[port].change, faults)

    def counts(self, port: int) -> dict[str, int]:
        """Return how often faults of each kind have happened in a relay."""
        return dict(self._environment.call(self._relays[port].plan.counts.copy))

    def stop(self) -> None:
        """Stop all relays."""
        for relay in self._relays.values():
            self._environment.wait(self._environment.call(relay.stop))


@pytest.fixture
def misbehaving_relay(
    _echo_environment: _Environment, echo_server: EchoServer
) -> Iterator[RelayStarter]:
    """A function that starts a relay to the ``echo_server``, and returns its port.

    It is a :class:`RelayStarter`, which changes the faults in a running test, too.
    """
    starter = RelayStarter(_echo_environment, echo_server)
    yield starter
    starter.stop()
