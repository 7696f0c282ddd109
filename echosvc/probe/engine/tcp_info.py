"""What Linux knows of one of its TCP connections: ``struct tcp_info``, parsed. No I/O, no Twisted.

Theory of operation. The structure of <linux/tcp.h> only ever grew at its end, so each number stands
where it always stood, and a kernel that does not know one returns fewer bytes. A field whose bytes
are not there is ``None``. The first 104 bytes have been there since Linux 2.6.

The kernel knows where a silence begins. A peer's kernel acknowledges what arrives, whether
its program reads or not, until its buffer is full; then it announces a window of 0. So what is not
acknowledged, though it was sent again and again, did not arrive. What is acknowledged did.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from echosvc._text import format_bytes, plural

#: 8 bytes, the sixth and seventh of which are flags, then numbers of 4, ``tcpi_rto`` to
#: ``tcpi_total_retrans``.
_BASE = struct.Struct("=8B24I")
#: Our names of its numbers, with their places.
_COUNTS = (
    ("send_mss", 2), ("unacked", 4), ("sacked", 5), ("path_mtu", 13), ("announced_mss", 19),
    ("retransmits", 23),
)  # fmt: skip
#: The same of times, and how many of their units are a second.
_DURATIONS = (
    ("rto", 0, 1e6), ("since_data", 11, 1e3), ("since_segment", 12, 1e3), ("rtt", 15, 1e6),
)  # fmt: skip
#: What was added later: our name, the offset, the format.
_LATER = (
    ("bytes_acked", 120, "=Q"),
    ("segments_sent", 136, "=I"),
    ("unsent_bytes", 144, "=I"),
    ("delivery_rate", 160, "=Q"),
    ("out_of_order", 224, "=I"),
    ("send_window", 228, "=I"),
)
#: As <netinet/tcp.h> numbers them.
_STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
    "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING",
)  # fmt: skip
#: The bits of ``tcpi_options`` that both sides have agreed on.
_OPTIONS = ((1, "timestamps"), (2, "SACK"), (4, "window scale"), (8, "ECN"))
#: How many time-outs in a row must have passed before segments count as dropped. After one, the
#: acknowledgement may still be on its way.
MIN_TIMEOUTS = 2


class Stall(Enum):
    """Why nothing comes, as far as the kernel knows."""

    #: Segments were sent again and again, and none of them is acknowledged.
    DROPPED = "dropped"
    #: The same, and the FIN is among them.
    FIN_DROPPED = "FIN dropped"
    #: The peer's window is open, and still our kernel cannot send: its own machine drops.
    UNSENT = "unsent"
    #: The peer's window is closed: its program does not read.
    NOT_READ = "not read"
    #: Everything that was sent is acknowledged.
    TAKEN = "taken"
    #: Everything is acknowledged, our FIN too; the peer's has not come.
    FIN_TAKEN = "FIN taken"
    #: Segments are on their way.
    SENDING = "sending"


@dataclass(frozen=True)
class TCPInfo:
    """One connection, as the kernel sees it. Fields that may be ``None`` came after Linux 2.6.

    :ivar state: ``ESTABLISHED``, ``FIN_WAIT1`` …; "": one that is not known.
    :ivar timeouts: time-outs in a row for the oldest segment: how often it was sent again.
    :ivar backoff: how often that time-out, or the one between two probes, was doubled.
    :ivar probes: probes that were not answered: of a closed window, or keep-alives.
    :ivar options: that both sides agreed on.
    :ivar window_scales: of our segments and of the peer's, shifts in bits.
    :ivar rto: time-out for an acknowledgement, seconds.
    :ivar send_mss: most bytes in one of our segments.
    :ivar unacked: segments that are not acknowledged.
    :ivar sacked: segments that arrived behind one that did not.
    :ivar since_data: seconds since bytes came.
    :ivar since_segment: seconds since any segment came, such as a FIN.
    :ivar path_mtu: the longest packet that the kernel sends there, bytes.
    :ivar rtt: smoothed round trip, seconds; 0: not measured.
    :ivar announced_mss: what we announced.
    :ivar retransmits: segments that were sent again, in all.
    :ivar bytes_acked: bytes that the peer acknowledged; its SYN counts as one.
    :ivar unsent_bytes: bytes in the kernel's queue that were never sent.
    :ivar delivery_rate: the newest rate of acknowledged bytes, bytes a second.
    :ivar out_of_order: segments that came behind one that had not come.
    :ivar send_window: bytes that the peer is ready to take.
    """

    state: str
    timeouts: int
    backoff: int
    probes: int
    options: tuple[str, ...]
    window_scales: tuple[int, int]
    rto: float
    send_mss: int
    unacked: int
    sacked: int
    since_data: float
    since_segment: float
    path_mtu: int
    rtt: float
    announced_mss: int
    retransmits: int
    bytes_acked: int | None = None
    segments_sent: int | None = None
    unsent_bytes: int | None = None
    delivery_rate: int | None = None
    out_of_order: int | None = None
    send_window: int | None = None

    @property
    def stall(self) -> Stall:
        """Why nothing comes, if nothing does."""
        if self._window_is_closed:
            return Stall.NOT_READ
        late = max(self.timeouts, self.backoff, self.probes) >= MIN_TIMEOUTS
        if self.unacked:
            dropped = Stall.FIN_DROPPED if self.state in _FIN_SENT else Stall.DROPPED
            return dropped if late else Stall.SENDING
        if self.unsent_bytes:
            return Stall.UNSENT if late else Stall.SENDING
        return Stall.FIN_TAKEN if self.state == "FIN_WAIT2" else Stall.TAKEN

    @property
    def _window_is_closed(self) -> bool:
        """Whether bytes wait for the peer's window.

        The kernel sends no part of a segment while the window has no room for all of it. What it
        had sent before the window was closed, the peer may drop.
        """
        if self.send_window == 0:
            return bool(self.unacked or self.unsent_bytes)
        if self.unacked:
            return False
        if self.unsent_bytes is None or self.send_window is None:  # before Linux 5.4
            return self.probes > 0 or self.backoff > 0
        return self.unsent_bytes > 0 and self.send_window < self.send_mss

    @property
    def facts(self) -> dict[str, Any]:
        """What a failure tells programs: the figures that show why nothing comes."""
        names = (
            "state", "unacked", "timeouts", "retransmits", "unsent_bytes", "send_window",
            "send_mss", "path_mtu", "out_of_order",
        )  # fmt: skip
        known = {name: getattr(self, name) for name in names}
        own = {"stall": self.stall.value, "rtt_us": round(1e6 * self.rtt)}
        return {**own, **{name: value for name, value in known.items() if value is not None}}


#: States in which our FIN is sent and not acknowledged.
_FIN_SENT = ("FIN_WAIT1", "CLOSING", "LAST_ACK")


def parse_tcp_info(data: bytes) -> TCPInfo | None:
    """Parse a ``struct tcp_info`` of Linux; ``None``: it is too short to be one."""
    if len(data) < _BASE.size:
        return None
    state, _, timeouts, probes, backoff, options, scales, _, *numbers = _BASE.unpack_from(data)
    low, high = scales & 15, scales >> 4
    later: dict[str, Any] = {
        name: struct.unpack_from(form, data, offset)[0]
        for name, offset, form in _LATER
        if len(data) >= offset + struct.calcsize(form)
    }
    return TCPInfo(
        state=_STATES[state] if state < len(_STATES) else "",
        timeouts=timeouts,
        backoff=backoff,
        probes=probes,
        options=tuple(name for bit, name in _OPTIONS if options & bit),
        # Bit fields of C begin at the low bit on machines whose low byte stands first.
        window_scales=(low, high) if sys.byteorder == "little" else (high, low),
        **{name: numbers[place] for name, place in _COUNTS},
        **{name: numbers[place] / unit for name, place, unit in _DURATIONS},
        **later,
    )


def describe_stall(info: TCPInfo) -> str:
    """Return why nothing comes, as a likely cause; "": the kernel cannot tell."""
    return _WORDS[info.stall](info)


def _describe_dropped(info: TCPInfo) -> str:
    count, times = plural(info.unacked, "segment"), plural(info.timeouts + 1, "time")
    arrived = f", though {plural(info.sacked, 'segment')} behind arrived" if info.sacked else ""
    return (
        f"packets of ours are dropped on the way: the kernel has sent {count} {times} without an"
        f" acknowledgement{arrived}: a firewall that drops, a path MTU that nobody reports, or a"
        " dead link"
    )


def _describe_not_read(info: TCPInfo) -> str:
    waiting = f", and {format_bytes(info.unsent_bytes)} wait" if info.unsent_bytes else ""
    return (
        "the next hop, a proxy or the server, does not read: its kernel has closed the window"
        f"{waiting}"
    )


_WORDS: dict[Stall, Callable[[TCPInfo], str]] = {
    Stall.DROPPED: _describe_dropped,
    Stall.FIN_DROPPED: lambda info: (
        "our FIN, or what was sent right before it, is dropped on the way: the kernel has sent it"
        f" {plural(info.timeouts + 1, 'time')} without an acknowledgement"
    ),
    Stall.UNSENT: lambda info: (
        f"our own machine drops the packets: {format_bytes(info.unsent_bytes or 0)} wait in its"
        " kernel though the peer's window is open (a queue, a firewall, the MTU of an interface)"
    ),
    Stall.NOT_READ: _describe_not_read,
    Stall.TAKEN: lambda _: (
        "the next hop has acknowledged everything: the server, or a proxy before it, has it and"
        " sends nothing; or what it sends is dropped on the way"
    ),
    Stall.FIN_TAKEN: lambda _: (
        "the next hop has acknowledged everything, our FIN too: a proxy does not pass it on, the"
        " server does not end, or its FIN is dropped on the way"
    ),
    Stall.SENDING: lambda _: "",
}
