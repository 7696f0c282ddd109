"""Endpoint strings: read right, or refused in one line. Nothing here listens."""

from __future__ import annotations

import os
import tempfile

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.endpoints import EndpointError, client_endpoint, server_endpoint
from echosvc.listeners import BACKLOG, TCPListener, UNIXListener
from echosvc.options import one_line


class EndpointTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def tearDown(self) -> None:
        reactor = self.reactor
        opened = [reactor.tcpServers, reactor.sslServers, reactor.unixServers, reactor.adoptedPorts]
        opened += [reactor.tcpClients, reactor.sslClients, reactor.unixClients]
        self.assertEqual([each for each in opened if each], [])

    def refused(self, read: object, description: str, pattern: str = ".") -> None:
        try:
            found = read(self.reactor, description)
        except EndpointError as error:
            self.assertRegex(str(error), pattern)
            self.assertNotIn("\n", str(error))
        else:
            self.fail(f"{description!r} was read as {found!r}")


class ServerTests(EndpointTestCase):
    def tcp(self, description: str) -> tuple[str | None, int, int]:
        listener = server_endpoint(self.reactor, description)
        self.assertIsInstance(listener, TCPListener)
        return listener.host, listener.port, listener.backlog

    def unix(self, description: str) -> tuple[str, int, int]:
        listener = server_endpoint(self.reactor, description)
        self.assertIsInstance(listener, UNIXListener)
        return listener.path, listener.mode, listener.backlog

    def test_tcp(self) -> None:
        for description, found in (
            ("tcp:8107", ("", 8107)),
            ("tcp:0", ("", 0)),
            ("tcp:port=65535", ("", 65535)),
            ("tcp:8107:interface=127.0.0.1", ("127.0.0.1", 8107)),
            ("tcp:8107:127.0.0.1", ("127.0.0.1", 8107)),
            ("tcp:interface=localhost:port=9", ("localhost", 9)),
            (r"tcp:8107:interface=\:\:1", ("::1", 8107)),
            ("tcp:8107:interface=[::1]", ("::1", 8107)),
            ("tcp6:8107", ("::", 8107)),
            (r"tcp6:8107:interface=\:\:1", ("::1", 8107)),
            ("tcp6:0:interface=[2001:db8::1]", ("2001:db8::1", 0)),
        ):
            self.assertEqual(self.tcp(description)[:2], found, description)

    def test_the_backlog_is_511_unless_the_string_says_otherwise(self) -> None:
        self.assertEqual(BACKLOG, 511)
        for kind in ("tcp:0", "tcp6:0"):
            self.assertEqual(self.tcp(kind)[2], 511)
            self.assertEqual(self.tcp(f"{kind}:backlog=7")[2], 7)
        self.assertEqual(self.unix("unix:/tmp/x")[2], 511)
        self.assertEqual(self.unix("unix:/tmp/x:backlog=7")[2], 7)

    def test_wrong_tcp_strings_are_refused(self) -> None:
        for description, pattern in (
            ("tcp", "port"),
            ("tcp:", "port"),
            ("tcp:http", "port.*'http'"),
            ("tcp:65536", "0 to 65535, not '65536'"),
            ("tcp:-1", "'-1'"),
            ("tcp:1.5", "'1.5'"),
            ("tcp:+1", r"'\+1'"),
            ("tcp: 1", "' 1'"),
            ("tcp:1_0", "'1_0'"),
            ("tcp:\u0661", "port"),
            ("tcp:9999999999999", "port"),
            ("tcp:80:backlog=0", "backlog.*'0'"),
            ("tcp:80:backlog=many", "backlog.*'many'"),
            ("tcp:80:reuse=1", "'reuse'"),
            ("tcp:80:reactor=1", "reactor"),
            ("tcp:80:a:1:b", "."),
            ("tcp:80:interface=::1", "."),
        ):
            self.refused(server_endpoint, description, pattern)

    def test_unix(self) -> None:
        for description, found in (
            ("unix:/run/e.sock", ("/run/e.sock", 0o666)),
            ("unix:address=/run/e.sock", ("/run/e.sock", 0o666)),
            ("unix:/run/e.sock:mode=660", ("/run/e.sock", 0o660)),
            ("unix:/run/e.sock:mode=0600:lockfile=0", ("/run/e.sock", 0o600)),
            (r"unix:/run/a\:b", ("/run/a:b", 0o666)),
            ("unix:/run/a=b", ("/run/a=b", 0o666)),
            (r"unix:/run/a\\b", (r"/run/a\b", 0o666)),
            ("unix:@name", ("@name", 0o666)),
            ("unix:/run/kä se", ("/run/kä se", 0o666)),
        ):
            self.assertEqual(self.unix(description)[:2], found, description)

    def test_wrong_unix_strings_are_refused(self) -> None:
        for description, pattern in (
            ("unix", "address"),
            ("unix:", "path|address"),
            ("unix:/x:mode=999", "mode.*'999'"),
            ("unix:/x:mode=rw", "mode.*'rw'"),
            ("unix:/x:mode=", "mode is empty"),
            ("unix:/x:owner=me", "'owner'"),
        ):
            self.refused(server_endpoint, description, pattern)

    def test_unknown_kinds_and_unreadable_files_are_refused(self) -> None:
        for description, pattern in (
            ("", "."),
            (":80", "."),
            ("8107", "8107"),
            ("tcpp:80", "tcpp"),
            ("TCP:80", "unknown kind 'TCP': kinds are in lower case"),
            ("unknown:a\nb", "unknown"),
            ("systemd:domain=INET:index=0", "LISTEN_FDS"),
            ("ssl:443:privateKey=/no/such.pem", "/no/such.pem.*ENOENT"),
            ("tls:/no/such/directory:443", "/no/such/directory.*ENOENT"),
            ("tls", "."),
            ("haproxy", "not supported"),
            ("haproxy:tcp:80", "loses what is due when a client ends"),
            ("systemd:domain=INET:nonsense=1", "unknown argument 'nonsense'"),
            ("ssl:443:privateKey=", "privateKey is empty"),
            ("tls::443", "path is empty"),
            ("tcp:0:port=1", "multiple values"),
            ("tcp:port=0:port=1", "argument 'port' is given twice"),
            ("tcp:0:interface=\\", "ends with a backslash"),
            ("unix:/x\\\\\\", "ends with a backslash"),
            ("tcp6:0:interface=127.0.0.1", "IPv6 address, not '127.0.0.1'"),
        ):
            self.refused(server_endpoint, description, pattern)

    def test_a_backslash_at_the_end_may_be_escaped(self) -> None:
        self.assertEqual(server_endpoint(self.reactor, "unix:/x\\\\").path, "/x\\")

    def test_a_file_that_is_no_certificate_is_refused(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"no certificate\n")
            file.flush()
            self.refused(server_endpoint, f"ssl:443:privateKey={file.name}:certKey={file.name}")

    @given(
        st.text(max_size=20) | st.from_regex(r"(tcp6?|unix|ssl|haproxy):.{0,12}", fullmatch=True)
    )
    def test_any_string_is_read_or_refused_in_one_line(self, description: str) -> None:
        try:
            server_endpoint(self.reactor, description)
        except EndpointError as error:
            self.assertTrue(one_line(str(error)).isprintable())

    def test_names_for_people(self) -> None:
        for description, name in (
            ("tcp:80", "0.0.0.0:80"),
            ("tcp6:80", "[::]:80"),
            ("tcp:80:interface=localhost", "localhost:80"),
            ("unix:/run/e.sock", "unix:/run/e.sock"),
        ):
            self.assertEqual(str(server_endpoint(self.reactor, description)), name)
        self.assertEqual(str(TCPListener(self.reactor)), "[::]:8107")


