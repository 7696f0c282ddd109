"""Programs that pass a connection on: each listens, connects to its target and copies."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from tests.programs.faults.registry import Absent, program
from tests.programs.paths.catalogue.builders.certificates import key_and_certificate
from tests.programs.paths.catalogue.builders.scripts import SOCKS_CLIENT
from tests.programs.paths.catalogue.entry import Hop
from tests.programs.paths.catalogue.places import (
    Place,
    Sides,
    configured,
    free_port,
    listening,
)


def relay(*words: str) -> Hop:
    """A program whose words contain ``{host}``, ``{port}``, ``{to_host}`` and ``{to_port}``."""
    return configured_relay("", "", *words)


def configured_relay(name: str, text: str, *words: str) -> Hop:
    """The same with a file of its own, whose path is ``{file}`` in the words.

    :param name: of the file.
    :param text: in it; the same names stand in it, and ``{user}``, ``{pem}`` and ``{directory}``.
    """

    @contextmanager
    def start(sides: Sides, target: Place) -> Iterator[Place]:
        place = Place(sides.host, free_port())
        names = {
            "host": place.host,
            "port": str(place.port),
            "to_host": target.host,
            "to_port": str(target.port),
            "user": getpass.getuser(),
            "pem": str(key_and_certificate()),
        }
        with configured(name or "unused", _fill(text, names)) as path:
            names |= {"file": str(path), "directory": str(path.parent)}
            filled = [_fill(word, names) for word in words]
            with listening([*sides.server, program(filled[0]), *filled[1:]], place):
                yield place

    return start


def _fill(text: str, names: dict[str, str]) -> str:
    """Only these names: other braces stay."""
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def socat(left: str = "", right: str = "", *options: str) -> Hop:
    """socat, a process for each connection.

    :param left: more of the address that listens.
    :param right: more of the address that connects.
    """
    listen = f"TCP-LISTEN:{{port}},fork,reuseaddr,bind={{host}},backlog=128{left}"
    return relay("socat", *options, listen, f"TCP:{{to_host}}:{{to_port}}{right}")


def ncat() -> Hop:
    """ncat, which starts another one for each connection."""
    each = "ncat {to_host} {to_port}"
    return relay("ncat", "-l", "-k", "-m", "100", "--sh-exec", each, "{host}", "{port}")


def redir() -> Hop:
    """redir, a process for each connection."""
    return relay("redir", "-n", "{host}:{port}", "{to_host}:{to_port}")


def rinetd() -> Hop:
    """rinetd, all connections in one process."""
    rule = "{host} {port} {to_host} {to_port}\n"
    return configured_relay("rinetd.conf", rule, "rinetd", "-f", "-c", "{file}")


def simpleproxy() -> Hop:
    """simpleproxy, a process for each connection."""
    return relay("simpleproxy", "-L", "{host}:{port}", "-R", "{to_host}:{to_port}")


def pen(*options: str) -> Hop:
    """pen, all connections in one process."""
    return relay("pen", "-f", *options, "{host}:{port}", "{to_host}:{to_port}")


def sslh(kind: str = "sslh") -> Hop:
    """sslh, which looks at the first bytes of each connection."""
    where = ("--listen", "{host}:{port}", "--anyprot", "{to_host}:{to_port}")
    return relay(kind, "--foreground", *where)


_XINETD = """\
service echo
{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    user = {user}
    wait = no
    bind = {host}
    port = {port}
    redirect = {to_host} {to_port}
    {more}
}
"""


def stone() -> Hop:
    """stone, all connections in one process."""
    return relay("stone", "{to_host}:{to_port}", "{host}:{port}")


def socket_proxyd() -> Hop:
    """systemd's proxy of sockets."""
    proxy = "/lib/systemd/systemd-socket-proxyd"
    return relay("systemd-socket-activate", "-l", "{host}:{port}", proxy, "{to_host}:{to_port}")


@contextmanager
def pproxy(sides: Sides, target: Place) -> Iterator[Place]:
    """A tunnel of pproxy, a package of Python; it is a :data:`~entry.Hop`."""
    if find_spec("pproxy") is None:
        raise Absent("pproxy is not installed")
    way = "tunnel{{to_host}:{to_port}}://{host}:{port}"
    with relay(sys.executable, "-m", "pproxy", "-l", way)(sides, target) as place:
        yield place


def squid() -> Hop:
    """squid, an HTTP proxy with CONNECT."""
    return configured_relay("squid.conf", _SQUID, "squid", "-N", "-f", "{file}")


