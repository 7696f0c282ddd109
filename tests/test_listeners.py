"""Listening sockets, without a reactor where none is needed."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import tempfile

from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc import listeners
from echosvc.inherited import InheritanceError, find
from echosvc.listeners import TCPListener, UNIXListener, error_name, listen_error
from echosvc.reactor import LeanReactor
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


class TakeOverTests(SynchronousTestCase):
    def locked(self, directory: str) -> bool:
        """Whether somebody has the directory for itself."""
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def test_nobody_else_takes_a_path_over_meanwhile(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            seen: list[bool] = []
            look = listeners._remove_dead
            self.patch(
                listeners,
                "_remove_dead",
                lambda path: (seen.append(self.locked(directory)), look(path)),
            )
            reactor = LeanReactor()
            port = self.successResultOf(UNIXListener(reactor, f"{directory}/s").listen(Factory()))
            port.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(seen, [True])
            self.assertFalse(self.locked(directory))
            self.assertEqual(os.listdir(directory), [])

    def test_who_cannot_have_it_for_itself_goes_on_without(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            other = os.open(directory, os.O_RDONLY)
            fcntl.flock(other, fcntl.LOCK_EX)
            reactor = LeanReactor()
            port = self.successResultOf(UNIXListener(reactor, f"{directory}/s").listen(Factory()))
            port.connectionLost(Failure(ConnectionDone()))
            os.close(other)


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


class FindTests(SynchronousTestCase):
    """Which descriptor is meant."""

    own = {"LISTEN_PID": str(os.getpid())}

    def test_by_index_and_by_name(self) -> None:
        environ = {**self.own, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c:d"}
        self.assertEqual([find(index, "", environ) for index in ("0", "2")], [3, 5])
        self.assertEqual(find("", "b", environ), 4)

    def test_names_and_process_need_not_be_said(self) -> None:
        self.assertEqual(find("1", "", {"LISTEN_FDS": "2"}), 4)

    def test_what_was_not_handed_over_is_told_in_words(self) -> None:
        two = {**self.own, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b:c"}
        for index, name, environ, why in (
            ("0", "", {}, "LISTEN_FDS is not set"),
            ("0", "", {"LISTEN_FDS": "x"}, "LISTEN_FDS is not set"),
            ("2", "", two, r"\(2\) none has index 2"),
            ("-1", "", two, "whole number"),
            ("x", "", two, "whole number"),
            ("", "c", two, "none is called 'c'"),
            ("", "", two, "either index= or name="),
            ("0", "a", two, "either index= or name="),
            ("0", "", {**two, "LISTEN_PID": "1"}, "for the process 1"),
        ):
            with self.assertRaisesRegex(InheritanceError, why):
                find(index, name, environ)


class InheritedTests(SynchronousTestCase):
    def serve(self, listener: socket.socket, where: str) -> Process:
        """A server that has the socket as systemd hands it over."""
        server = Process(
            [
                sys.executable, "-c", _INHERIT, str(listener.fileno()), *TWISTD[1:],
                "echosvc", "--listen", where,
            ],
            pass_fds=(listener.fileno(),),
        )  # fmt: skip
        self.addCleanup(server.close)
        return server

    def test_a_tcp_socket_is_served_whoever_fills_its_queue_first(self) -> None:
        for where in ("systemd:domain=INET:index=0", "systemd:name=echo"):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                server = self.serve(listener, where)
                self.assertEqual(exchange(listener.getsockname(), b"x"), b"Sending: x")
                server.wait_line("Server listening")

    def test_a_unix_socket_is_left_as_it_is(self) -> None:
        """Its mode, its path, and the socket itself, which others may hold."""
        path = os.path.join(self.mktemp_directory(), "s")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen()
            server = self.serve(listener, "systemd:domain=UNIX:index=0")
            self.assertEqual(exchange(path, b"x"), b"Sending: x")
            self.assertIn(path, server.wait_line("Server listening"))
            server.signal()
            server.wait()
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            with socket.socket(socket.AF_UNIX) as client:  # it listens still
                client.settimeout(20)
                client.connect(path)
                accepted, _ = listener.accept()
                accepted.close()

    def test_what_does_not_listen_is_one_line(self) -> None:
        with socket.socket() as handle:
            server = self.serve(handle, "systemd:index=0")
            self.assertEqual(server.wait(), 1)
        (line,) = server.lines
        self.assertIn("it does not listen", line)

    def mktemp_directory(self) -> str:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return directory.name
