"""Limits of connections and of bytes, by number and by rate."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.balancers import envoy, envoy_filter, haproxy, nginx
from tests.programs.paths.catalogue.builders.network import network
from tests.programs.paths.catalogue.builders.relays import socat
from tests.programs.paths.catalogue.builders.servers import command, echosvc
from tests.programs.paths.catalogue.builders.servers import xinetd as internal
from tests.programs.paths.catalogue.entry import Entry, fails, passes

_ONE_AT_A_TIME = passes("connect", "echo", "bytes", "order", "text", "back-pressure")
_ENDS = passes("half-close")
#: A limit is found once; by which probe it is found first does not matter.
_NAMES = "limit|identity|connections"
_NO_LISTENER = "no server listens"


def _five(name: str, title: str, **more: object) -> Entry:
    """Five connections at once, and no more."""
    return Entry(
        name,
        title,
        echosvc(),
        expected=(*_ONE_AT_A_TIME, *_ENDS, fails(_NAMES, r"\b5\b", "limit|at once")),
        nowhere=_NO_LISTENER,
        limit=120.0,
    ).also(name, title, **more)


_VOLUME = Entry("", "", echosvc(), nowhere="at the FIN")


def _volume(name: str, title: str, *says: str, **more: object) -> Entry:
    """No more than so many bytes of a connection."""
    expected = (*passes("connect", "echo", "bytes", "text"), fails("sizes|volume", *says))
    return _VOLUME.also(name, title, **{"expected": expected, **more})


ENTRIES = (
    _five(
        "nginx-limit-conn",
        "nginx, limit_conn 5",
        via=(
            nginx(
                "proxy_half_close on; limit_conn each 5;",
                "limit_conn_zone $binary_remote_addr zone=each:1m;",
            ),
        ),
    ),
    _five(
        "haproxy-src-conn",
        "HAProxy, which rejects the sixth connection of a client",
        via=(
            haproxy(
                listen="    stick-table type ip size 10 expire 10s store conn_cur\n"
                "    tcp-request connection track-sc0 src\n"
                "    tcp-request connection reject if { sc0_conn_cur gt 5 }"
            ),
        ),
    ),
    _five(
        "envoy-connection-limit",
        "Envoy, connection_limit 5",
        via=(
            envoy(
                before=(
                    envoy_filter(
                        "network",
                        "connection_limit",
                        "ConnectionLimit",
                        stat_prefix="limit",
                        max_connections=5,
                    ),
                )
            ),
        ),
    ),
    Entry(
        "envoy-rate",
        "Envoy, local_ratelimit of 8 connections a second",
        echosvc(),
        via=(
            envoy(
                before=(
                    envoy_filter(
                        "network",
                        "local_ratelimit",
                        "LocalRateLimit",
                        stat_prefix="rate",
                        token_bucket={
                            "max_tokens": 8,
                            "tokens_per_fill": 8,
                            "fill_interval": "1s",
                        },
                    ),
                )
            ),
        ),
        expected=(*passes("connect", "echo", "sizes"), fails("limit", "a second")),
        nowhere=_NO_LISTENER,
        limit=120.0,
    ),
    Entry(
        "haproxy-rate",
        "HAProxy, which rejects more than 20 connections of a client in 10 s",
        echosvc(),
        via=(
            haproxy(
                listen="    stick-table type ip size 10 expire 30s store conn_rate(10s)\n"
                "    tcp-request connection track-sc0 src\n"
                "    tcp-request connection reject if { sc0_conn_rate gt 20 }"
            ),
        ),
        expected=(*passes("connect", "echo", "sizes"), fails("limit", "a second")),
        nowhere=_NO_LISTENER,
        limit=180.0,
    ),
    _five(
        "haproxy-maxconn",
        "HAProxy, whose server takes 5 connections; others wait",
        via=(haproxy(server="maxconn 5", defaults="    timeout queue 30s"),),
        limit=120.0,
    ),
    _five("xinetd-per-source", "xinetd, per_source 5", server=internal("echo", "per_source = 5")),
    _five("xinetd-instances", "xinetd, instances 5", server=internal("echo", "instances = 5")),
    _five(
        "haproxy-frontend-maxconn",
        "HAProxy, which takes 5 connections; others wait in the kernel's queue",
        via=(haproxy(listen="    maxconn 5"),),
        limit=120.0,
    ),
    _five(
        "few-ports",
        "a router that translates addresses and has 5 ports for it",
        network=network(
            "iptables -w -t nat -A POSTROUTING -o south -p tcp -j MASQUERADE --to-ports 40000-40004"
        ),
        limit=120.0,
    ),
    *(
        Entry(
            f"recent-{name}",
            f"a firewall that takes 20 connections of a client in a minute, then {name}",
            echosvc(),
            network=network(
                "iptables -w -A FORWARD -p tcp --syn -m recent --name each --update --seconds 60"
                f" --hitcount 20 -j {target}",
                "iptables -w -A FORWARD -p tcp --syn -m recent --name each --set",
            ),
            expected=(
                *passes("connect", "echo"),
                fails("limit|outage", "limit", r"after \d\d connections in", says),
            ),
            nowhere=_NO_LISTENER,
            limit=120.0,
        )
        for name, target, says in (
            ("drop", "DROP", "a firewall drops packets"),
            ("reset", "REJECT --reject-with tcp-reset", "ECONNREFUSED"),
        )
    ),
    _five(
        "connlimit-reset",
        "a firewall that resets the sixth connection",
        network=network(
            "iptables -w -A FORWARD -p tcp --syn -m connlimit --connlimit-above 5"
            " -j REJECT --reject-with tcp-reset"
        ),
    ),
    _five(
        "connlimit-drop",
        "a firewall that drops the sixth connection",
        network=network(
            "iptables -w -A FORWARD -p tcp --syn -m connlimit --connlimit-above 5 -j DROP"
        ),
        limit=120.0,
    ),
    _five(
        "socat-max-children",
        "socat, max-children 5",
        via=(socat(",max-children=5", "", "-t", "30"),),
    ),
    _five(
        "server-limit",
        "a server with --max-connections 5",
        server=echosvc("--max-connections", "5"),
    ),
    Entry(
        "one-connection",
        "a server that takes one connection and ends",
        command("ncat", "-l", "-e", "/bin/cat", "{host}", "{port}"),
        expected=(*passes("connect"), fails("limit|echo", "refuse", "limit|ended|restart|one")),
        nowhere=f"{_NO_LISTENER} there, or",
    ),
    Entry(
        "xinetd-rate",
        "xinetd, which stops for 5 s after 20 connections in a second",
        internal("echo", "cps = 20 5"),
        expected=(*passes("connect", "echo"), fails("limit|sizes", "a second|limit")),
        nowhere=_NO_LISTENER,
        limit=120.0,
    ),
    Entry(
        "rate-reset",
        "a firewall that resets more than 20 connections a second",
        echosvc(),
        network=network(
            "iptables -w -A FORWARD -p tcp --syn -m hashlimit --hashlimit-above 20/second"
            " --hashlimit-burst 20 --hashlimit-mode srcip --hashlimit-name each"
            " -j REJECT --reject-with tcp-reset"
        ),
        expected=(*passes("connect", "echo"), fails("limit|sizes", "a second|limit")),
        nowhere=_NO_LISTENER,
    ),
    Entry(
        "two-limits",
        "HAProxy, which rejects the sixth connection of a client, and the 21st in a second",
        echosvc(),
        via=(
            haproxy(
                listen="    stick-table type ip size 10 expire 10s store conn_cur,conn_rate(1s)\n"
                "    tcp-request connection track-sc0 src\n"
                "    tcp-request connection reject if { sc0_conn_cur gt 5 }\n"
                "    tcp-request connection reject if { sc0_conn_rate gt 20 }"
            ),
        ),
        expected=(
            *passes("connect", "echo", "sizes"),
            fails("limit", r"\b5\b", "open connections"),
            fails("limit", "connections a second"),
        ),
        nowhere=_NO_LISTENER,
        limit=180.0,
    ),
    Entry(
        "limit-and-volume",
        "nginx, limit_conn 5, and connections that carry 64 KiB at most",
        echosvc(),
        via=(
            nginx(
                "proxy_half_close on; limit_conn each 5;",
                "limit_conn_zone $binary_remote_addr zone=each:1m;",
            ),
            socat("", ",readbytes=65536", "-t", "30"),
        ),
        expected=(
            *passes("connect", "echo", "bytes", "text"),
            fails("limit", r"\b5\b", "open connections"),
            fails("sizes|volume", "64 KiB|65,?536"),
        ),
        nowhere="at the FIN",
        limit=120.0,
    ),
    _volume(
        "volume-fin",
        "connections that carry 64 KiB at most, then FIN",
        "64 KiB|65,?536",
        via=(socat("", ",readbytes=65536", "-t", "30"),),
    ),
    _volume(
        "volume-reset",
        "a firewall that resets connections after 1 MB",
        "RST|reset",
        network=network(
            "iptables -w -A FORWARD -p tcp -m connbytes --connbytes 1000000:"
            " --connbytes-dir both --connbytes-mode bytes -j REJECT --reject-with tcp-reset"
        ),
    ),
    _volume(
        "volume-silence",
        "a firewall that drops what comes after 1 MB of a connection",
        "silence",
        "firewall drops the packets|next hop has acknowledged",
        network=network(
            "iptables -w -A FORWARD -p tcp -m connbytes --connbytes 1000000:"
            " --connbytes-dir both --connbytes-mode bytes -j DROP"
        ),
        limit=120.0,
    ),
)