class ClientTests(EndpointTestCase):
    def test_tcp(self) -> None:
        for description, host, port, name in (
            ("tcp:localhost:8107", "localhost", 8107, "localhost:8107"),
            ("tcp:192.0.2.1:80:timeout=5", "192.0.2.1", 80, "192.0.2.1:80"),
            ("tcp:host=a.example:port=1", "a.example", 1, "a.example:1"),
        ):
            target = client_endpoint(self.reactor, description)
            self.assertIsInstance(target.endpoint, HostnameEndpoint)
            self.assertEqual((target.endpoint._hostText, target.endpoint._port), (host, port))
            self.assertEqual(target.name, name)

    def test_an_ipv6_address_in_brackets_or_escaped(self) -> None:
        for description in ("tcp:[::1]:8107", r"tcp:\:\:1:8107", "tcp:host=[::1]:port=8107"):
            target = client_endpoint(self.reactor, description)
            self.assertEqual(target.endpoint._hostText, "::1")
            self.assertEqual(target.endpoint._port, 8107)
            self.assertEqual(target.numeric(), "[::1]:8107")

    def test_wrong_tcp_strings_are_refused(self) -> None:
        for description, pattern in (
            ("tcp", "host"),
            ("tcp:localhost", "port"),
            ("tcp::80", "host|port"),
            ("tcp:localhost:", "port"),
            ("tcp:localhost:0", "1 to 65535, not '0'"),
            ("tcp:localhost:echo", "'echo'"),
            ("tcp:localhost:80:timeout=0", "timeout.*'0'"),
            ("tcp:localhost:80:speed=9", "'speed'"),
            ("tcp:::1:80", "."),
        ):
            self.refused(client_endpoint, description, pattern)

    def test_unix(self) -> None:
        for description, path in (
            ("unix:/run/e.sock", "/run/e.sock"),
            ("unix:path=/run/e.sock:timeout=3", "/run/e.sock"),
            ("unix:@name", "\0name"),
            ("unix:e.sock", os.path.abspath("e.sock")),
        ):
            target = client_endpoint(self.reactor, description)
            self.assertIsInstance(target.endpoint, UNIXClientEndpoint)
            self.assertEqual(target.endpoint._path, path)
        self.assertEqual(target.numeric(), "e.sock")

    def test_wrong_unix_strings_are_refused(self) -> None:
        for description, pattern in (
            ("unix", "path"),
            ("unix:", "path|address"),
            ("unix:/x:timeout=soon", "timeout.*'soon'"),
            ("unix:/x:mode=600", "'mode'"),
        ):
            self.refused(client_endpoint, description, pattern)

    def test_an_endpoint_that_verifies_nothing_is_refused(self) -> None:
        self.refused(client_endpoint, "ssl:localhost:8107", "use tls:")

    def test_wrong_arguments_are_refused(self) -> None:
        for description, pattern in (
            ("TLS:localhost:443", "lower case"),
            ("tls:localhost:443:trustRoots=", "trustRoots is empty"),
            ("tcp:localhost:443:bindAddress=zzz", "bindAddress must be an address, not 'zzz'"),
        ):
            self.refused(client_endpoint, description, pattern)

    def test_tls_is_tcp_with_a_name_to_verify(self) -> None:
        target = client_endpoint(self.reactor, "tls:localhost:8107")
        self.assertEqual(target.name, "localhost:8107")
        target = client_endpoint(self.reactor, r"tls:example.com:443:endpoint=unix\:/x")
        self.assertEqual(target.name, "/x")
        for description, pattern in (
            ("tls:localhost", "'port'"),
            ("tls:localhost:0", "port"),
            ("tls:localhost:443:trustRoots=/no/such", "/no/such.*ENOENT"),
            ("tls:localhost:443:certificate=/no/such", "/no/such.*ENOENT"),
            (r"tls:localhost:443:endpoint=tpc\:1", "."),
        ):
            self.refused(client_endpoint, description, pattern)

    def test_unknown_kinds_are_refused(self) -> None:
        for description in ("", "localhost:8107", "tpc:localhost:80", "tls", "ssl:a"):
            self.refused(client_endpoint, description)

    def test_the_number_of_a_name_is_its_ipv4_address(self) -> None:
        target = client_endpoint(self.reactor, "tcp:localhost:8107")
        self.assertEqual(target.numeric(), "127.0.0.1:8107")

    def test_a_name_that_nobody_knows_stays_itself(self) -> None:
        target = client_endpoint(self.reactor, "tcp:no-such.invalid:8107")
        self.assertEqual(target.numeric(), "no-such.invalid:8107")
