"""Endpoint strings of clients: read right, or refused in one line."""

from __future__ import annotations

import os

from twisted.internet.endpoints import (
    UNIXClientEndpoint,
)

from echosvc.endpoints import client_endpoint
from echosvc.net.connector import TCPConnector
from tests.support.endpoints import EndpointTestCase


class ClientTests(EndpointTestCase):
    def test_tcp(self) -> None:
        for description, host, port, name in (
            ("tcp:localhost:8107", "localhost", 8107, "localhost:8107"),
            ("tcp:192.0.2.1:80:timeout=5", "192.0.2.1", 80, "192.0.2.1:80"),
            ("tcp:host=a.example:port=1", "a.example", 1, "a.example:1"),
        ):
            target = client_endpoint(self.reactor, description)
            self.assertIsInstance(target.endpoint, TCPConnector)
            self.assertEqual((target.endpoint.host, target.endpoint.port), (host, port))
            self.assertEqual(target.name, name)

    def test_an_ipv6_address_in_brackets_or_escaped(self) -> None:
        for description in ("tcp:[::1]:8107", r"tcp:\:\:1:8107", "tcp:host=[::1]:port=8107"):
            target = client_endpoint(self.reactor, description)
            self.assertEqual((target.endpoint.host, target.endpoint.port), ("::1", 8107))
            self.assertEqual(target.name, "[::1]:8107")

    def test_wrong_tcp_strings_are_refused(self) -> None:
        for description, pattern in (
            ("tcp", "the host and the port are missing: write tcp:HOST:PORT"),
            ("tcp:localhost", "the port is missing: write tcp:HOST:PORT"),
            ("tcp::80", "the host is missing: write tcp:HOST:PORT"),
            ("tcp:localhost:", "the port is missing: write tcp:HOST:PORT"),
            ("tcp:localhost:0", "1 to 65535, not '0'"),
            ("tcp:localhost:echo", "'echo'"),
            ("tcp:localhost:80:timeout=0", "timeout.*'0'"),
            ("tcp:localhost:80:speed=9", "'speed'"),
            ("tcp:::1:80", r"an IPv6 address in brackets: \[::1\]"),
            ("tcp:a..b:80", "'a..b' is no host name and no address"),
            (f"tcp:{'a' * 64}:80", "is no host name"),
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
        self.assertEqual(target.name, "e.sock")

    def test_wrong_unix_strings_are_refused(self) -> None:
        for description, pattern in (
            ("unix", "the path is missing: write unix:PATH"),
            ("unix:", "the path is missing: write unix:PATH"),
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
            ("tls:localhost", "the port is missing: write tls:HOST:PORT"),
            ("tls:localhost:0", "port"),
            ("tls:localhost:443:trustRoots=/no/such", "/no/such.*ENOENT"),
            ("tls:localhost:443:certificate=/no/such", "/no/such.*ENOENT"),
            (r"tls:localhost:443:endpoint=tpc\:a\:1", "unknown kind 'tpc'"),
        ):
            self.refused(client_endpoint, description, pattern)

    def test_unknown_kinds_are_refused(self) -> None:
        for description, pattern in (
            ("", "it is empty: write PORT"),
            ("tpc:localhost:80", "unknown kind 'tpc': write PORT"),
            ("tls", "the host and the port are missing"),
            ("ssl:a", "use tls:"),
            ("tcp6:80", "tcp6: is for listeners"),
            ("systemd:name=a", "systemd: is for listeners"),
        ):
            self.refused(client_endpoint, description, pattern)

    def test_a_failure_is_told_with_its_address_and_else_with_the_name(self) -> None:
        target = client_endpoint(self.reactor, "tcp:localhost:8107")
        self.assertEqual(target.where(OSError()), "localhost:8107")
