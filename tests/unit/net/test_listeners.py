"""Listening sockets, without a reactor where none is needed."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile

from OpenSSL import SSL
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

from echosvc.endpoints import server_endpoint
from echosvc.net import listeners
from echosvc.net.errors import describe_error, describe_tls_error, listen_error
from echosvc.net.listeners import TCPListener, UNIXListener
from echosvc.net.reactor import LeanReactor
from echosvc.net.systemd import SocketActivationError, activation_fds
from tests.support.certificates import issue
from tests.support.process import TWISTD, Process, handed_over
from tests.support.sockets import exchange


class Without(TCPListener):
    """A listener on a machine whose IPv6 fails in a given way."""

    failure = errno.EAFNOSUPPORT

    def _bind(self, host: str) -> socket.socket:
        if host == "::":
            raise OSError(self.failure, os.strerror(self.failure))
        return super()._bind(host)


BOTH = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def need_ipv6(case: SynchronousTestCase) -> None:
    """Skip where nothing can listen on ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        case.skipTest(f"this machine has no IPv6: {error}")


def reached(listener: TCPListener) -> list[str]:
    """The own addresses at which a client reaches it."""
    found: list[str] = []
    with listener._open() as opened:
        port = opened.getsockname()[1]
        for family, host in BOTH.items():
            with socket.socket(family) as client:
                if client.connect_ex((host, port)) == 0:
                    found.append(host)
    return found


