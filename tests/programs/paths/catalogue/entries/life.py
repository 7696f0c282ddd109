"""How long a connection lives, idle or busy."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.balancers import envoy, haproxy, nginx
from tests.programs.paths.catalogue.builders.network import network
from tests.programs.paths.catalogue.builders.relays import socat, stunnel, stunnel_client
from tests.programs.paths.catalogue.builders.servers import echosvc, python
from tests.programs.paths.catalogue.builders.short_lives import LIVES_BY_CHANCE, RESTARTS
from tests.programs.paths.catalogue.entry import Entry, fails, informs

#: Within 2 %.
_THREE_SECONDS = {"idle_seconds": (2.94, 3.06)}
#: What takes seconds.
_LONG = ("--only", "back-pressure,idle", "--idle", "1,7")
_SEARCH = ("--only", "find-idle", "--find-idle", "8")


def _three(name: str, title: str, how: str, **more: object) -> Entry:
    """Idle connections end after 3 s."""
    return Entry(
        name,
        title,
        echosvc(),
        options=_SEARCH,
        expected=(informs("find-idle", rf"\b{how}\b", **_THREE_SECONDS),),
    ).also(name, title, **more)


_STATEFUL = (
    "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0",
    "sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=3",
    "iptables -w -A FORWARD -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT",
)
_LIFETIME = Entry(
    "envoy-lifetime",
    "Envoy, max_downstream_connection_duration 3 s",
    echosvc(),
    via=(envoy(proxy={"max_downstream_connection_duration": "3s"}),),
    options=_SEARCH,
    expected=(
        fails("lifetime", r"\b3(\.0\d*)? s\b|\b2\.9\d* s\b", "busy or not|idle or not|live"),
    ),
    nowhere="an idle connection is cut after",
)

ENTRIES = (
    _three("idle-haproxy", "HAProxy, timeout 3 s", "FIN", via=(haproxy(seconds=3),)),
    _three("idle-nginx", "nginx, proxy_timeout 3s", "FIN", via=(nginx("proxy_timeout 3s;"),)),
    _three(
        "idle-envoy", "Envoy, idle_timeout 3s", "FIN", via=(envoy(proxy={"idle_timeout": "3s"}),)
    ),
    _three("idle-socat", "socat -T 3", "FIN", via=(socat("", "", "-T", "3"),)),
    _three(
        "idle-stunnel",
        "stunnel, TIMEOUTidle 3",
        "FIN|RST",
        via=(stunnel_client(), stunnel("TIMEOUTidle = 3")),
        expected=(informs("find-idle", r"\bFIN|RST\b", idle_seconds=(2.94, 3.2)),),
    ),
    _three(
        "idle-server",
        "the server, which ends idle connections after 3 to 3.3 s",
        "FIN",
        server=echosvc("--idle-timeout", "3", "--idle-action", "close"),
        expected=(informs("find-idle", r"\bFIN\b", idle_seconds=(2.94, 3.4)),),
    ),
    _three(
        "idle-server-reset",
        "the server, which resets idle connections after 3 to 3.3 s",
        "RST",
        server=echosvc("--idle-timeout", "3", "--idle-action", "reset"),
        expected=(informs("find-idle", r"\bRST\b", idle_seconds=(2.94, 3.4)),),
    ),
    _three(
        "idle-firewall",
        "a firewall that forgets idle connections after 3 s, and drops their packets",
        "silence",
        network=network(*_STATEFUL, "iptables -w -A FORWARD -j DROP"),
        options=(*_SEARCH, "--timeout", "3"),
    ),
    _three(
        "idle-firewall-reset",
        "a firewall that forgets idle connections after 3 s, and answers RST",
        "RST",
        network=network(
            *_STATEFUL, "iptables -w -A FORWARD -p tcp -j REJECT --reject-with tcp-reset"
        ),
    ),
    Entry(
        "idle-none",
        "nothing is cut within 8 s",
        echosvc(),
        via=(haproxy(),),
        options=_SEARCH,
        expected=(informs("find-idle", "none|survive|not cut"),),
    ),
    Entry(
        "idle-haproxy-fails",
        "HAProxy, timeout 3 s, where 5 s are wanted",
        echosvc(),
        via=(haproxy(seconds=3),),
        options=("--only", "idle", "--idle", "1,5"),
        expected=(fails("idle", "FIN after 3", "survived 1 s"),),
    ),
    _LIFETIME,
    _LIFETIME.also(
        "envoy-lifetime-idle",
        "the same, idle alone",
        options=("--only", "idle", "--idle", "1,5"),
        nowhere="an idle time-out of",
    ),
    _LIFETIME.also(
        "envoy-lifetime-whole",
        "the same, all probes",
        options=("--idle", "1,5", "--max-size", "1M"),
        nowhere="an idle time-out of",
        limit=120.0,
    ),
    _LIFETIME.also(
        "envoy-lifetime-asked",
        "the same, asked for",
        options=("--only", "lifetime", "--lifetime", "8"),
        nowhere="",
        expected=(fails("lifetime", r"\b3(\.0\d*)? s\b|\b2\.9\d* s\b"),),
    ),
    Entry(
        "restarts",
        "a server that ends all connections each 3 s",
        python(RESTARTS),
        options=_LONG,
        expected=(fails("restart", "busy or not, ended at"),),
        limit=150.0,
    ),
    Entry(
        "lives-by-chance",
        "a server whose connections live 1 to 6 s each",
        python(LIVES_BY_CHANCE),
        options=_LONG,
        expected=(fails("lifetime", "busy or not: then comes"),),
        limit=150.0,
    ),
)
