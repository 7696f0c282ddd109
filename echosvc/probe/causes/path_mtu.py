"""Packets above some size are dropped, and nobody reports it: a path MTU black hole.

Theory of operation. A router whose next link is too narrow for a packet drops it and reports the
link's MTU by ICMP. Where a firewall drops the report, short messages pass and long ones vanish,
whatever they contain (RFC 2923). Only the size of the segments makes the difference, so only that
is changed: the same bytes are sent again over connections that announce a small MSS, which limits
the segments of both directions. If they are answered, the limit is the path's, not that of a
server, a proxy's buffer or a volume, and the largest MSS that passes is found by bisection.

Where the MSS cannot be chosen, or does not help, the sizes of messages are bisected. If the peer's
kernel does not acknowledge the long ones, packets are dropped: a kernel acknowledges what its
program does not read, too. If it does, the place is behind that kernel, and no experiment from
here can tell a narrow path behind a proxy from a server that does not answer long messages.

A race is no limit: what is one byte too long must be lost each of several times, and what is not
must come back as often. Nor is it one where a message stops in the middle: its first part was
answered.
"""

from __future__ import annotations

from twisted.internet import defer
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred

from echosvc._text import plural
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.size_limit import Answer, SizeLimit, find_largest
from echosvc.probe.engine.trial import QUIET_TIME, ROUND_TRIPS, Trial, open_within, try_message

#: Under which name the cause is reported.
NAME = "path-mtu"
#: An MSS that every path carries: no link of the Internet is so narrow.
SAFE_SEGMENT = 256
#: The MTU of usual links and tunnels. Ethernet 1500; PPPoE 1492; 6in4 and IPIP 1480; GRE 1476; GCP
#: and L2TP 1460; VXLAN 1450; WireGuard 1420 and 1440; IPsec 1400 and 1438; OpenVPN and mobile
#: networks 1300 to 1380; IPv6's least 1280; IPv4's 576; jumbo frames 9000.
_LIKELY_MTUS = (
    576, 1240, 1280, 1300, 1320, 1340, 1360, 1380, 1400, 1420, 1430, 1438, 1440, 1450, 1460, 1476,
    1480, 1492, 1500, 9000,
)  # fmt: skip
#: The longest message that passes lies between these more often than elsewhere, bytes.
_LIKELY_MESSAGES = (1200, 1500)
#: The MSS of Ethernet, where the kernel does not tell another.
_USUAL_SEGMENT = 1460
#: How long an answer is waited for before it is called missing for good, seconds: a server may be
#: slow at times.
_LONG_QUIET = 3.0
#: How often what is too long, and what is not, is sent in the end.
_TIMES = 3
#: What becomes of what is too long, what is known of the direction then, in words and for programs.
#: The first ones prove more.
_DIRECTIONS = {
    Answer.DROPPED: ("; ours are dropped: none is acknowledged", "to the server"),
    Answer.SILENCE: ("; ours arrive, the replies are dropped", "from the server"),
    Answer.UNCONNECTED: ("; even the handshake of TLS is dropped", "unknown"),
    Answer.UNKNOWN: ("; in which direction is not known here", "unknown"),
}
#: A stream of this size must pass in small segments before the other probes rely on them, bytes,
#: in this time, seconds.
_BULK_SIZE, _BULK_TIME = 65536, 3.0
#: The same for a connection, besides the quiet time.
_OPEN_TIME = 0.5
#: Bytes of the short messages that as many bytes are sent in as a long one has: where a round trip
#: takes less than this time, seconds, and where it takes more.
_PIECE_SIZE, _NEAR, _FAR_PIECE_SIZE = 128, 0.005, 512
#: Bytes of the headers of IP and TCP, without options, which count for the MSS.
_HEADERS, _HEADERS_IPV6 = 40, 60


class LongMessageLost(Failed):
    """A long message does not come back, and the limit is known.

    :ivar limit: where it lies.
    """

    def __init__(self, finding: str, limit: SizeLimit) -> None:
        super().__init__(finding, end="silence")
        self.limit = limit


@cause(order=20, seconds=20.0)
async def explain_by_path_mtu(path: Path, failed: Failed) -> Cause | None:
    """Return that packets above some size are dropped."""
    knowledge = path.context.knowledge
    if isinstance(failed, LongMessageLost):
        return _describe(failed.limit)
    if knowledge.message_limit is not None and _may_be_size(path, failed):
        return _describe(knowledge.message_limit)
    if knowledge.max_segment or knowledge.size_is_no_cause or not _may_be_size(path, failed):
        return None
    limit = await find_limit(path)
    return None if limit is None else _describe(limit)


