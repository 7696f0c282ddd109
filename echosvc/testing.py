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
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from echosvc.factory import EchoFactory
from echosvc.listeners import TCPListener
from echosvc.mischief import Mischief
from echosvc.relay import Relay
from echosvc.report import Outcome
from echosvc.server import EchoProtocol

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


@pytest.fixture
def echo_server() -> Iterator[EchoServer]:
    """Give an :class:`EchoServer` that serves with the default settings.

    ``await echo_server.start(prefix="> ")`` gives it others.
    """
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
