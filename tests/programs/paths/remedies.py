"""The section of ``docs/check.md`` that says what to change in widely used programs and clouds.

Each row is from the documentation of its program. A setting that is not documented has no row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

TITLE = "What to change in HAProxy, nginx, Envoy, AWS, GCP, Azure, iptables"
INTRODUCTION = """\
Find the failure, then each device of your path. Each row is from the documentation of the device,
with the default in parentheses. Clouds change their defaults: measure again after a change, with
`--only` and the name of the probe."""


@dataclass(frozen=True)
class Remedy:
    """What to change where some probes or causes have failed.

    :ivar findings: their names.
    :ivar means: what the failure means for the device.
    :ivar rows: a device, its setting and its default, what to do.
    """

    findings: tuple[str, ...]
    means: str
    rows: tuple[tuple[str, str, str], ...]


REMEDIES = (
    Remedy(
        ("idle", "find-idle"),
        "A device ends, or forgets, connections that carry nothing. Either its time-out is made"
        " longer than the longest pause, or an end sends something more often: TCP keep-alive at"
        " either end refreshes firewalls, NAT and load balancers that pass packets on. A proxy"
        " (HAProxy, nginx, Envoy) counts bytes, and does not pass keep-alive on.",
        (
            ("both ends", "`net.ipv4.tcp_keepalive_time` (7200 s)",
             "is longer than most time-outs below: set `SO_KEEPALIVE` and `TCP_KEEPIDLE`"),
            ("HAProxy", "`timeout client`, `timeout server` (none)",
             "raise both, to the same value; in TCP mode `timeout tunnel` replaces both"),
            ("HAProxy", "`option clitcpka`, `option srvtcpka` (off)",
             "keep the devices on either side from forgetting; `clitcpka-idle` sets when"),
            ("nginx `stream`", "`proxy_timeout` (10m)", "raise it"),
            ("nginx `stream`", "`listen ... so_keepalive=on`, `proxy_socket_keepalive on` (off)",
             "keep the devices on either side from forgetting"),
            ("Envoy `tcp_proxy`", "`idle_timeout` (1 hour; 0s: none)", "raise it"),
            ("AWS Network Load Balancer", "`tcp.idle_timeout.seconds` (350; 60 to 6000)",
             "raise it at the TCP listener; that of a TLS listener is fixed at 350 s. Data after it"
             " is answered by a reset"),
            ("AWS Classic Load Balancer", "`ConnectionSettings.IdleTimeout` (60 s)",
             "raise it: only data counts, keep-alive does not"),
            ("AWS NAT gateway", "fixed at 350 s", "keep-alive of less than 350 s"),
            ("AWS security groups", "TCP established time-out of the network interface (432000 s;"
             " 350 s on instances of Nitro v6)", "raise it, 60 to 432000 s"),
            ("GCP proxy load balancers", "`timeoutSec` of the backend service (30 s)",
             "raise it: for TCP and SSL it is an idle time-out"),
            ("GCP internal passthrough load balancer", "`connectionTrackingPolicy.idleTimeoutSec`"
             " (10 min; at most 16 h)", "keep-alive; it can be raised only with tracking by session"
             " and affinity by client address. External: 60 s, fixed"),
            ("GCP VPC network", "connection tracking, fixed at 10 min",
             "keep-alive of less than 10 min"),
            ("GCP Cloud NAT", "`--tcp-established-idle-timeout` (1200 s)", "raise it"),
            ("Azure Load Balancer", "`--idle-timeout` of the rule (4 min; 4 to 100)",
             "raise it. The end is silence; with `--enable-tcp-reset true` it is a reset"),
            ("Azure NAT gateway", "TCP idle time-out (4 min; 4 to 120)",
             "keep-alive, or raise it. The next packet is answered by a reset"),
            ("iptables, nftables (conntrack)",
             "`net.netfilter.nf_conntrack_tcp_timeout_established` (432000 s)",
             "raise it where it was lowered"),
            ("IPVS", "`ipvsadm --set TCP TCPFIN UDP` (900 120 300)", "raise the first"),
            ("kube-proxy", "`--conntrack-tcp-timeout-established` (24h), `--ipvs-tcp-timeout`"
             " (0: that of IPVS)", "raise it"),
        ),
    ),
    Remedy(
        ("lifetime", "restart"),
        "Connections end at a certain age, whether they are busy or not, or all at the same moment:"
        " that is a restart or a reload.",
        (
            ("Envoy `tcp_proxy`", "`max_downstream_connection_duration` (none)", "raise it"),
            ("HAProxy", "`hard-stop-after` (none)",
             "raise it: after a reload the old process ends by then"),
            ("HAProxy", "`on-marked-down shutdown-sessions` (off)",
             "a failed health check ends all connections of a server: leave it out"),
            ("nginx", "`worker_shutdown_timeout` (none)",
             "raise it: after a reload the old processes end by then"),
            ("Envoy", "`--drain-time-s` (600), `--parent-shutdown-time-s` (900)",
             "raise them: after a change of a listener its connections end after the first, after a"
             " hot restart all of the old process after the second"),
            ("Envoy", "`close_connections_on_host_health_failure` of the cluster (false)",
             "leave it off: a failed health check would end all connections of a server"),
            ("AWS Network Load Balancer",
             "`target_health_state.unhealthy.connection_termination.enabled` (true)",
             "a failed health check ends all connections of a target: false keeps them"),
            ("AWS Network Load Balancer",
             "`deregistration_delay.connection_termination.enabled` (false),"
             " `deregistration_delay.timeout_seconds` (300)",
             "the first is off, or raise the second: connections of a target that was removed end"
             " by then"),
            ("GCP load balancers", "`connectionDraining.drainingTimeoutSec` (0; at most 3600)",
             "raise it: connections of a backend that was removed may last so long"),
            ("echosvc", "`--max-lifetime` (off)", "is a limit of the server"),
        ),
    ),
    Remedy(
        ("half-close", "late-answers", "server-fin"),
        "One end has sent FIN, and the other one still sends. `half-close` and `server-fin` fail"
        " where a device ends both directions, or does not pass the FIN on; `late-answers` where"
        " it does not wait long enough for what comes after the client's FIN.",
        (
            ("nginx `stream`", "`proxy_half_close` (off)", "`proxy_half_close on`"),
            ("HAProxy", "`timeout server-fin`, `timeout client-fin` (none: the other time-outs)",
             "raise them: while one direction has ended they replace `timeout server`,"
             " `timeout client` and `timeout tunnel`"),
            ("HAProxy", "`option abortonclose` (off in TCP mode)",
             "leave it off: it gives up what waits for a server once the client has sent FIN"),
            ("Envoy `tcp_proxy`", "`idle_timeout` (1 hour)", "it passes the FIN on; raise this"),
            ("socat", "`-t` (0.5 s)",
             "raise it: so long it waits for the other direction. Do not use `shut-none`"),
            ("iptables, nftables (conntrack)",
             "`nf_conntrack_tcp_timeout_fin_wait` (120 s), `nf_conntrack_tcp_timeout_close_wait`"
             " (60 s)", "raise them: after the first FIN they replace the one of established"
             " connections"),
            ("IPVS", "`ipvsadm --set TCP TCPFIN UDP` (900 120 300)", "raise the second"),
            ("kube-proxy", "`--conntrack-tcp-timeout-close-wait` (1h), `--ipvs-tcpfin-timeout`"
             " (0: that of IPVS)", "raise it"),
            ("TLS before version 1.3", "no setting",
             "a close_notify may end both directions there (RFC 5246, 7.2.1): use version 1.3"),
        ),
    ),
    Remedy(
        ("path-mtu", "message-size"),
        "Large packets are lost and no message says so (a black hole, RFC 2923). Either the message"
        " is let through, or segments are made to fit.",
        (
            ("every firewall", "ICMP type 3 code 4, ICMPv6 type 2", "let them pass"),
            ("iptables", "no rule",
             "`iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS"
             " --clamp-mss-to-pmtu` at the router before the tunnel"),
            ("nftables", "no rule", "`tcp flags syn tcp option maxseg size set rt mtu`"),
            ("both ends", "`net.ipv4.tcp_mtu_probing` (0)",
             "1: the kernel tries smaller segments after a black hole (RFC 4821)"),
            ("AWS", "MTU 9001 in a VPC, 8500 by VPC peering of two regions, 1500 through an"
             " internet gateway or a VPN",
             "let ICMP type 3 code 4 pass in security groups and network ACLs"),
            ("GCP", "`mtu` of the VPC network (1460; 1300 to 8896)",
             "the same for both ends, and let ICMP pass"),
            ("Azure VPN gateway", "packets of more than 1400 bytes do not pass",
             "clamp the MSS to 1350 at your end of the VPN"),
            ("Azure NAT gateway", "no ICMP, no fragments", "clamp the MSS at the ends"),
            ("IPVS", "`net.ipv4.vs.pmtu_disc` (1)", "1 sends the message"),
        ),
    ),
    Remedy(
        ("limit", "outage", "connections"),
        "So many connections at once, or a second, are let through; others wait, or are closed."
        " With `--pace N` the check opens no more than N a second. An `outage` is a restart, a"
        " server that has ended or hangs, a ban, or a limit that closes the service for everybody.",
        (
            ("HAProxy", "`maxconn` of the process, of a frontend and of a server",
             "raise it; over that of a server connections wait for `timeout queue`, which is"
             " `timeout connect` where it is not set"),
            ("HAProxy", "`rate-limit sessions`, `maxconnrate` (none)",
             "raise it; what is over it waits"),
            ("HAProxy", "`tcp-request connection reject` by `sc_conn_cur` or `sc_conn_rate` (none)",
             "raise the number of the rule; what is over it is closed"),
            ("nginx `stream`", "`limit_conn ZONE N` (none)", "raise it; what is over it is closed"),
            ("nginx `stream`", "`server ... max_conns=N` (0: no limit)", "raise it"),
            ("nginx", "`worker_connections` (512)",
             "raise it: a proxied connection takes two"),
            ("Envoy", "`envoy.filters.network.connection_limit`: `max_connections`, `delay`",
             "raise it; what is over it is closed, after the delay"),
            ("Envoy", "`envoy.filters.network.local_ratelimit`: `token_bucket`",
             "raise `max_tokens` and `tokens_per_fill`; what is over it is closed"),
            ("Envoy", "`max_connections`, `max_pending_requests` of the cluster's"
             " `circuit_breakers` (1024)", "raise both"),
            ("iptables", "`-m connlimit --connlimit-above N`, `-m hashlimit`, `-m recent"
             " --hitcount N`", "raise N"),
            ("iptables", "`-j MASQUERADE --to-ports`, `-j SNAT`",
             "each connection to a server takes a port of its own: allow more"),
            ("AWS NAT gateway", "55,000 connections to a destination for each address",
             "add addresses"),
            ("GCP Cloud NAT", "`--min-ports-per-vm` (64)",
             "raise it: each connection to a destination takes a port of its own"),
            ("Azure NAT gateway", "50,000 connections to a destination for each address",
             "add addresses"),
            ("conntrack", "`net.netfilter.nf_conntrack_max`",
             "raise it; over it packets of new connections are dropped"),
            ("xinetd", "`cps` (50 10)",
             "raise it; over 50 a second it closes the service for 10 s, for every client"),
            ("xinetd", "`instances`, `per_source` (no limit)", "raise them"),
            ("echosvc", "`--max-connections`, `--max-per-peer`", "are limits of the server"),
        ),
    ),
    Remedy(
        ("identity",),
        "Some connections reach a server that does not answer, or another than the one expected.",
        (
            ("HAProxy", "`server ... check` (off), `option redispatch` (off)",
             "both on: a dead server is left out, and a failed attempt tries another one"),
            ("nginx `stream`", "`max_fails=1 fail_timeout=10s`, `proxy_connect_timeout` (60s)",
             "lower the time-out: so long a client waits for a dead server"),
            ("Envoy", "`health_checks`, `max_connect_attempts` (1), `connect_timeout` (5 s)",
             "add a check, raise the attempts"),
            ("load balancers of AWS, Azure and GCP", "health check, health probe",
             "let it connect to the port of the service, more often"),
            ("IPVS", "`net.ipv4.vs.expire_nodest_conn` (0)",
             "1: connections to a server that was removed end; with 0 their packets are dropped"),
        ),
    ),
    Remedy(
        ("connect",),
        "No connection comes about: a reset or an ICMP message says that it is refused, silence"
        " that a packet is dropped.",
        (
            ("iptables", "`-j REJECT`, `-j DROP`, policies of INPUT and FORWARD",
             "accept the port: in INPUT at the server, in FORWARD at a router"),
            ("AWS security groups", "no rule for what comes in",
             "allow the port: for the clients at the load balancer, for both at the servers"),
            ("AWS network ACLs", "keep no state", "let answers pass, too: ports 1024 to 65535"),
            ("GCP VPC firewall", "denies what comes in", "allow the port; behind global proxy load"
             " balancers for 130.211.0.0/22 and 35.191.0.0/16"),
            ("Azure Load Balancer (Standard)", "closed",
             "allow the port in the network security group of the servers"),
        ),
    ),
    Remedy(
        ("greeting", "first-answer", "first-bytes", "echo"),
        "An accepted connection waits before it reaches the server: the device wants to see the"
        " first bytes, or a header.",
        (
            ("HAProxy", "`tcp-request inspect-delay` (none)",
             "it waits so long for content that a rule can decide on: lower it, or let a rule"
             " accept at once"),
            ("nginx `stream`", "`ssl_preread on` with `preread_timeout` (30s)",
             "switch it off where the client does not begin with TLS"),
            ("nginx `stream`", "`listen ... proxy_protocol` with `proxy_protocol_timeout` (30s)",
             "send the header (`--send-proxy` here), or remove the word"),
            ("HAProxy", "`bind ... accept-proxy` (off)", "send the header, or remove the word"),
            ("Envoy", "listener filters with `listener_filters_timeout` (15 s)",
             "remove the filter for TLS or for the PROXY protocol where the client sends neither;"
             " after the time the connection is closed"),
        ),
    ),
    Remedy(
        ("proxy",),
        "The server sees the address of a device. It passes the client's on in a PROXY header, if"
        " both ends have it: `echosvc serve --proxy-protocol require --proxy-from NETWORK`.",
        (
            ("HAProxy", "`server ... send-proxy`, `send-proxy-v2` (off)", "add one"),
            ("nginx `stream`", "`proxy_protocol` (off)", "`proxy_protocol on`"),
            ("Envoy", "`envoy.transport_sockets.upstream_proxy_protocol` (none)", "add it"),
            ("AWS Network Load Balancer", "`proxy_protocol_v2.enabled` (false),"
             " `preserve_client_ip.enabled` (true for instances, false for TCP by address)",
             "switch one on"),
            ("GCP proxy load balancers", "`--proxy-header` of the target proxy (NONE)", "PROXY_V1"),
            ("Kubernetes", "`externalTrafficPolicy` (Cluster)",
             "Local keeps the address of the client"),
        ),
    ),
    Remedy(
        ("tls",),
        "A certificate has ended, or cannot be read. It is read at a start or a reload.",
        (
            ("HAProxy", "`bind ... ssl crt FILE`", "replace the file, then reload; without a reload"
             " `set ssl cert` and `commit ssl cert` at the runtime API"),
            ("nginx", "`ssl_certificate`", "replace the file, then `nginx -s reload`"),
            ("AWS Certificate Manager", "imported certificates are not renewed",
             "import the new one"),
            ("echosvc", "`ssl:PORT:privateKey=FILE:certKey=FILE`",
             "replace the files, then SIGHUP"),
        ),
    ),
    Remedy(
        ("bytes", "text", "terminal"),
        "The path is not made for bytes: it decodes text, translates line ends, or speaks HTTP.",
        (
            ("HAProxy", "`mode` (tcp; `defaults` often have http)", "`mode tcp`"),
            ("nginx", "`http { }`", "use `stream { }`"),
            ("AWS", "Application Load Balancer", "it speaks HTTP: use a Network Load Balancer"),
            ("GCP", "Application Load Balancer",
             "it speaks HTTP: use a proxy or passthrough Network Load Balancer"),
            ("Azure", "HTTP listener of Application Gateway, Front Door",
             "they speak HTTP: use Load Balancer"),
            ("a terminal in the path", "`stty` modes", "`stty raw -echo`, socat's `rawer`"),
        ),
    ),
    Remedy(
        ("order", "sizes", "stream", "reuse", "volume", "messages"),
        "No setting of these programs loses, repeats or reorders bytes of a TCP stream, or counts"
        " messages: look for relays and servers of your own, and for buffers that they use again."
        " A stream that ends at the same offset each time has met a limit of volume.",
        (
            ("iptables", "`-m connbytes`, `-m quota` before DROP or REJECT",
             "raise the number of bytes"),
        ),
    ),
    Remedy(
        ("back-pressure", "deadlock"),
        "A device takes everything though nobody reads (`back-pressure`), or reads nothing while it"
        " cannot write (`deadlock`, as `ncat -e /bin/cat` does). These do neither, and their"
        " buffers have bounds:",
        (
            ("HAProxy", "`tune.bufsize` (16384)", "a buffer for each direction"),
            ("nginx `stream`", "`proxy_buffer_size` (16k)", "a buffer for each direction"),
            ("Envoy", "`per_connection_buffer_limit_bytes` (1 MiB)", "a soft limit"),
            ("kernels", "`net.ipv4.tcp_rmem`, `net.ipv4.tcp_wmem`", "the largest of three values"),
        ),
    ),
    Remedy(
        ("path", "rtt"),
        "These inform. Where a figure is worse than the link allows:",
        (
            ("nginx `stream`", "`proxy_download_rate`, `proxy_upload_rate` (0: no limit)",
             "raise it"),
            ("nginx `stream`", "`tcp_nodelay` (on)", "leave it on"),
            ("iptables", "`-j TCPOPTSTRIP`, `-j TCPMSS --set-mss`",
             "remove a rule that strips window scaling, SACK or timestamps, or sets a small MSS"),
            ("both ends", "`net.ipv4.tcp_window_scaling`, `net.ipv4.tcp_sack`,"
             " `net.ipv4.tcp_timestamps` (1)", "leave them on"),
        ),
    ),
    Remedy(
        ("internal-error",),
        "Nothing was found out about the path. The other probes are judged as ever.",
        (
            ("echosvc", "`--skip NAME`", "leave the probe out, and report the line"),
        ),
    ),
    Remedy(
        ("reset",),
        "What was aborted looks as if it had ended, or the other way round.",
        (
            ("HAProxy", "`option nolinger` (off)",
             "leave it off: it makes each end a reset, and cuts what is still on its way"),
            ("Azure Load Balancer", "`--enable-tcp-reset` (false)",
             "true: an idle connection ends by a reset, not by silence"),
        ),
    ),
)  # fmt: skip


def written_remedies() -> Iterator[str]:
    """The section, in Markdown."""
    yield f"## {TITLE}\n\n{INTRODUCTION}\n\n"
    for remedy in REMEDIES:
        names = ", ".join(f"`{name}`" for name in remedy.findings)
        text = textwrap.fill(remedy.means, 100, break_on_hyphens=False)
        yield f"### {names}\n\n{text}\n\n"
        if remedy.rows:
            yield _table(("in", "setting (default)", "what to change"), *remedy.rows) + "\n"


def _table(*rows: tuple[str, ...]) -> str:
    head, *body = rows
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ("---",) * len(head), *body))
