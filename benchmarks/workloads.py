"""What is measured: the workloads, and who takes part in each."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Everybody whom all the plain workloads compare.
MAIN = ("c", "lean", "ours", "defaults", "uvloop", "asyncio", "node", "plain")
#: Those, and the variants that one workload is enough for.
ALL = ("c", "bare", *MAIN[1:4], "lean-guarded", "guarded", *MAIN[4:7], "node-log", "plain")
#: Those whose settings a connection has to remember, for the memory of idle ones.
SETTINGS = (*MAIN[:4], "limited", "lifetime", "peer-prefix", *MAIN[4:])
SECURE = MAIN[1:]
#: Those for a stream, where a loop in Python without any feature shows what Python costs.
STREAMING = (*MAIN[:1], "bare", *MAIN[1:])
GIB = 1 << 30
#: Modes of the load generator that are one stream, of which every GiB is counted.
STREAMS = ("bulk", "duplex")
#: Seconds before what is measured ...
WARM = 0.15
#: ... and until every idle connection has been so for longer than a server's time-out for it:
#: that of all is half a second, where it has one.
WARM_IDLE = 1.2


@dataclass(frozen=True)
class Workload:
    """One thing to measure.

    :ivar name: what ``--only`` calls it.
    :ivar title: what tables and charts call it.
    :ivar unit: of the cost, by which the servers are ranked.
    :ivar mode: of the load generator; or start.
    :ivar kind: tcp, unix or tls.
    :ivar peers: the names of those who take part.
    :ivar size: bytes of payload in a message, or of the stream.
    :ivar idle: silent connections.
    :ivar rounds: how often each server is measured.
    :ivar seconds: how long, each time.
    :ivar warm: seconds before that, with the same load; in the mode idle, of messages.
    :ivar quick: part of ``--quick``.
    """

    name: str
    title: str
    unit: str = "CPU µs/message"
    mode: str = "ping"
    kind: str = "tcp"
    peers: tuple[str, ...] = MAIN
    connections: int = 64
    size: int = 64
    idle: int = 0
    rounds: int = 3
    seconds: float = 0.3
    warm: float = WARM
    quick: bool = False

    @property
    def streams(self) -> bool:
        """Whether it is one stream.

        What it costs depends on the connection, for as long as it lasts: on the congestion control
        and on where the kernel's copies begin in a page. So there are many short rounds, ratios are
        taken round by round, and the median of the rounds counts.
        """
        return self.mode in STREAMS


def _ping_pong() -> list[Workload]:
    """Three sizes, at three numbers of connections."""
    made = []
    for size, title in ((64, "64 B"), (1024, "1 KiB"), (16384, "16 KiB")):
        for count in (1, 64, 1000):
            name = f"pingpong-{title.replace(' ', '').replace('B', '').lower()}x{count}"
            words = f"{title} x {count:,}"
            made.append(Workload(name, words, connections=count, size=size))
    return made


def _headline(workload: Workload) -> Workload:
    """The workload that most targets speak of gets all peers, and more rounds."""
    if workload.name == "pingpong-64x64":
        return replace(workload, peers=ALL, rounds=7, quick=True)
    return workload


WORKLOADS = (
    *map(_headline, _ping_pong()),
    Workload("bulk", "stream", "CPU ms/GiB", "bulk", peers=STREAMING, connections=1,
             size=GIB // 4, rounds=21, quick=True),
    Workload("duplex", "stream, two threads", "CPU ms/GiB", "duplex", peers=STREAMING,
             connections=1, size=GIB // 4, rounds=21, quick=True),
    Workload("connect", "one-message connections", "CPU µs/connection", "connect",
             connections=32, rounds=7, quick=True),
    Workload("idle", "idle connections", "bytes/connection", "idle", peers=SETTINGS,
             connections=10_000, rounds=1, warm=0.1, quick=True),
    Workload("idle-new", "idle connections, nothing before", "bytes/connection", "idle",
             connections=10_000, rounds=1, warm=0.0),
    Workload("beside", "64 B x 64 beside 10,000 idle", idle=10_000, warm=WARM_IDLE),
    Workload("tls-64", "TLS, 64 B x 64", kind="tls", peers=SECURE, rounds=5, quick=True),
    Workload("tls-16ki", "TLS, 16 KiB x 64", kind="tls", peers=SECURE, size=16384),
    Workload("unix-64", "UNIX socket, 64 B x 64", kind="unix", quick=True),
    Workload("start", "start to listening", "ms", "start", peers=MAIN, rounds=9, quick=True),
)  # fmt: skip
BY_NAME = {workload.name: workload for workload in WORKLOADS}


def shorten(workload: Workload) -> Workload:
    """The same for ``--quick``: shorter, seldomer, with fewer idle connections."""
    return replace(
        workload,
        title=workload.title.replace("10,000", "1,000"),
        idle=workload.idle // 10,
        rounds=min(2, workload.rounds),
        seconds=0.2,
        size=workload.size // 4 if workload.streams else workload.size,
        connections=workload.connections // (10 if workload.mode == "idle" else 1),
    )
