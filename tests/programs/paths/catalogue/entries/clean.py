"""Paths that do nothing wrong: nobody is accused."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.balancers import envoy, haproxy, nginx
from tests.programs.paths.catalogue.builders.network import network
from tests.programs.paths.catalogue.builders.relays import (
    hitch,
    node,
    stone,
    stunnel,
    stunnel_client,
)
from tests.programs.paths.catalogue.builders.relays import python as python_relay
from tests.programs.paths.catalogue.builders.scripts import GREETS, NODE_HALF_OPEN, PYTHON_HALF_OPEN
from tests.programs.paths.catalogue.builders.servers import command, echosvc
from tests.programs.paths.catalogue.builders.servers import python as python_server
from tests.programs.paths.catalogue.builders.servers import xinetd as internal
from tests.programs.paths.catalogue.builders.ssh import ssh_forwarding
from tests.programs.paths.catalogue.entry import BASIC, CLEAN, FAST, Entry, Line, fails, passes

TLS = "tls:{host}:{port}"
BY_TLS = ("--ca", "{ca}", *FAST)

_DIRECT = Entry("direct", "no program in between", echosvc(), expected=CLEAN)
_HAPROXY = _DIRECT.also("haproxy", "HAProxy in TCP mode", via=(haproxy(),))
#: Once in a hundred times Linux 6.18 sends nothing more where both directions of a connection are
#: full: the client has read everything, and the sender still probes a window that is closed.
_ENVOY = _DIRECT.also(
    "envoy",
    "Envoy's TCP proxy",
    via=(envoy(),),
    expected=(
        *(line for line in CLEAN if line.names != "back-pressure"),
        Line("back-pressure", "pass|info", ("once it reads, everything arrives",)),
    ),
)
_NGINX = _DIRECT.also("nginx", "nginx stream with half-close", via=(nginx("proxy_half_close on;"),))
_SECURE = _DIRECT.also(
    "direct-tls",
    "TLS, no program in between",
    server=echosvc(tls=True),
    endpoint=TLS,
    options=BY_TLS,
    expected=(*CLEAN, *passes("tls")),
)
_ENDED = {"endpoint": TLS, "options": BY_TLS, "expected": (*passes(*BASIC, "tls"),)}
_HITCH = {**_ENDED, "expected": (*passes(*BASIC, "tls"), fails("half-close", "FIN"))}
#: stunnel closes now and then while it holds bytes that are due after FIN.
_STUNNEL = Line("late-answers", "fail|pass", ("FIN",))
#: What a check without options finds on a path that does nothing wrong.
_WHOLE = {"options": (), "expected": (*CLEAN, *passes("idle")), "limit": 180.0}

ENTRIES = (
    _DIRECT,
    _SECURE,
    _HAPROXY,
    _NGINX,
    _ENVOY,
    _DIRECT.also("direct-whole", "all probes, no program in between", **_WHOLE),
    _HAPROXY.also("haproxy-whole", "all probes through HAProxy", **_WHOLE),
    _DIRECT.also(
        "haproxy-proxy-v2",
        "HAProxy, which sends a PROXY header of version 2",
        via=(haproxy(server="send-proxy-v2"),),
        server=echosvc(
            "-p", "{peer}: ", "--proxy-protocol", "require", "--proxy-from", "127.0.0.0/8"
        ),
        options=(*FAST, "--prefix", "{{peer}}: "),
        expected=(*CLEAN, *passes("proxy")),
    ),
    _DIRECT.also(
        "haproxy-two-layers", "HAProxy before nginx", via=(haproxy(), nginx("proxy_half_close on;"))
    ),
    _DIRECT.also("no-prefix", "a server without a prefix", server=echosvc("-p", "")),
    _DIRECT.also(
        "line-framing",
        "a server of lines",
        server=echosvc("--framing", "line"),
        options=(*FAST, "--framing", "line"),
    ),
    _DIRECT.also(
        "length-framing",
        "a server of messages with their length in front",
        server=echosvc("--framing", "length"),
        options=(*FAST, "--framing", "length"),
    ),
    _DIRECT.also(
        "ssh-forwarding",
        "ssh -L",
        via=(ssh_forwarding,),
        # Its end may wait for a delayed acknowledgement of TCP, some 40 ms.
        expected=(*passes(*BASIC), Line("half-close", "pass|info")),
    ),
    _DIRECT.also("node-half-open", "a relay in Node", via=(node(NODE_HALF_OPEN),)),
    _DIRECT.also("python-half-open", "a relay in asyncio", via=(python_relay(PYTHON_HALF_OPEN),)),
    _DIRECT.also(
        "stunnel-both",
        "TLS inside: stunnel at both ends",
        via=(stunnel_client(), stunnel()),
        expected=(*CLEAN, _STUNNEL),
    ),
    _DIRECT.also(
        "two-servers",
        "HAProxy before two servers, each with its own name",
        server=echosvc("-p", "green: "),
        via=(haproxy(others=(echosvc("-p", "blue: "),)),),
        somewhere="2 servers",
    ),
    _DIRECT.also(
        "nginx-dead-backend",
        "nginx before two servers of which one is dead: it asks the other",
        via=(
            nginx(
                "proxy_half_close on; proxy_pass both;",
                "upstream both {{ server {target}; server {dead}; }}",
            ),
        ),
    ),
    _DIRECT.also(
        "haproxy-slow-accept",
        "HAProxy, which takes 20 connections a second",
        via=(haproxy(listen="    rate-limit sessions 20"),),
    ),
    _DIRECT.also(
        "greeting",
        "a server that speaks first",
        server=python_server(GREETS),
        somewhere="220 ready",
    ),
    _DIRECT.also(
        "direct-small",
        "short streams alone",
        options=("--skip", "idle,reset", "--max-size", "1000"),
    ),
    _DIRECT.also("stone", "stone", via=(stone(),)),
    _DIRECT.also("xinetd-echo", "the echo service of xinetd", server=internal("echo")),
    _DIRECT.also(
        "socat-cat",
        # With PIPE in place of cat it blocks now and then while it writes to itself.
        "socat and cat",
        server=command(
            "socat",
            "-t",
            "60",
            "TCP-LISTEN:{port},bind={host},fork,reuseaddr,backlog=128",
            "EXEC:cat",
        ),
    ),
    _DIRECT.also("haproxy-tls", "HAProxy ends TLS", via=(haproxy(tls=True),), **_ENDED),
    _DIRECT.also(
        "nginx-tls", "nginx ends TLS", via=(nginx("proxy_half_close on;", tls=True),), **_ENDED
    ),
    _DIRECT.also("envoy-tls", "Envoy ends TLS", via=(envoy(tls=True),), **_ENDED),
    _DIRECT.also(
        "stunnel-tls",
        "stunnel ends TLS",
        via=(stunnel(),),
        endpoint=TLS,
        options=BY_TLS,
        expected=(*passes(*BASIC, "tls"), _STUNNEL),
    ),
    _DIRECT.also("hitch-tls", "hitch ends TLS", via=(hitch(),), **_HITCH),
    _DIRECT.also(
        "port-forwarding",
        "a router that translates the address of the server",
        network=network(
            "iptables -w -t nat -A PREROUTING -p tcp -d 10.91.1.1"
            " -j DNAT --to-destination 10.91.2.2"
        ),
        endpoint="tcp:10.91.1.1:{port}",
    ),
    _DIRECT.also(
        "syn-proxy",
        "a firewall that answers SYNs itself",
        network=network(
            "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0",
            "iptables -w -t raw -A PREROUTING -i north -p tcp --syn -j CT --notrack",
            "iptables -w -A FORWARD -i north -p tcp -m conntrack --ctstate INVALID,UNTRACKED"
            " -j SYNPROXY --sack-perm --timestamp --wscale 10 --mss 1460",
            "iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP",
        ),
    ),
    _DIRECT.also(
        "marks-bleached",
        "a router that sets TTL and DSCP, and strips ECN",
        network=network(
            "iptables -w -t mangle -A FORWARD -j TTL --ttl-set 5",
            "iptables -w -t mangle -A FORWARD -j DSCP --set-dscp 10",
            "iptables -w -t mangle -A FORWARD -p tcp -j ECN --ecn-tcp-remove",
        ),
    ),
    _DIRECT.also(
        "copied-packets",
        "a router that sends each packet to the server twice",
        network=network(
            "iptables -w -t mangle -A PREROUTING -i north -p tcp -j TEE --gateway 10.91.2.2"
        ),
    ),
    _DIRECT.also("router", "a router", network=network()),
    _DIRECT.also(
        "masquerade",
        "a router that translates addresses",
        network=network("iptables -w -t nat -A POSTROUTING -o south -j MASQUERADE"),
    ),
    _DIRECT.also(
        "mss-clamp",
        "a narrow tunnel whose router clamps the MSS",
        network=network(
            "iptables -w -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000",
            "iptables -w -A FORWARD -p tcp -m length --length 1101: -j DROP",
        ),
    ),
    _DIRECT.also(
        "narrow-link",
        "a narrow link whose router sends ICMP",
        network=network("ip link set south mtu 1300", "server:ip link set eth0 mtu 1300"),
    ),
    _DIRECT.also(
        "no-options",
        "a firewall that strips window scale, SACK and timestamps",
        network=network(
            "iptables -w -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPOPTSTRIP"
            " --strip-options wscale,sack-permitted,timestamp"
        ),
    ),
    _DIRECT.also(
        "stateful",
        "a firewall that follows connections",
        network=network(
            "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0",
            "iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP",
            "iptables -w -A FORWARD -m conntrack --ctstate NEW,ESTABLISHED,RELATED -j ACCEPT",
        ),
    ),
)