def faulty(**faults: Any) -> Hop:
    """The relay that makes one fault at a time."""
    words = (sys.executable, "-m", f"{__package__}.faulty", repr(faults))
    return relay(*words, "{host}", "{port}", "{to_host}", "{to_port}")


def xinetd(more: str = "instances = UNLIMITED\n    cps = 0 0") -> Hop:
    """xinetd's redirection.

    :param more: of its service.
    """
    text = _XINETD.replace("{more}", more)
    words = ("-dontfork", "-f", "{file}", "-pidfile", "{directory}/pid")
    return configured_relay("xinetd.conf", text, "xinetd", *words)


_STUNNEL = """\
foreground = yes
pid =
debug = 3
[echo]
accept = {host}:{port}
connect = {to_host}:{to_port}
"""


def stunnel(more: str = "") -> Hop:
    """stunnel, which ends TLS."""
    text = f"{_STUNNEL}cert = {{pem}}\n{more}\n"
    return configured_relay("stunnel.conf", text, "stunnel4", "{file}")


def stunnel_client() -> Hop:
    """stunnel, which begins TLS."""
    return configured_relay("stunnel.conf", f"{_STUNNEL}client = yes\n", "stunnel4", "{file}")


def hitch() -> Hop:
    """hitch, which ends TLS."""
    where = ("--frontend=[{host}]:{port}", "--backend=[{to_host}]:{to_port}")
    return relay("hitch", *where, "--user=nobody", "{pem}")


def node(text: str) -> Hop:
    """A relay in Node; its arguments are port, host, and those of the target."""
    return relay("node", "-e", text, "{port}", "{host}", "{to_port}", "{to_host}")


def python(text: str) -> Hop:
    """A relay in Python; its arguments are host, port, and those of the target."""
    return relay("python3", "-c", text, "{host}", "{port}", "{to_host}", "{to_port}")


def through_pipe(shell: str) -> Hop:
    """A relay whose bytes to the server go through a program that reads and writes a pipe."""
    script = f"{shell} | socat -t 30 - TCP:{{to_host}}:{{to_port}}\n"
    listen = "TCP-LISTEN:{port},fork,reuseaddr,bind={host},backlog=128"
    return configured_relay("pipe.sh", script, "socat", "-t", "30", listen, "EXEC:sh {file}")


def through_terminal() -> Hop:
    """A relay that passes bytes through a raw pseudo-terminal to a program that connects."""
    listen = "TCP-LISTEN:{port},fork,reuseaddr,bind={host},backlog=128"
    each = 'EXEC:"socat - TCP:{to_host}:{to_port}",pty,raw,echo=0'
    return relay("socat", listen, each)


_SQUID = """\
http_port {host}:{port}
acl all src all
http_access allow all
pid_filename none
cache_log /dev/null
access_log none
cache_store_log none
coredump_dir {directory}
shutdown_lifetime 0
"""
_TINYPROXY = """\
Port {port}
Listen {host}
Timeout 600
LogLevel Critical
MaxClients 200
"""


def through_connect(proxy: Hop) -> Hop:
    """socat, which reaches its target by the method CONNECT of an HTTP proxy."""

    @contextmanager
    def start(sides: Sides, target: Place) -> Iterator[Place]:
        place = Place(sides.host, free_port())
        listen = f"TCP-LISTEN:{place.port},fork,reuseaddr,bind={place.host},backlog=128"
        with proxy(sides, target) as between:
            way = f"PROXY:{between.host}:{target},proxyport={between.port}"
            command = [*sides.server, program("socat"), "-t", "30", listen, way]
            with listening(command, place):
                yield place

    return start


def through_socks(proxy: Hop) -> Hop:
    """A relay that reaches its target by a SOCKS server, version 5."""

    @contextmanager
    def start(sides: Sides, target: Place) -> Iterator[Place]:
        with (
            proxy(sides, target) as between,
            python(SOCKS_CLIENT.replace("{socks}", str(between)))(sides, target) as place,
        ):
            yield place

    return start


def microsocks() -> Hop:
    """microsocks, a SOCKS server."""
    return relay("microsocks", "-i", "{host}", "-p", "{port}")


def tinyproxy() -> Hop:
    """tinyproxy, an HTTP proxy with CONNECT."""
    return configured_relay("tinyproxy.conf", _TINYPROXY, "tinyproxy", "-d", "-c", "{file}")
