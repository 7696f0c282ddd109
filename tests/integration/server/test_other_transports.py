"""Connections over transports that are no sockets: pipes, processes, and bare ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import ProcessEndpoint
from twisted.internet.stdio import StandardIO
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from echosvc import EchoFactory, Outcome, connect
from tests.support.process import environment
from tests.support.reactor import no_faults, until, within
from tests.support.recording import Recording
from tests.support.waiting import LIMIT

#: More than a pipe holds.
MUCH = 4 * 1024 * 1024


class Pipes:
    """A server's connection over two pipes, as from inetd; the test has their other ends."""

    def __init__(self, factory: EchoFactory) -> None:
        theirs, self.write_end = os.pipe()
        self.read_end, ours = os.pipe()
        os.set_blocking(self.write_end, False)
        os.set_blocking(self.read_end, False)
        self.connection = factory.buildProtocol(None)
        self.transport = StandardIO(self.connection, stdin=theirs, stdout=ours)

    def send(self, data: bytes) -> None:
        os.write(self.write_end, data)

    def receive(self) -> bytes:
        try:
            return os.read(self.read_end, 1 << 16)
        except BlockingIOError:
            return b""

    def dead(self) -> bool:
        """Return whether the reactor looks at neither of our ends. Twisted leaves them open."""
        watched = [*reactor.getReaders(), *reactor.getWriters()]
        return not any(getattr(each, "proc", None) is self.transport for each in watched)

    def close(self) -> None:
        for end in (self.write_end, self.read_end):
            os.close(end)


@pytest.fixture
def faultless() -> Iterator[None]:
    with no_faults():
        yield


pytestmark = pytest.mark.usefixtures("faultless")


@pytest_twisted.ensureDeferred
async def test_pipes_are_answered_until_their_end():
    factory = Recording(prefix="{peer} {local}: ")
    pipes = Pipes(factory)
    pipes.send(b"hello")
    received = bytearray()
    await until(lambda: received.extend(pipes.receive()) or len(received) >= 10)
    assert received == b"- -: hello"
    os.close(pipes.write_end)
    await within(factory.when_idle())
    assert factory.outcomes == [Outcome.FINISHED]
    os.close(pipes.read_end)


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"idle_timeout": 0.2, "idle_action": "reset"}, Outcome.TIMED_OUT),
        ({"stall_timeout": 0.3, "greeting": b"x" * MUCH}, Outcome.STALLED),
        ({"max_lifetime": 0.2, "linger": 0.2, "greeting": b"x" * MUCH}, Outcome.EXPIRED),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_would_reset_a_socket_ends_pipes(settings, outcome):
    factory = Recording(log="connections", **settings)
    pipes = Pipes(factory)
    await within(factory.when_idle())
    assert factory.outcomes == [outcome]
    assert pipes.dead()
    pipes.close()


@pytest_twisted.ensureDeferred
async def test_an_abort_ends_pipes_whose_reader_has_stopped():
    factory = Recording()
    pipes = Pipes(factory)
    pipes.connection.write(b"x" * MUCH)
    pipes.connection.abort()
    assert factory.outcomes == [Outcome.ABORTED]
    assert factory.count == 0
    assert pipes.dead()
    pipes.close()


@pytest_twisted.ensureDeferred
async def test_a_required_proxy_header_cannot_be_read_from_pipes():
    factory = Recording(proxy_protocol="require", proxy_from=("192.0.2.1",))
    pipes = Pipes(factory)
    await within(factory.when_idle())
    assert (factory.admission.refused, factory.admission.open) == (1, 0)
    assert pipes.dead()
    pipes.close()


@pytest_twisted.ensureDeferred
async def test_a_client_talks_to_a_process():
    client = await connect(ProcessEndpoint(reactor, "/bin/cat", ("cat",)))
    assert (client.local, client.remote, client.half_closes) == ("-", "-", False)
    await client.write(b"hello")
    assert await within(client.receive()) == b"hello"
    client.finish()
    assert await within(client.when_closed()) is Outcome.FINISHED


@pytest_twisted.ensureDeferred
async def test_a_process_that_does_not_end_is_killed_by_an_abort():
    client = await connect(ProcessEndpoint(reactor, "/bin/sleep", ("sleep", "100")))
    process = client.transport._process.pid
    client.abort()
    assert await within(client.when_closed()) is Outcome.ABORTED

    def gone() -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False

    await until(gone)


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_process_is_the_end_of_the_connection():
    client = await connect(ProcessEndpoint(reactor, "/bin/sh", ("sh", "-c", "echo hi; exit 3")))
    assert await within(client.receive()) == b"hi\n"
    assert await within(client.when_closed()) is Outcome.RESET


class Bare:
    """What ``ITransport`` demands and nothing else; it has no addresses."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.closed = True

    def getPeer(self) -> None:
        raise NotImplementedError

    def getHost(self) -> None:
        raise NotImplementedError


def test_a_bare_transport_is_served_paused_and_ended():
    for end, outcome in (("finish", Outcome.CLOSED), ("abort", Outcome.ABORTED)):
        factory = Recording(clock=Clock(), log="messages", max_per_peer=1)
        connection, transport = factory.buildProtocol(None), Bare()
        connection.makeConnection(transport)
        connection.dataReceived(b"a")
        connection.pause()
        connection.dataReceived(b"b")
        connection.resume()
        assert transport.written == b"Sending: aSending: b"
        getattr(connection, end)()
        factory.timers._clock.pump([0.5] * 10)
        assert transport.closed
        assert factory.outcomes == [outcome]
        connection.connectionLost(Failure(Exception("told again")))
        assert factory.count == 0


def test_an_end_without_a_reason_is_a_clean_one():
    factory = Recording(clock=Clock())
    connection = factory.buildProtocol(None)
    connection.makeConnection(Bare())
    connection.connectionLost(None)
    assert factory.outcomes == [Outcome.FINISHED]


UNDER_TRIAL = '''
import socket
from twisted.internet import defer, reactor, task
from twisted.trial.unittest import TestCase
from echosvc import EchoFactory
from echosvc.endpoints import server_endpoint

class Late(TestCase):
    """The listener closes, then the last connection ends badly."""

    async def _end(self, data, end, **settings):
        factory = EchoFactory(**settings)
        where = "tcp:0:interface=127.0.0.1"
        port = await server_endpoint(reactor, where).listen(factory)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        client.sendall(data)
        while not factory.admission.open:
            await task.deferLater(reactor, 0.01)
        await port.stopListening()
        end(client, factory)
        await factory.when_idle()
        client.close()

    def _reset(self, client, factory):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
        client.close()

    def test_reset(self):
        return defer.ensureDeferred(self._end(b"", self._reset))

    def test_part_of_a_proxy_header(self):
        settings = {"proxy_protocol": "require", "proxy_from": ("127.0.0.1",)}
        abort = lambda client, factory: factory.abort_all()
        return defer.ensureDeferred(self._end(b"PRO", abort, **settings))

    def test_wrong_proxy_header_after_all(self):
        settings = {"proxy_protocol": "require", "proxy_from": ("127.0.0.1",)}
        wrong = lambda client, factory: client.sendall(b"X" * 200)
        return defer.ensureDeferred(self._end(b"PRO", wrong, **settings))
'''


def test_the_last_connection_of_a_closed_listener_leaves_no_timer(tmp_path):
    (tmp_path / "test_late.py").write_text(UNDER_TRIAL)
    command = [sys.executable, "-m", "twisted.trial", "test_late"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=LIMIT,
        check=False,
    )  # fmt: skip
    assert "PASSED (successes=3)" in done.stdout, done.stdout
