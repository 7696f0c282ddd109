"""Endpoint strings: read right, or refused in one line. Nothing here listens."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

import twisted.plugins
from echosvc.endpoints import EndpointError, client_endpoint, server_endpoint
from echosvc.net.connector import TCPConnector
from echosvc.net.listeners import DEFAULT_BACKLOG, TCPListener, UNIXListener
from echosvc.tls.endpoints import TLSConnector


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
            self.assertTrue(str(error).isprintable())
        else:
            self.fail(f"{description!r} was read as {found!r}")


#: Texts near to what is understood, and any.
KINDS = "tcp", "tcp6", "unix", "ssl", "tls", "systemd", "stdio", "haproxy", "http", "TCP", "a", ""
PIECES = (
    ":", "::", "//", "/", "@", "=", "[", "]", "[::1]", "::1", "%", "%lo", "\\", "80", "0", "99999",
    "localhost", "a.b", "my_echo", "\u00dc", "\u0661", " ", "\n", "\0", "\ud800", "*", "?", "#",
    ".", "port=", "interface=", "timeout=", "path=", "mode=", "index=", "x=", "-1", "backlog=",
)  # fmt: skip
TEXTS = st.text(st.characters(codec=None), max_size=20) | st.builds(
    lambda kind, colon, pieces: kind + colon + "".join(pieces),
    st.sampled_from(KINDS),
    st.sampled_from((":", "://", "")),
    st.lists(st.sampled_from(PIECES), max_size=8),
)
#: What Python says where a person should be told what to write.
PYTHON = re.compile(
    r"positional|keyword|\bgot\b|required argument|NoneType|object|codec|null byte|literal|"
    r"Error\b|\w\(\)|unpack|index out"
)


class ShortFormTests(EndpointTestCase):
    """What people write at first: a port, a host and a port, a URL."""

    def test_for_a_client(self) -> None:
        for description, name in (
            ("9000", "localhost:9000"),
            (":9000", "localhost:9000"),
            ("localhost:9000", "localhost:9000"),
            ("my_echo:9000", "my_echo:9000"),
            ("lb.example.:9000", "lb.example.:9000"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("[fe80::1%eth0]:9000", "[fe80::1%eth0]:9000"),
            ("tcp://localhost:9000", "localhost:9000"),
            ("tcp://localhost:9000/", "localhost:9000"),
            ("TCP://localhost:9000", "localhost:9000"),
            ("tcp://:9000", "localhost:9000"),
            ("tcp://[::1]:9000", "[::1]:9000"),
            ("tcp://[fe80::1%25lo]:9000", "[fe80::1%lo]:9000"),
            ("tcp://[fe80::1%lo]:9000", "[fe80::1%lo]:9000"),
            ("tcp:tcp:9000", "tcp:9000"),
        ):
            target = client_endpoint(self.reactor, description)
            self.assertIsInstance(target.endpoint, TCPConnector, description)
            self.assertEqual((target.name, str(target.endpoint)), (name, name))

    def test_for_a_client_with_tls(self) -> None:
        for description, name in (
            ("tls://localhost:9443", "localhost:9443"),
            ("TLS://[::1]:9443/", "[::1]:9443"),
        ):
            target = client_endpoint(self.reactor, description)
            self.assertIsInstance(target.endpoint, TLSConnector)
            self.assertEqual(target.name, name)

    def test_for_a_listener(self) -> None:
        for description, host in (
            ("9000", None),
            (":9000", None),
            ("*:9000", None),
            ("tcp://:9000", None),
            ("tcp://*:9000/", None),
            ("localhost:9000", "localhost"),
            ("0.0.0.0:9000", "0.0.0.0"),
            ("[::]:9000", "::"),
            ("[::1]:9000", "::1"),
            ("tcp://127.0.0.1:9000", "127.0.0.1"),
            ("tcp://[fe80::1%25lo]:9000", "fe80::1%lo"),
            ("BÜCHER.test:9000", "xn--bcher-kva.test"),
        ):
            found = server_endpoint(self.reactor, description)
            self.assertEqual(found, TCPListener(self.reactor, host, 9000), description)
        found = server_endpoint(self.reactor, "tcp6://[::1]:9000")
        self.assertEqual(found, TCPListener(self.reactor, "::1", 9000, only_ipv6=True))

    def test_a_path_of_a_url_for_both(self) -> None:
        for description in ("unix:/run/e.sock", "unix:///run/e.sock"):
            target = client_endpoint(self.reactor, description)
            self.assertEqual((target.endpoint._path, target.name), ("/run/e.sock",) * 2)
        self.assertEqual(client_endpoint(self.reactor, "unix://@name").endpoint._path, "\0name")
        found = server_endpoint(self.reactor, "unix:///run/e.sock:mode=660")
        self.assertEqual((found.path, found.mode), ("/run/e.sock", 0o660))

    def test_what_is_wrong_says_what_to_write_for_both(self) -> None:
        for description, pattern in (
            ("localhost", "the port is missing: write localhost:PORT$"),
            ("localhost:", "the port is missing: write localhost:PORT$"),
            ("[::1]", r"the port is missing: write \[::1\]:PORT$"),
            ("tcp://localhost", "the port is missing: write tcp://localhost:PORT$"),
            ("tls://localhost/", "the port is missing: write tls://localhost:PORT$"),
            ("tcp://", "the port is missing: write tcp://HOST:PORT$"),
            ("::1", r"in brackets: \[::1\]:PORT$"),
            ("::1:9000", r"in brackets: \[::1\]:9000, or \[::1:9000\]:PORT$"),
            ("fe80::1%lo:99", r"in brackets: \[fe80::1%lo\]:99$"),
            ("localhost:٩", "the port must be digits alone, such as 8107, not '٩'"),
            (":x", "the port must be digits alone, such as 8107, not 'x'"),
            ("-1", "the port must be digits alone, such as 8107, not '-1'"),
            ("9000 ", "the port must be digits alone, such as 8107, not '9000 '"),
            ("tcp:9871:interface=[::1", "is not closed: write .ADDRESS.$"),
            ("fe80::1%lo", r"in brackets: \[fe80::1%lo\]:PORT$"),
            ("tcp://::1", r"in brackets: tcp://\[::1\]:PORT$"),
            ("[localhost]:80", "brackets are for an IPv6 address, not 'localhost'"),
            ("http://localhost:80", "http:// is no kind of endpoint: write tcp://HOST:PORT"),
            ("unix://run/e", "third slash: unix:///run/e"),
            ("tcp://me@localhost:80", "a user or a password is not supported"),
            ("tcp://me:word@localhost:80/", "a user or a password is not supported"),
            ("tcp://localhost:80/path", "a path or a query is not supported"),
            ("tcp://localhost:80?a=1", "a path or a query is not supported"),
            ("tcp://localhost:80/#a", "a path or a query is not supported"),
            ("localhost:80:timeout=3", "the kind before the host: tcp:localhost:80:timeout=3$"),
            ("tls://localhost:80:x=3", "the kind before the host: tls:localhost:80:x=3$"),
            ("localhost:99999", "65535, not '99999'"),
            ("99999999999999999999", "65535, not '9"),
            ("\u0661", "the port must be digits alone"),
            ("localhost:\u0661", "the port must be digits alone"),
            ("a b:80", "'a b' is no host name and no address"),
            ("me@localhost:80", "'me@localhost' is no host name and no address"),
            ("UNIX:///run/e", "lower case"),
        ):
            for read in (client_endpoint, server_endpoint):
                self.refused(read, description, pattern)

    def test_a_client_needs_a_port_and_a_listener_may_take_any(self) -> None:
        self.refused(client_endpoint, "localhost:0", "1 to 65535, not '0'")
        self.assertEqual(server_endpoint(self.reactor, "0").port, 0)

    def test_a_listener_for_tls_needs_certificates(self) -> None:
        for description, written in (
            ("tls://:9443", "ssl:9443:privateKey=FILE:certKey=FILE or tls:DIRECTORY:9443$"),
            ("ssl://localhost:9443", "interface=localhost$"),
            ("tls://[::1]:9443", r"interface=\[::1\]$"),
        ):
            self.refused(server_endpoint, description, f"needs certificates: write .*{written}")
        self.refused(client_endpoint, "ssl://localhost:9443", "use tls:HOST:PORT")

    @settings(deadline=None)
    @given(TEXTS)
    def test_any_text_is_an_endpoint_or_one_line_without_words_of_python(self, text: str) -> None:
        for read in (client_endpoint, server_endpoint):
            if read is server_endpoint and text.startswith("tls:"):
                continue  # it would look for certificates all over this machine
            try:
                read(self.reactor, text)
            except EndpointError as error:
                self.assertTrue(str(error).isprintable(), str(error))
                if not PYTHON.search(text):
                    self.assertNotRegex(str(error), PYTHON)


class PluginTests(EndpointTestCase):
    """Kinds that somebody has added to Twisted."""

    PLUGIN = """
