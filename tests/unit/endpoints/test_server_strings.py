"""Endpoint strings of servers: read right, or refused in one line."""

from __future__ import annotations

import tempfile

from echosvc.endpoints import server_endpoint
from echosvc.net.listeners import DEFAULT_BACKLOG, TCPListener, UNIXListener
from tests.support.endpoints import EndpointTestCase


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
            ("tcp:8107", (None, 8107)),
            ("tcp:0", (None, 0)),
            ("tcp:port=65535", (None, 65535)),
            ("tcp:8107:interface=", (None, 8107)),
            ("tcp:8107:interface=0.0.0.0", ("0.0.0.0", 8107)),
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
        self.assertEqual(DEFAULT_BACKLOG, 511)
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
            ("tcp:80:a:1:b", "'b' is one argument too many: write tcp:PORT"),
            ("tcp:80:interface=::1", r"an IPv6 address in brackets: \[::1\]"),
            ("tcp:127.0.0.1:80", "write tcp:80:interface=127.0.0.1"),
            ("tcp:80:interface=a b", "'a b' is no host name"),
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
            ("unix", "the path is missing: write unix:PATH"),
            ("unix:", "the path is missing: write unix:PATH"),
            ("unix:@", "the path is empty"),
            ("unix://run/e.sock", "third slash: unix:///run/e.sock"),
            ("unix:/x\0y", "NUL"),
            ("unix:/" + "x" * 107, "longer than 107 bytes"),
            ("unix:/x:mode=999", "mode.*'999'"),
            ("unix:/x:mode=rw", "mode.*'rw'"),
            ("unix:/x:mode=", "mode is empty"),
            ("unix:/x:owner=me", "'owner'"),
        ):
            self.refused(server_endpoint, description, pattern)

    def test_unknown_kinds_and_unreadable_files_are_refused(self) -> None:
        for description, pattern in (
            ("", "it is empty: write PORT"),
            ("tcpp:http", "'tcpp' is no kind of endpoint, and no port follows it: write PORT"),
            ("tcpp:a:80", "unknown kind 'tcpp': write PORT"),
            ("TCP:80", "unknown kind 'TCP': kinds are in lower case"),
            ("unknown:a\nb", "unknown"),
            ("systemd:domain=INET:index=0", "LISTEN_FDS"),
            ("ssl:443:privateKey=/no/such.pem", "/no/such.pem.*ENOENT"),
            ("tls:/no/such/directory:443", "/no/such/directory.*ENOENT"),
            ("tls", "the path is missing: write tls:DIRECTORY:PORT"),
            ("haproxy", "not supported"),
            ("haproxy:tcp:80", "it loses replies after a half-close"),
            ("systemd:domain=INET:nonsense=1", "unknown argument 'nonsense'"),
            ("ssl:443:privateKey=", "privateKey is empty"),
            ("tls::443", "path is missing"),
            ("tcp:0:port=1", "argument 'port' is given twice"),
            ("tcp:port=0:port=1", "argument 'port' is given twice"),
            ("tcp:0:interface=\\", "ends with a backslash"),
            ("unix:/x\\\\\\", "ends with a backslash"),
            ("tcp6:0:interface=127.0.0.1", "IPv6 address or a name, not '127.0.0.1'"),
        ):
            self.refused(server_endpoint, description, pattern)

    def test_a_backslash_at_the_end_may_be_escaped(self) -> None:
        self.assertEqual(server_endpoint(self.reactor, "unix:/x\\\\").path, "/x\\")

    def test_a_file_that_is_no_certificate_is_refused(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"no certificate\n")
            file.flush()
            self.refused(server_endpoint, f"ssl:443:privateKey={file.name}:certKey={file.name}")

    def test_names_for_people(self) -> None:
        for description, name in (
            ("tcp:80", "[::]:80"),
            ("tcp:80:interface=0.0.0.0", "0.0.0.0:80"),
            ("tcp6:80", "[::]:80"),
            ("tcp:80:interface=localhost", "localhost:80"),
            ("unix:/run/e.sock", "unix:/run/e.sock"),
        ):
            self.assertEqual(str(server_endpoint(self.reactor, description)), name)
        self.assertEqual(str(TCPListener(self.reactor)), "[::]:8107")
