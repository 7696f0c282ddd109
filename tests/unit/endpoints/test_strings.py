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
)

import twisted.plugins
from echosvc.endpoints import EndpointError, client_endpoint, server_endpoint
from echosvc.net.connector import TCPConnector
from echosvc.net.listeners import TCPListener
from echosvc.tls.endpoints import TLSConnector
from tests.support.endpoints import EndpointTestCase

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