from zope.interface import implementer
from twisted.plugin import IPlugin
from twisted.internet import interfaces
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint

class Kind:
    prefix = "carrier"
    def parseStreamServer(self, reactor, port, backlog="5"):
        return TCP4ServerEndpoint(reactor, int(port), int(backlog))
    def parseStreamClient(self, reactor, host, port):
        return TCP4ClientEndpoint(reactor, {"pigeon": "127.0.0.1"}[host], int(port))

@implementer(IPlugin, interfaces.IStreamServerEndpointStringParser)
class Server(Kind): pass

@implementer(IPlugin, interfaces.IStreamClientEndpointStringParserWithReactor)
class Client(Kind): pass

server, client = Server(), Client()
"""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.mkdtemp(prefix="echo")
        self.addCleanup(shutil.rmtree, directory)
        self.addCleanup(sys.modules.pop, "twisted.plugins.carrier_plugin", None)
        with open(os.path.join(directory, "carrier_plugin.py"), "w") as file:
            file.write(self.PLUGIN)
        self.patch(twisted.plugins, "__path__", [*twisted.plugins.__path__, directory])

    def test_they_go_on_working(self) -> None:
        found = server_endpoint(self.reactor, "carrier:80")
        self.assertIsInstance(found, TCP4ServerEndpoint)
        target = client_endpoint(self.reactor, "carrier:pigeon:80")
        self.assertIsInstance(target.endpoint, TCP4ClientEndpoint)

    def test_their_errors_are_told_in_words(self) -> None:
        for description, pattern in (
            ("carrier", "^missing: port$"),
            ("carrier:80:wings=2", "^unknown argument 'wings'$"),
            ("carrier:80:1:2", "^it has too many arguments$"),
            ("carrier:80:port=1", "^port is given twice$"),
            ("carrier:seed", "^'seed' is no number$"),
        ):
            self.refused(server_endpoint, description, pattern)
        for description, pattern in (
            ("carrier", "^missing: host and port$"),
            ("carrier:dove:80", "^this kind of endpoint does not accept it$"),
        ):
            self.refused(client_endpoint, description, pattern)


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
