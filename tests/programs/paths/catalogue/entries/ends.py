"""Half-close: what becomes of the client's FIN, and of what is due after it."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.balancers import haproxy, nginx
from tests.programs.paths.catalogue.builders.network import network
from tests.programs.paths.catalogue.builders.relays import (
    node,
    pen,
    pproxy,
    redir,
    rinetd,
    simpleproxy,
    socat,
    socket_proxyd,
    squid,
    sslh,
    through_connect,
    tinyproxy,
    xinetd,
)
from tests.programs.paths.catalogue.builders.relays import python as python_relay
from tests.programs.paths.catalogue.builders.scripts import DELAYING, NODE_DEFAULT, PYTHON_NAIVE
from tests.programs.paths.catalogue.builders.servers import echosvc
from tests.programs.paths.catalogue.entry import BASIC, Entry, fails, passes

_REST = passes(*BASIC)
_ENDS = "half-close|late-answers"
#: The same with the probes of ends alone, as a user asks for them.
_ALONE = ("--only", "half-close")
#: The client's FIN is never the fault of a loss, and the bytes are not the FIN's.
_CLOSED = (*_REST, fails("half-close", "FIN|both directions", lacks="lost bytes"))
_LATE = (*_REST, fails(_ENDS, "FIN"))

_FIN_TIMEOUTS = "    timeout client-fin 1s\n    timeout server-fin 1s"
_PLAIN = Entry("nginx-closes", "nginx without proxy_half_close", echosvc(), via=(nginx(),))
_STATEFUL = (
    "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0",
    "sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close_wait=1",
    "sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_fin_wait=1",
    "iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP",
    "iptables -w -A FORWARD -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT",
)

ENTRIES = (
    _PLAIN.also("nginx-closes", "nginx without proxy_half_close", expected=_CLOSED),
    _PLAIN.also(
        "nginx-closes-alone",
        "the same, half-close alone",
        options=_ALONE,
        expected=(fails("half-close", "both directions"),),
    ),
    _PLAIN.also("socat", "socat, which closes 0.5 s after FIN", via=(socat(),), expected=_LATE),
    _PLAIN.also(
        "socat-30-s",
        "socat, which closes 30 s after FIN",
        via=(socat("", "", "-t", "30"),),
        expected=(*_REST, *passes("half-close")),
    ),
    _PLAIN.also(
        "socat-keeps-fin",
        "socat, which does not pass the FIN on",
        via=(socat("", ",shut-none"),),
        expected=(*_REST, fails("half-close", "FIN")),
    ),
    _PLAIN.also(
        "socat-keeps-fin-alone",
        "the same, half-close alone",
        via=(socat("", ",shut-none"),),
        options=_ALONE,
        expected=(fails("half-close", "FIN"),),
    ),
    _PLAIN.also(
        "socat-keeps-fin-line",
        "the same before a server of lines",
        server=echosvc("--framing", "line"),
        via=(socat("", ",shut-none"),),
        options=(*_ALONE, "--framing", "line"),
        expected=(fails("half-close", "FIN"),),
    ),
    _PLAIN.also(
        "haproxy-fin",
        "HAProxy, which waits 1 s after FIN, before a server that is never silent for so long",
        via=(haproxy(defaults=_FIN_TIMEOUTS),),
        expected=(*_REST, *passes("half-close")),
    ),
    _PLAIN.also(
        "haproxy-fin-late",
        "the same before a server that answers after 2 s",
        via=(haproxy(defaults=_FIN_TIMEOUTS), python_relay(DELAYING)),
        options=_ALONE,
        limit=120.0,
        expected=(fails(_ENDS, "FIN"),),
    ),
    _PLAIN.also(
        "haproxy-nolinger",
        "HAProxy with option nolinger",
        via=(haproxy(listen="    option nolinger"),),
        expected=(*_REST, fails("half-close", "RST")),
    ),
    _PLAIN.also(
        "conntrack-half-closed",
        "a firewall that forgets half-closed connections after 1 s",
        network=network(*_STATEFUL),
        via=(),
        expected=_LATE,
    ),
    _PLAIN.also(
        "late-server",
        "a server that answers after 2 s",
        via=(python_relay(DELAYING),),
        options=("--only", "connect,echo,bytes,half-close"),
        expected=passes("connect", "echo", "bytes", "half-close"),
        limit=120.0,
    ),
    _PLAIN.also(
        "node-default",
        "a relay in Node as people write it",
        via=(node(NODE_DEFAULT),),
        expected=_LATE,
    ),
    _PLAIN.also(
        "python-naive",
        "a relay that closes both sides at either end",
        via=(python_relay(PYTHON_NAIVE),),
        expected=_LATE,
    ),
    *(
        _PLAIN.also(name, name, via=(hop,), expected=(*_REST, fails("half-close", "FIN")))
        for name, hop in {
            "redir": redir(),
            "simpleproxy": simpleproxy(),
            "rinetd": rinetd(),
            "pen": pen(),
            "sslh": sslh(),
            "xinetd-redirect": xinetd(),
            "tinyproxy": through_connect(tinyproxy()),
            "squid": through_connect(squid()),
            "socket-proxyd": socket_proxyd(),
            "pproxy": pproxy,
        }.items()
    ),
    _PLAIN.also(
        "fin-dropped",
        "a firewall that drops the client's FIN",
        network=network("iptables -w -A FORWARD -o south -p tcp --tcp-flags FIN FIN -j DROP"),
        via=(),
        expected=(*_REST, fails("half-close", "FIN")),
    ),
    _PLAIN.also(
        "fin-of-server-dropped",
        "a firewall that drops the server's FIN",
        network=network("iptables -w -A FORWARD -o north -p tcp --tcp-flags FIN FIN -j DROP"),
        via=(),
        expected=(*_REST, fails("half-close", "FIN")),
    ),
    _PLAIN.also(
        "text-is-not-half-close",
        "a server that decodes UTF-8, half-close alone",
        server=echosvc("--encoding", "utf-8"),
        via=(),
        options=("--only", "half-close"),
        expected=(fails("bytes", "UTF-8"), *passes("half-close")),
    ),
    _PLAIN.also(
        "limit-is-not-half-close",
        "connections that carry 64 KiB at most, half-close alone",
        via=(socat("", ",readbytes=65536", "-t", "30"),),
        options=("--only", "half-close"),
        expected=(fails("sizes|volume", "64 KiB|65,?536", lacks="at the FIN"),),
    ),
)
