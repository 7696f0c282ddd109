"""What a probe finds, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from echosvc._text import format_bytes, plural, quote
from echosvc.probe.engine.diagnosis import Fault, Kind
from echosvc.tls.alerts import alert_advice


class Failed(Exception):
    """The path or the peer failed.

    :ivar finding: what is wrong, on one line.
    :ivar cause: the likeliest reason, or "".
    :ivar fault: what happened to a stream, where it is that.
    :ivar facts: more, for programs.
    """

    def __init__(
        self,
        finding: str,
        cause: str = "",
        fault: Fault | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(finding)
        self.finding, self.cause, self.fault, self.facts = finding, cause, fault, facts or {}


class Skipped(Exception):
    """The probe does not apply here; says why."""


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


def told(fault: Fault, how: str, prefix: bytes, totals: tuple[int, ...] = ()) -> tuple[str, str]:
    """Give a fault in words, and its likeliest cause.

    :param how: the connection's end: FIN, RST, silence, or "" where it lives.
    :param totals: bytes that the connection had carried, one direction's and the other's.
    """
    what = _WORDS[fault.kind](fault)
    if rewritten := _rewritten(fault.expected, fault.seen):
        what = f"bytes are rewritten from offset {fault.offset} on"
    if fault.kind is Kind.CUT:
        what += {
            "FIN": ": then came FIN",
            "RST": ": then came RST",
            "silence": ": then nothing more came",
            "": "",
        }.get(how, f": then {how}")
    else:
        after = f" after {quote(fault.before)}" if fault.before else ""
        what += f":{after} expected {quote(fault.expected)}, seen {quote(fault.seen)}"
    return what, rewritten or _cause(fault, how, prefix, totals)


_WORDS = {
    Kind.LOST: lambda f: f"{plural(f.length, 'byte')} lost at offset {f.offset}",
    Kind.REPEATED: lambda f: (
        f"{plural(f.length, 'byte')} of offset {f.origin} came again at offset {f.offset}"
    ),
    Kind.REORDERED: lambda f: (
        f"{plural(f.early, 'byte')} of offset {f.origin} came before the {plural(f.length, 'byte')}"
        f" of offset {f.offset}"
    ),
    Kind.CHANGED: lambda f: f"{plural(f.length, 'byte')} changed at offset {f.offset}",
    Kind.INSERTED: lambda f: (
        f"{plural(f.length, 'byte')} that nobody sent came in at offset {f.offset}"
    ),
    Kind.CUT: lambda f: (
        f"the stream stopped at offset {f.offset}, {plural(f.length, 'byte')} missing"
    ),
    Kind.UNMARKED: lambda f: f"the reply at offset {f.offset} came without its prefix",
    Kind.GARBLED: lambda f: f"the stream is wrong from offset {f.offset} on",
}


def _cause(fault: Fault, how: str, prefix: bytes, totals: tuple[int, ...]) -> str:
    seen = fault.seen
    if fault.expected[:1] == b"\n" and seen[:2] == b"\r\n":
        return "line ends are translated on the way"
    if seen.startswith(b"HTTP/"):
        return "something between speaks HTTP"
    if fault.kind is Kind.INSERTED and _alike(seen[: fault.length], prefix):
        return "the prefix itself was damaged, or it changes: then give it with --prefix"
    if how.startswith("TLS"):
        return tls_cause(how)
    if fault.kind is Kind.CUT and how == "silence":
        return "something between stopped passing bytes on, or waits for more"
    if fault.kind is Kind.CUT:
        return (
            _limit(*totals, fault.offset)
            or "something between, or the server, ended the connection"
        )
    return CAUSES.get(fault.kind, "")


def tls_cause(words: str) -> str:
    """Say why TLS ended a connection after its handshake.

    :param words: TLS's.
    """
    return alert_advice(words) or "what TLS protects was changed, lost or cut on the way"


def _rewritten(due: bytes, seen: bytes) -> str:
    """What was done to every byte, where it is that."""
    if seen.startswith(b"\xef\xbf\xbd"):
        return "the bytes are decoded as UTF-8 on the way or by the server (--encoding utf-8)"
    pairs = list(zip(due, seen, strict=False))
    if len(pairs) < 4 or due[: len(pairs)] == seen[: len(pairs)]:
        return ""
    if all(one & 0x7F == other for one, other in pairs):
        return "the eighth bit of each byte is taken off: something between is made for 7-bit text"
    if due.lower()[: len(pairs)] == seen.lower()[: len(pairs)]:
        return "letters are turned into small or capital ones"
    return ""


def _limit(*totals: int) -> str:
    """A limit that something between seems to have."""
    for total in totals:
        if total >= 1024 and total & (total - 1) == 0:
            return f"something between ends connections that have carried {format_bytes(total)}"
    return ""


def _alike(data: bytes, prefix: bytes) -> bool:
    if not prefix or abs(len(data) - len(prefix)) > 2:
        return False
    return sum(a == b for a, b in zip(data, prefix, strict=False)) * 2 >= len(prefix)


#: What does such a thing, where nothing better is known.
CAUSES = {
    Kind.LOST: "something between drops bytes where it is full or fails over",
    Kind.REPEATED: "something between sends again what had been sent",
    Kind.REORDERED: "something between writes one connection from two places",
    Kind.CHANGED: "something between rewrites what it carries, or memory is bad",
    Kind.INSERTED: "something between, or the server, adds bytes of its own",
    Kind.UNMARKED: "something between lost the prefix, or the header, itself",
    Kind.GARBLED: "more than one thing is done to the bytes",
}
