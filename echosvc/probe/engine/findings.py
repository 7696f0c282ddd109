"""What a probe finds, in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from echosvc._text import format_bytes, plural, quote
from echosvc.probe.engine.fault import SAMPLE_SIZE, Fault, FaultKind
from echosvc.tls.alerts import alert_advice


class Failed(Exception):
    """The path or the peer failed.

    :ivar finding: what is wrong, one line.
    :ivar cause: the likeliest reason, or "".
    :ivar fault: what happened to a stream, if it is that.
    :ivar facts: more, for programs.
    :ivar end: how the connection ended: ``FIN``, ``RST``, ``silence``, the error of TLS, or "".
    :ivar age: seconds that the connection had lived when it ended; 0: none ended, or its age is
        not the cause; ``None``: not known yet.
    :ivar pause: seconds in which no byte came on a connection that the peer ended; the longest.
    :ivar subject: what it is about, if that is not the probe's own subject; or "".
    :ivar control: asked where no cause is found: the same without what the probe is about. It
        returns the failure that is to be reported, this one or that of the control.
    :ivar at_opening: a connection was not made, or its first message not answered, and none was
        opened beside it.
    """

    age: float | None = None
    pause = 0.0

    def __init__(
        self,
        finding: str,
        cause: str = "",
        fault: Fault | None = None,
        facts: dict[str, Any] | None = None,
        end: str = "",
        subject: str = "",
    ) -> None:
        super().__init__(finding)
        self.finding, self.cause, self.fault, self.facts = finding, cause, fault, facts or {}
        self.end, self.subject = end, subject
        self.control: Callable[[], Awaitable[Failed]] | None = None
        self.at_opening = False


class Unanswered(Failed):
    """A message was not answered.

    :ivar came: what came in place of an answer.
    :ivar rtt: seconds of a round trip to the address of the connection, at least.
    :ivar first: it was the first one of its connection.
    """

    first = False

    def __init__(self, finding: str, cause: str, reason: str, came: bytes, rtt: float) -> None:
        super().__init__(finding, cause, end=reason)
        self.came, self.rtt = came, rtt


class HeldBack(Failed):
    """A first message is answered only if it is long, or ends its line."""


class Skipped(Exception):
    """The probe does not apply; its text is the reason.

    :ivar see: the name of the result that explains it, or "".
    """

    def __init__(self, why: str, see: str = "") -> None:
        super().__init__(why)
        self.see = see


@dataclass(frozen=True)
class Finding:
    """What a probe found where nothing is wrong.

    :ivar text: one line.
    :ivar info: it is neither good nor bad.
    :ivar facts: the same for programs.
    """

    text: str
    info: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def describe_fault(
    fault: Fault, reason: str, prefix: bytes, totals: tuple[int, ...] = ()
) -> tuple[str, str]:
    """Return a fault in words, and its likeliest cause.

    :param reason: how the connection ended: FIN, RST, silence, or "" if it has not ended.
    :param totals: bytes that the connection had carried in one direction and in the other.
    """
    what = _DESCRIPTIONS[fault.kind](fault) + _describe_others(fault)
    if rewritten := _rewritten(fault.expected, fault.seen):
        what = f"bytes are rewritten from offset {fault.offset} on"
    if fault.kind is FaultKind.CUT:
        what += {
            "FIN": ": then came FIN",
            "RST": ": then came RST",
            "silence": ": then nothing more came",
            "": "",
        }.get(reason, f": then {reason}")
    else:
        what += _describe_context(fault)
        if fault.kind is FaultKind.GARBLED and reason not in ("", "silence"):
            what += f"; then came {reason}"
    return what, rewritten or _likely_cause(fault, reason, prefix, totals)


def _describe_context(fault: Fault) -> str:
    after = f" after {quote(fault.before)}" if fault.before else ""
    return f":{after} expected {quote(fault.expected)}, seen {quote(fault.seen)}"


def describe_foreign(fault: Fault, owner: str) -> tuple[str, str]:
    """Return that bytes of another connection came, in words, and the likeliest cause.

    :param owner: that connection, a key of :data:`FOREIGN_CAUSES`.
    """
    inserted = fault.kind is FaultKind.INSERTED and fault.explained
    what = plural(fault.length, "byte") if inserted else "bytes"
    finding = f"{what} of {owner} came in at offset {fault.offset}{_describe_others(fault)}"
    return f"{finding}{_describe_context(fault)}", FOREIGN_CAUSES[owner]


EARLIER = "an earlier connection"
ANOTHER = "another connection"
#: Why bytes come on a connection that were sent on another one.
FOREIGN_CAUSES = {
    EARLIER: "a middlebox gives its connection to the server to the next client, and with it the"
    " answers that the last one has not read",
    ANOTHER: "they are another connection's: a middlebox mixes connections up",
}


def _describe_others(fault: Fault) -> str:
    """Return what is known of the faults behind this one."""
    if fault.kind in _WITHOUT_END:
        return ""
    if not fault.explained:
        return ", and more is wrong behind it"
    return f", the first of at least {fault.count} such faults" if fault.count > 1 else ""


#: So many bytes of a sample are changed where all of some kind are.
_SEVERAL = 2
#: So many faults of so few bytes are no accidents.
_MANY, _SHORT = 3, 8
#: Faults that befall bytes for what they are.
_OF_SOME_BYTES = (FaultKind.LOST, FaultKind.REPEATED, FaultKind.INSERTED, FaultKind.CHANGED)
#: These faults say themselves that nothing is right from their offset on.
_WITHOUT_END = (FaultKind.CUT, FaultKind.GARBLED, FaultKind.UNMARKED)
_DESCRIPTIONS = {
    FaultKind.LOST: lambda f: f"{plural(f.length, 'byte')} lost at offset {f.offset}",
    FaultKind.REPEATED: lambda f: (
        f"{plural(f.length, 'byte')} of offset {f.origin} came again at offset {f.offset}"
    ),
    FaultKind.REORDERED: lambda f: (
        f"{plural(f.early, 'byte')} of offset {f.origin} came before the"
        f" {plural(f.length, 'byte')} of offset {f.offset}"
        if f.early
        else f"{plural(f.length, 'byte')} from offset {f.offset} on came in another order"
    ),
    FaultKind.CHANGED: lambda f: f"{plural(f.length, 'byte')} changed at offset {f.offset}",
    FaultKind.INSERTED: lambda f: (
        f"{plural(f.length, 'byte')} not sent by the client came in at offset {f.offset}"
    ),
    FaultKind.CUT: lambda f: (
        f"the stream stopped at offset {f.offset}, {plural(f.length, 'byte')} missing"
    ),
    FaultKind.UNMARKED: lambda f: f"the reply at offset {f.offset} came without its prefix",
    FaultKind.GARBLED: lambda f: f"the stream is wrong from offset {f.offset} on",
}


def _likely_cause(fault: Fault, reason: str, prefix: bytes, totals: tuple[int, ...]) -> str:
    seen = fault.seen
    if seen.startswith(b"HTTP/"):
        return "a middlebox speaks HTTP"
    if fault.kind is FaultKind.INSERTED and _are_similar(seen[: fault.length], prefix):
        return "the prefix itself was damaged, or it changes: then give it with --prefix"
    if reason.startswith("TLS"):
        return tls_cause(reason)
    if fault.kind is FaultKind.CUT and reason == "silence":
        return "a middlebox stopped passing bytes on, or waits for more"
    if fault.kind is FaultKind.CUT:
        limit = _byte_limit(*totals, fault.offset)
        return limit or "a middlebox, or the server, ended the connection"
    if fault.kind is FaultKind.GARBLED and len(seen) < SAMPLE_SIZE:
        return "too few bytes came to tell what happened to them"
    if fault.count >= _MANY and fault.length <= _SHORT and fault.kind in _OF_SOME_BYTES:
        return (
            "a middlebox, or the server, treats certain bytes as text or as commands, or damages"
            " streams again and again"
        )
    return CAUSES.get(fault.kind, "")


def tls_cause(words: str) -> str:
    """Return why TLS ended a connection after its handshake.

    :param words: the error of the TLS library.
    """
    return alert_advice(words) or "what TLS protects was changed, lost or cut on the path"


def _rewritten(due: bytes, seen: bytes) -> str:
    """Return what was done to every byte; "": nothing that is known."""
    if seen.startswith(b"\xef\xbf\xbd"):
        return "the bytes are decoded as UTF-8 on the path or by the server (--encoding utf-8)"
    pairs = list(zip(due, seen, strict=False))
    if sum(one != other for one, other in pairs) < _SEVERAL:
        return ""  # one bit may be wrong
    if all(one & 0x7F == other for one, other in pairs):
        return "the eighth bit of each byte is cleared: a middlebox carries 7-bit text only"
    sent = due[: len(pairs)]
    if seen in (sent.lower(), sent.upper()):
        return "letters are changed to upper or lower case"
    return ""


def _byte_limit(*totals: int) -> str:
    """Return that a middlebox has a limit of bytes, if one of the totals looks like one."""
    for total in totals:
        if total >= 1024 and total & (total - 1) == 0:
            return f"a middlebox ends connections that have carried {format_bytes(total)}"
    return ""


def _are_similar(data: bytes, prefix: bytes) -> bool:
    if not prefix or abs(len(data) - len(prefix)) > 2:
        return False
    return sum(a == b for a, b in zip(data, prefix, strict=False)) * 2 >= len(prefix)


#: What causes a fault of each kind, where nothing more is known.
CAUSES = {
    FaultKind.LOST: "a middlebox, or the server, drops bytes",
    FaultKind.REPEATED: "a middlebox, or the server, sends bytes again that it had sent",
    FaultKind.REORDERED: "a middlebox, or the server, passes parts of a stream on in another order",
    FaultKind.CHANGED: "a middlebox, or the server, rewrites bytes, or memory is faulty",
    FaultKind.INSERTED: "a middlebox, or the server, adds bytes of its own",
    FaultKind.UNMARKED: "a middlebox lost the prefix itself, or the header",
    FaultKind.GARBLED: "more than one thing is done to the bytes, or other bytes come instead",
}
