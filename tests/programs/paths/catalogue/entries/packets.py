"""What a firewall, a narrow link or a lossy one does to packets."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.network import network
from tests.programs.paths.catalogue.builders.servers import echosvc
from tests.programs.paths.catalogue.entry import CLEAN, FAST, Entry, Line, fails, passes

_MTU = "path-mtu|mtu"
_LARGE = "iptables -w -A FORWARD {} -p tcp -m length --length {}: -j DROP"
#: What no other probe may be accused of.
_ELSEWHERE = "at the FIN|without bound|mixes connections|drops bytes"


def _found_soon(*says: str) -> Line:
    """One failure names it, within 15 seconds."""
    return Line(_MTU, "fail", says, facts={"seconds": (0.0, 15.0)})


def _black_hole(
    name: str, title: str, *rules: str, says: tuple[str, ...] = (), **more: object
) -> Entry:
    """Large packets vanish: one failure names it, with the sizes and the remedy."""
    return Entry(
        name,
        title,
        echosvc(),
        network=network(*rules),
        expected=(
            *passes("connect", "echo"),
            _found_soon("MTU|packets", "MSS|ICMP", *says),
        ),
        nowhere=_ELSEWHERE,
        limit=60.0,
    ).also(name, title, **more)


_SIZES = r"1[34]\d\d"


def _rejected(kind: str, says: str) -> tuple[Entry, Entry]:
    """A firewall that answers with ICMP, asked by check and by send."""
    rule = network(f"iptables -w -A FORWARD -o south -p tcp -j REJECT --reject-with {kind}")
    checked = Entry(
        f"reject-{kind}",
        f"a firewall that rejects with {kind}",
        echosvc(),
        network=rule,
        expected=(fails("connect", says, "firewall"),),
        nowhere="unknown",
        limit=20.0,
    )
    sent = checked.also(
        f"send-reject-{kind}",
        f"the same, for send with {kind}",
        command=("send", "--quiet", "--to"),
        options=("hello",),
        expected=(fails("send", says),),
    )
    return checked, sent


ENTRIES = (
    _black_hole(
        "mtu-there",
        "packets above 1400 bytes to the server vanish",
        _LARGE.format("-o south", 1401),
        says=(_SIZES,),
    ),
    _black_hole(
        "mtu-back",
        "packets above 1400 bytes to the client vanish",
        _LARGE.format("-o north", 1401),
        says=(_SIZES,),
    ),
    _black_hole(
        "mtu-both", "packets above 1400 bytes vanish", _LARGE.format("", 1401), says=(_SIZES,)
    ),
    _black_hole(
        "mtu-576",
        "packets above 576 bytes vanish",
        _LARGE.format("", 577),
        expected=(
            *passes("connect"),
            Line("echo", "pass|skip"),
            _found_soon("MTU|packets", "MSS|ICMP", r"5\d\d"),
        ),
    ),
    _black_hole(
        "mtu-link",
        "a link of 1400 bytes whose router sends no ICMP",
        "ip link set south mtu 1400",
        "iptables -w -A OUTPUT -p icmp -j DROP",
        says=(_SIZES,),
    ),
    Entry(
        "mtu-reported",
        "a link of 1400 bytes whose router reports it",
        echosvc(),
        network=network(
            "ip route change 10.91.2.0/24 dev south proto kernel scope link src 10.91.2.1"
            " mtu lock 1400"
        ),
        expected=CLEAN,
        somewhere="MTU 1400 .a router reported it",
        limit=60.0,
    ),
    _black_hole(
        "mss-clamp-one-way",
        "a narrow tunnel whose router clamps the MSS of the client's SYN alone",
        "iptables -w -A FORWARD -p tcp --syn -j TCPMSS --set-mss 1000",
        "iptables -w -A FORWARD -p tcp -m length --length 1101: -j DROP",
        says=(r"1[01]\d\d",),
    ),
    _black_hole(
        "mtu-half-close-alone",
        "packets above 1400 bytes vanish, half-close alone",
        _LARGE.format("", 1401),
        options=("--only", "half-close"),
        expected=(_found_soon("MTU|packets"),),
    ),
    _black_hole(
        "mtu-back-pressure-alone",
        "packets above 1400 bytes vanish, back-pressure alone",
        _LARGE.format("", 1401),
        options=("--only", "back-pressure"),
        expected=(_found_soon("MTU|packets"),),
    ),
    _black_hole(
        "mtu-sizes-alone",
        "packets above 1400 bytes to the client vanish, sizes alone",
        _LARGE.format("-o north", 1401),
        options=("--only", "sizes", "--max-size", "1M"),
        expected=(_found_soon("MTU|packets"),),
    ),
    *_rejected("icmp-net-unreachable", "unreach|no route"),
    *_rejected("icmp-host-unreachable", "unreach|no route"),
    *_rejected("icmp-port-unreachable", "refuse"),
    *_rejected("icmp-proto-unreachable", "protocol"),
    *_rejected("icmp-net-prohibited", "unreach|prohibit|no route"),
    *_rejected("icmp-host-prohibited", "unreach|prohibit|no route"),
    *_rejected("icmp-admin-prohibited", "unreach|prohibit|no route"),
    *_rejected("tcp-reset", "refuse"),
    Entry(
        "dropped",
        "a firewall that drops everything",
        echosvc(),
        network=network("iptables -w -A FORWARD -o south -p tcp -j DROP"),
        options=(*FAST, "--timeout", "3"),
        expected=(fails("connect", "within 3 s|ETIMEDOUT", "drop|does not answer|firewall"),),
        limit=20.0,
    ),
    Entry(
        "nobody",
        "nobody listens",
        echosvc("--listen", "tcp:0:interface=127.0.0.1"),
        endpoint="tcp:{host}:1",
        expected=(fails("connect", "refuse", "listens"),),
        limit=20.0,
    ),
    Entry(
        "lossy",
        "1 packet of 100 is lost",
        echosvc(),
        network=network(
            "iptables -w -A FORWARD -p tcp -m statistic --mode random --probability 0.01 -j DROP"
        ),
        expected=CLEAN,
        limit=120.0,
    ),
    Entry(
        "content-filter",
        "a firewall that drops the packets in which two letters stand",
        echosvc(),
        network=network(
            "iptables -w -A FORWARD -o south -p tcp -m string --algo bm --from 52 --string zq"
            " -j DROP"
        ),
        options=("--only", "sizes,order,connections"),
        expected=(fails("sizes|stream", "stopped at offset", "packets of ours are dropped"),),
        nowhere=_ELSEWHERE,
        limit=150.0,
    ),
    Entry(
        "syn-lost",
        "each tenth SYN is lost",
        echosvc(),
        network=network(
            "iptables -w -A FORWARD -o south -p tcp --syn -m statistic --mode nth"
            " --every 10 --packet 9 -j DROP"
        ),
        expected=CLEAN,
        somewhere="SYN",
        limit=120.0,
    ),
    Entry(
        "syn-answer-lost",
        "each tenth answer to a SYN is lost",
        echosvc(),
        network=network(
            "iptables -w -A FORWARD -o north -p tcp --tcp-flags SYN,ACK SYN,ACK -m statistic"
            " --mode nth --every 10 --packet 9 -j DROP"
        ),
        options=("--only", "connect,echo,first-answer"),
        expected=passes("connect", "echo"),
        somewhere="a SYN was lost, or its answer",
        limit=60.0,
    ),
    Entry(
        "slow-link",
        "a link of 4 Mbit a second",
        echosvc(),
        network=network(
            "tc qdisc add dev south root tbf rate 4mbit burst 16k latency 200ms",
            "tc qdisc add dev north root tbf rate 4mbit burst 16k latency 200ms",
        ),
        options=("--skip", "idle,reset,back-pressure", "--max-size", "1M"),
        expected=passes("connect", "echo", "bytes", "sizes", "order", "text", "half-close"),
        limit=180.0,
    ),
)