def _may_be_size(path: Path, failed: Failed) -> bool:
    """Return whether a stream stopped without an end, or a handshake of TLS did."""
    if failed.end != "silence":
        return False
    if failed.fault is not None:
        return failed.fault.kind is FaultKind.CUT
    return path.target.tcp is not None and path.target.endpoint is not path.target.tcp


async def find_limit(path: Path) -> SizeLimit | None:
    """Return from which size on packets are dropped; ``None``: that is not what happens.

    Where small segments avoid it, all later connections of the path use them.
    """
    knowledge, limit = path.context.knowledge, None
    try:
        limit = await _Search(path).run()
    finally:
        knowledge.max_segment = limit.good if limit and limit.avoidable else 0
    knowledge.message_limit = limit if limit and not limit.avoidable else None
    return limit


class _Search:
    """The search for the size from which on packets are dropped.

    Each trial has a connection of its own: one that has lost a packet carries nothing any more.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._knowledge = path, path.context.knowledge
        self._rtt = 0.0
        self._segment = 0  # the system's MSS, once it is known
        self._headers = 0
        self._size = 0  # of the message that is longer than a packet

    async def run(self) -> SizeLimit | None:
        """Return the limit; ``None``: a long message is answered, or another cause is likelier."""
        first = await self._try(0)
        if first.answer is Answer.WHOLE:
            return None
        limit = None
        if self._path.target.tcp is not None:
            limit = await self._by_segments()
        if limit is None and first.answer is not Answer.UNCONNECTED:
            limit = await self._by_messages()
        self._knowledge.size_is_no_cause = limit is None
        return limit

    async def _try(self, segment: int, size: int = 0, quiet: float = QUIET_TIME) -> Trial:
        """Exchange a message over a new connection.

        :param segment: its MSS; 0: the system's.
        :param size: of the message; 0: longer than a packet.
        """
        self._path.close()
        return await self._exchange(segment, size, quiet)

    async def _exchange(self, segment: int, size: int, quiet: float) -> Trial:
        """Do the same beside other connections."""
        self._knowledge.max_segment = segment
        limit = _OPEN_TIME + quiet + 2 * ROUND_TRIPS * self._rtt
        connection = await open_within(self._path, limit)
        if connection is None:
            return Trial(Answer.UNCONNECTED)
        self._rtt = max(self._rtt, connection.rtt)
        self._note_sizes(connection, segment)
        return await try_message(self._path, connection, size or self._size, quiet)

    def _note_sizes(self, connection: ProbeConnection, segment: int) -> None:
        info = connection.client.tcp_info
        is_ipv6 = isinstance(connection.client.remote_address, IPv6Address)
        self._headers = _HEADERS_IPV6 if is_ipv6 else _HEADERS
        if info is not None and not segment:
            self._segment = max(info.announced_mss, info.send_mss)
        elif info is not None and not self._segment:
            self._segment = info.path_mtu - self._headers
        self._segment = self._segment or _USUAL_SEGMENT
        self._size = 2 * self._segment + SAFE_SEGMENT

    async def _by_segments(self) -> SizeLimit | None:
        """Return the largest MSS that passes; ``None``: the MSS does not matter."""
        if (await self._try(SAFE_SEGMENT)).answer is not Answer.WHOLE:
            return None

        async def passes(segment: int) -> bool:
            return (await self._try(segment)).answer is Answer.WHOLE

        likely = [mtu - self._headers for mtu in _LIKELY_MTUS]
        good = await find_largest(SAFE_SEGMENT, self._segment, likely, passes)
        lost = await self._lose(good + 1, 0)
        if not lost or not await self._come_back(good, 0):
            return None
        avoidable = await self._carries(good)
        return SizeLimit(good, self._size, _answer_to(lost), self._headers, avoidable)

    async def _carries(self, segment: int) -> bool:
        """Return whether a stream passes in segments of this size at once."""
        trying = Deferred.fromCoroutine(self._try(segment, _BULK_SIZE))
        try:
            trial = await trying.addTimeout(
                _BULK_TIME + ROUND_TRIPS * self._rtt, self._path.reactor
            )
        except defer.TimeoutError:
            return False
        return trial.answer is Answer.WHOLE

    async def _by_messages(self) -> SizeLimit | None:
        """Return the longest message that passes; ``None``: its length does not matter."""
        if not await self._carries_in_pieces():
            return None

        async def passes(size: int) -> bool:
            trial = await self._try(0, size)
            if trial.answer is Answer.UNCONNECTED:
                raise Failed("there is no connection any more")
            return trial.answer is Answer.WHOLE

        good = await find_largest(1, self._size, _LIKELY_MESSAGES, passes)
        lost = await self._lose(0, good + 1)
        came = {trial.came for trial in lost}  # of a stream that stops, another number each time
        stopped = any(trial.answer is Answer.UNCONNECTED for trial in lost)
        if stopped or came not in ({0}, {good}) or not await self._come_back(0, good):
            return None
        return SizeLimit(good, 0, _answer_to(lost), cut=came == {good})

    async def _lose(self, segment: int, size: int) -> list[Trial]:
        """Return what became of several messages at once; none, if one was answered."""
        self._path.close()
        times = self._path.allowed(_TIMES)
        trials = await gather([self._exchange(segment, size, _LONG_QUIET) for _ in range(times)])
        return trials if all(trial.answer in _DIRECTIONS for trial in trials) else []

    async def _come_back(self, segment: int, size: int) -> bool:
        """Return whether several messages come back, one after the other."""
        for _ in range(_TIMES):
            if (await self._try(segment, size)).answer is not Answer.WHOLE:
                return False
        return True

    async def _carries_in_pieces(self) -> bool:
        """Return whether as many bytes come back in short messages, one by one."""
        self._path.close()
        connection = await open_within(self._path, _OPEN_TIME + ROUND_TRIPS * self._rtt)
        if connection is None:
            return False
        piece, sent = _PIECE_SIZE if self._rtt < _NEAR else _FAR_PIECE_SIZE, 0
        while sent < self._size:
            if (await try_message(self._path, connection, piece)).answer is not Answer.WHOLE:
                return False
            sent += piece
        return True


def _answer_to(lost: list[Trial]) -> Answer:
    """Return what became of several messages that were lost, as far as one of them proves it."""
    answers = {trial.answer for trial in lost}
    return next(answer for answer in _DIRECTIONS if answer in answers)


# -- in words -------------------------------------------------------------------------------------


def _describe(limit: SizeLimit) -> Cause:
    if not limit.size:
        return _describe_messages(limit)
    packet = limit.good + limit.headers
    words, direction = _DIRECTIONS[limit.answer]
    facts = {"max_packet": packet, "max_segment": limit.good, "direction": direction}
    finding = (
        f"packets of more than {packet} bytes are dropped, and no report of it arrives:"
        f" {plural(limit.size, 'byte')} come back with an MSS of {limit.good}, not with"
        f" {limit.good + 1} or more{words}"
    )
    return Cause(
        NAME, finding, _advice(limit), facts, avoidable=limit.avoidable, final=not limit.avoidable
    )


def _advice(limit: SizeLimit) -> str:
    rest = f"; the rest of this check uses an MSS of {limit.good}" if limit.avoidable else ""
    return (
        f"a link on the path has an MTU of {limit.good + limit.headers}, and the ICMP message that"
        " reports it is lost (a path MTU black hole, RFC 2923): let ICMP type 3 code 4 pass, and"
        " ICMPv6 type 2; or"
        f" clamp the MSS to {limit.good} (iptables -j TCPMSS --clamp-mss-to-pmtu), or have the ends"
        f" probe (RFC 4821, net.ipv4.tcp_mtu_probing=1){rest}"
    )


def _describe_messages(limit: SizeLimit) -> Cause:
    size = plural(limit.good, "byte")
    longer = f"of longer ones the first {size} come back" if limit.cut else "longer ones are not"
    finding = (
        f"messages of up to {size} are answered, {longer}, though as many bytes come back in short"
        " ones"
    )
    facts = {"max_message": limit.good, "direction": _DIRECTIONS[limit.answer][1]}
    if limit.cut:
        advice = "the server, or a proxy, reads so much of a message and discards the rest"
        return Cause("message-size", finding, advice, facts, final=True)
    if limit.answer is Answer.DROPPED:
        finding += ": the packets of longer ones are dropped on the way to the next hop"
        advice = (
            "a path MTU that no ICMP message reports (a black hole, RFC 2923), or a filter by"
            " length: let ICMP pass, or clamp the MSS"
        )
        return Cause(NAME, finding, advice, facts, final=True)
    taken = "the next hop has acknowledged them, and " if limit.answer is Answer.SILENCE else ""
    advice = (
        f"{taken}smaller segments change nothing: behind the next hop a path MTU is not reported"
        " (RFC 2923), or a proxy or the server does not answer long messages"
    )
    return Cause("message-size", finding, advice, facts, final=True)
