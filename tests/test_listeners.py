"""Listening sockets, without a reactor where none is needed."""

from __future__ import annotations

import errno
import os
import socket
import sys

from twisted.internet.error import CannotListenError, ConnectionLost, DNSLookupError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.listeners import TCPListener, error_name, listen_error
from tests.harness import TWISTD, Process, exchange

# Takes a listening socket over as systemd hands it: as descriptor 3, named in LISTEN_FDS.
_INHERIT = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3);"
    " os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='echo');"
    " os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


class Without(TCPListener):
    """A listener on a machine whose IPv6 fails in a given way."""

    failure = errno.EAFNOSUPPORT

    def _bound(self, host: str) -> socket.socket:
        if host == "::":
            raise OSError(self.failure, os.strerror(self.failure))
        return super()._bound(host)


class TCPListenerTests(SynchronousTestCase):
    def test_the_default_is_both_families(self) -> None:
        if not socket.has_ipv6:
            self.skipTest("this machine has no IPv6")
        with TCPListener(MemoryReactorClock(), port=0)._open() as listener:
            self.assertEqual(listener.family, socket.AF_INET6)
            only_ipv6 = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            self.assertEqual(only_ipv6, 0)

    def test_without_ipv6_it_is_ipv4_alone(self) -> None:
        for failure in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            self.patch(Without, "failure", failure)
            with Without(MemoryReactorClock(), port=0)._open() as listener:
                self.assertEqual(listener.getsockname()[0], "0.0.0.0")

    def test_a_busy_port_is_not_taken_for_a_machine_without_ipv6(self) -> None:
        self.patch(Without, "failure", errno.EADDRINUSE)
        with self.assertRaises(OSError) as caught:
            Without(MemoryReactorClock(), port=0)._open()
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)

    def test_a_failed_bind_closes_its_socket(self) -> None:
        with TCPListener(MemoryReactorClock(), "127.0.0.1", 0)._open() as first:
            again = TCPListener(MemoryReactorClock(), "127.0.0.1", first.getsockname()[1])
            failure = self.failureResultOf(again.listen(None), OSError)
            self.assertEqual(failure.value.errno, errno.EADDRINUSE)

    def test_its_name_is_its_address(self) -> None:
        for host, name in ((None, "[::]:1"), ("", "0.0.0.0:1"), ("::1", "[::1]:1"), ("h", "h:1")):
            self.assertEqual(str(TCPListener(MemoryReactorClock(), host, 1)), name)


class ErrorTests(SynchronousTestCase):
    def test_errors_have_the_names_of_the_field(self) -> None:
        for error, name in (
            (OSError(errno.EACCES, "denied"), "EACCES"),
            (socket.gaierror(-2, "unknown"), "ENOTFOUND"),
            (DNSLookupError("unknown"), "ENOTFOUND"),
            (ConnectionLost(), "connection lost or reset"),
            (ValueError("in\nwords"), "in words"),
            (ValueError(), "ValueError"),
        ):
            self.assertEqual(error_name(error), name)

    def test_twisteds_own_failure_to_listen_names_the_address(self) -> None:
        inner = OSError(errno.EADDRINUSE, "in use")
        error = listen_error("ssl:1", CannotListenError("", 1, inner))
        self.assertEqual(str(error), "cannot listen on 0.0.0.0:1: EADDRINUSE (in use)")


class InheritedTests(SynchronousTestCase):
    def test_a_listening_socket_can_be_inherited(self) -> None:
        """As from systemd; the parent's queue is served, whoever fills it first."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = Process(
                [
                    sys.executable, "-c", _INHERIT, str(listener.fileno()), *TWISTD[1:],
                    "echosvc", "--listen", "systemd:domain=INET:index=0",
                ],
                pass_fds=(listener.fileno(),),
            )  # fmt: skip
            try:
                self.assertEqual(exchange(listener.getsockname(), b"x"), b"Sending: x")
                server.wait_line("Server listening")
            finally:
                server.close()
