"""Descriptors that were handed over to this process."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc.net.systemd import SD_LISTEN_FDS_START, InheritedListener, unclaimed_sockets


class InheritedTests(SynchronousTestCase):
    def handed_over(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket that listens, as one that came with the start."""
        made = socket.socket(socket.AF_INET, kind)
        self.addCleanup(made.close)
        made.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            made.listen()
        os.set_inheritable(made.fileno(), True)
        return made

    def left(self, made: socket.socket, *ports: object) -> list[str]:
        """What is said to be unserved of this one."""
        index = made.fileno() - SD_LISTEN_FDS_START
        names = ":" * index + "echo"
        environ = {"LISTEN_FDS": str(index + 1), "LISTEN_FDNAMES": names}
        return [
            f"{each.name} {getattr(each.address, 'port', None)}"
            for each in unclaimed_sockets(ports, environ)
            if each.index == index
        ]

    def port(self, made: socket.socket) -> tuple[SelectReactor, object]:
        reactor = SelectReactor()
        self.addCleanup(lambda: [os.close(end) for end in (reactor.waker.i, reactor.waker.o)])
        endpoint = InheritedListener(reactor, (made.fileno(),))
        port = self.successResultOf(endpoint.listen(Factory.forProtocol(Protocol)))
        self.addCleanup(reactor.removeAll)
        self.addCleanup(lambda: port.connected and port.connectionLost(Failure(ConnectionDone())))
        return reactor, port

    def test_what_no_port_takes_is_known_by_index_name_and_address(self) -> None:
        made = self.handed_over()
        self.assertEqual(self.left(made), [f"echo {made.getsockname()[1]}"])
        _, port = self.port(made)
        self.assertEqual(self.left(made, port), [])

    def test_what_is_no_stream_has_no_address_to_connect_to(self) -> None:
        self.assertEqual(self.left(self.handed_over(socket.SOCK_DGRAM)), ["echo None"])

    def test_what_did_not_come_with_the_start_is_not_said(self) -> None:
        made = self.handed_over()
        os.set_inheritable(made.fileno(), False)
        self.assertEqual(self.left(made), [])
        self.assertEqual(list(unclaimed_sockets((), {})), [])
        self.assertEqual(list(unclaimed_sockets((), {"LISTEN_FDS": "1", "LISTEN_PID": "1"})), [])

    def test_a_flag_that_another_process_sets_is_set_back(self) -> None:
        made = self.handed_over()
        _, port = self.port(made)
        client = socket.create_connection(made.getsockname())
        self.addCleanup(client.close)
        os.set_blocking(made.fileno(), True)
        with capturedLogs() as events:
            port.doRead()
            port.doRead()  # nobody waits: this would block
        for each in port._dispatcher.unregister_all():
            each.connectionLost(Failure(ConnectionDone()))
        said = [formatEvent(event) for event in events]
        self.assertEqual(
            len([line for line in said if "blocking: reset to non-blocking" in line]), 1
        )
        self.assertFalse(os.get_blocking(made.fileno()))

    def test_what_cannot_be_served_is_refused(self) -> None:
        reactor = SelectReactor()
        self.addCleanup(lambda: [os.close(end) for end in (reactor.waker.i, reactor.waker.o)])
        bound = socket.socket()
        self.addCleanup(bound.close)
        bound.bind(("127.0.0.1", 0))
        for made, number in (
            (self.handed_over(socket.SOCK_DGRAM), errno.EPROTOTYPE),
            (bound, errno.EINVAL),
        ):
            listening = InheritedListener(reactor, (made.fileno(),)).listen(Factory())
            self.assertEqual(self.failureResultOf(listening, OSError).value.errno, number)