class TCPListenerTests(SynchronousTestCase):
    def listener(self, description: str) -> TCPListener:
        found = server_endpoint(MemoryReactorClock(), description)
        self.assertIsInstance(found, TCPListener)
        return found

    def test_both_families_are_served_unless_the_string_says_otherwise(self) -> None:
        need_ipv6(self)
        self.assertEqual(reached(TCPListener(MemoryReactorClock(), port=0)), [*BOTH.values()])
        for description, hosts in (
            ("0", ["127.0.0.1", "::1"]),
            (":0", ["127.0.0.1", "::1"]),
            ("*:0", ["127.0.0.1", "::1"]),
            ("tcp:0", ["127.0.0.1", "::1"]),
            ("tcp:0:interface=[::]", ["127.0.0.1", "::1"]),
            ("[::]:0", ["127.0.0.1", "::1"]),
            ("tcp:0:interface=0.0.0.0", ["127.0.0.1"]),
            ("127.0.0.1:0", ["127.0.0.1"]),
            ("[::1]:0", ["::1"]),
            ("tcp6:0", ["::1"]),
            ("tcp6:0:interface=[::1]", ["::1"]),
            ("tcp6:0:interface=", ["::1"]),
            ("tcp6://[::]:0", ["::1"]),
        ):
            self.assertEqual(reached(self.listener(description)), hosts, description)

    def test_so_do_those_for_tls(self) -> None:
        need_ipv6(self)
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "a.pem")
            with open(path, "wb") as file:
                file.write(issue("localhost").pem)
            for description, host in (
                (f"ssl:0:privateKey={path}", None),
                (f"ssl:0:privateKey={path}:interface=[::1]", "::1"),
                (f"tls:{place}:0", None),
                (f"tls:{place}:0:interface=127.0.0.1", "127.0.0.1"),
            ):
                below = server_endpoint(MemoryReactorClock(), description)._endpoint
                self.assertEqual((below.host, below.port), (host, 0))
                self.assertIsInstance(below, TCPListener)

    def test_an_interface_may_be_a_name_and_an_address_may_have_a_zone(self) -> None:
        need_ipv6(self)
        with self.listener("localhost:0")._open() as listener:
            self.assertIn(listener.getsockname()[0], BOTH.values())
        with self.listener("tcp6:0:interface=[::1%lo]")._open() as listener:
            self.assertEqual(listener.getsockname()[0], "::1")

    def test_a_zone_that_is_not_there_is_told_in_words(self) -> None:
        listener = self.listener("[fe80::1%nosuch0]:0")
        error = self.failureResultOf(listener.listen(Factory()), OSError).value
        self.assertEqual(
            str(listen_error(str(listener), error)),
            "cannot listen on [fe80::1%nosuch0]:0: ENODEV (there is no network interface"
            " 'nosuch0')",
        )

    def test_without_ipv6_it_is_ipv4_alone(self) -> None:
        for failure in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL):
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
        """Return whether somebody has the directory for itself."""
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
            look = listeners._unlink_stale
            self.patch(
                listeners,
                "_unlink_stale",
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
            self.assertEqual(describe_error(error), name)

    def test_twisteds_own_failure_to_listen_names_the_address(self) -> None:
        inner = OSError(errno.EADDRINUSE, "in use")
        error = listen_error("ssl:1", CannotListenError("", 1, inner))
        self.assertEqual(str(error), "cannot listen on 0.0.0.0:1: EADDRINUSE (in use)")

    def test_an_ipv6_address_stands_in_brackets_before_its_port(self) -> None:
        error = listen_error("", CannotListenError("::1", 1, OSError(errno.EACCES, "no")))
        self.assertEqual(str(error), "cannot listen on [::1]:1: EACCES (no)")

    def test_an_error_of_openssl_is_told_in_its_words_everywhere(self) -> None:
        error = SSL.Error([("lib", "function", "wrong version number"), ("", "", "bad record")])
        self.assertEqual(describe_tls_error(error), "TLS: wrong version number; bad record")
        self.assertEqual(describe_error(error), "TLS: wrong version number; bad record")
        self.assertEqual(describe_tls_error(SSL.Error([])), "TLS: the connection ended")
        self.assertEqual(describe_tls_error(ValueError("of two\nlines")), "TLS: of two lines")


class FindTests(SynchronousTestCase):
    """Which descriptor is meant."""

    own = {"LISTEN_PID": str(os.getpid())}

    def test_by_index_and_by_name(self) -> None:
        environ = {**self.own, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c:d"}
        self.assertEqual([activation_fds(index, "", environ) for index in ("0", "2")], [(3,), (5,)])
        self.assertEqual(activation_fds("", "b", environ), (4,))

    def test_all_of_one_name_are_meant(self) -> None:
        environ = {**self.own, "LISTEN_FDS": "4", "LISTEN_FDNAMES": "a:b:a:a:a"}
        self.assertEqual(activation_fds("", "a", environ), (3, 5, 6))

    def test_names_and_process_need_not_be_said(self) -> None:
        self.assertEqual(activation_fds("1", "", {"LISTEN_FDS": "2"}), (4,))

    def test_what_was_not_handed_over_is_told_in_words(self) -> None:
        two = {**self.own, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b:c"}
        for index, name, environ, why in (
            ("0", "", {}, "LISTEN_FDS is not set"),
            ("0", "", {"LISTEN_FDS": "x"}, "LISTEN_FDS is not set"),
            ("0", "", {"LISTEN_FDS": "\u0663"}, "LISTEN_FDS is not set"),
            ("0", "", {"LISTEN_FDS": "9" * 5000}, "LISTEN_FDS is not set"),
            ("9" * 5000, "", two, "whole number"),
            ("2", "", two, r"\(2\) none has index 2"),
            ("-1", "", two, "whole number"),
            ("x", "", two, "whole number"),
            ("", "c", two, "none has the name 'c'"),
            ("", "", two, "either index= or name="),
            ("0", "a", two, "either index= or name="),
            ("0", "", {**two, "LISTEN_PID": "1"}, "for the process 1"),
        ):
            with self.assertRaisesRegex(SocketActivationError, why):
                activation_fds(index, name, environ)


class InheritedTests(SynchronousTestCase):
    def serve(self, listener: socket.socket, where: str) -> Process:
        """A server that has the socket as systemd hands it over."""
        command = handed_over([listener], ["echo"], [*TWISTD, "echosvc", "--listen", where])
        server = Process(command, pass_fds=(listener.fileno(),))
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
