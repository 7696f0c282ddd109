"""A soak as text: one line an event, and a summary at the end. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from echosvc._text import format_duration, plural, printable, quote
from echosvc.probe.soak.events import Event, GapBegan, Minute, Opened, Stall, Started
from echosvc.probe.soak.result import Gap, Mark, Outage, SoakResult, utc

#: So many events, and so many gaps, the summary shows at most.
MAX_SHOWN = 40
_CAUSES = {"fin": "FIN", "reset": "RST", "timeout": "time-out"}
_ENDS = {"timeout": "given up"}


def event_line(event: Event) -> str:
    """Return the line of an event, without its end; "": it has none."""
    words = _WORDS.get(type(event))
    if words is None:
        return ""
    when = event.began if isinstance(event, (Gap, Outage)) else getattr(event, "when", 0.0)
    return f"{utc(when)}  {printable(words(event))}"


def _started(event: Started) -> str:
    asked = event.options
    return (
        f"start   {plural(asked['connections'], 'connection')} to {event.endpoint}, a message each"
        f" {format_duration(asked['interval'])}; a gap is a silence of more than"
        f" {format_duration(asked['silence'])}, or an end"
    )


def _minute(event: Minute) -> str:
    up = f"{event.up} of {event.connections} up"
    gaps = plural(event.gaps, "gap") if event.gaps else "no gap"
    times = (event.p50_us, event.p99_us, event.max_us)
    p50, p99, most = (format_duration(each / 1e6) for each in times)
    latency = f"; p50 {p50}, p99 {p99}, max {most}" if event.answered else ""
    return f"minute  {up}, {event.answered} answered, {gaps}{latency}"


def _gap_began(event: GapBegan) -> str:
    return f"gap     connection {event.connection} is not answered: {cause_name(event.cause)}"


def _stall(event: Stall) -> str:
    seconds = format_duration(event.seconds)
    return f"stall   this process stood still for {seconds}; no silence before this counts"


def _mark(mark: Mark) -> str:
    return f"mark    {describe_mark(mark)}"


def _outage(outage: Outage) -> str:
    return f"outage  {describe_outage(outage)}"


_WORDS: dict[type, Callable[[Any], str]] = {
    Started: _started, Minute: _minute, Stall: _stall, Mark: _mark, Outage: _outage,
}  # fmt: skip


def live_line(event: Event) -> str:
    """Return the line that is shown as an event happens; "": it has none.

    Of the gaps of an outage only the first one has a line; the outage has one at its end.
    """
    if isinstance(event, GapBegan) and event.first:
        return f"{utc(event.when)}  {printable(_gap_began(event))}"
    return "" if isinstance(event, (GapBegan, Opened)) else event_line(event)


# -- in words ----------------------------------------------------------------------------------


def cause_name(cause: str) -> str:
    """Return the name of a cause in a text."""
    return _CAUSES.get(cause, cause)


def describe_mark(mark: Mark) -> str:
    """Return the number of a mark, and its name."""
    return f"{mark.number}: {mark.name}" if mark.name else str(mark.number)


def describe_outage(outage: Outage) -> str:
    """Return what happened in an outage."""
    parts = [f"{_who(outage)}: {_counted(outage.causes)}", format_duration(outage.seconds)]
    if outage.gaps > outage.connections:
        parts.append(f"{outage.gaps} gaps")
    if not outage.ever_answered:
        parts.append("nothing was ever answered")
    elif outage.all_out and outage.total > 1:
        parts.append(f"nothing was answered for {format_duration(outage.all_out)}")
    parts += _servers(list(outage.before), list(outage.after))
    return "; ".join(parts)


def _who(outage: Outage) -> str:
    if outage.connection:
        return f"connection {outage.connection} alone"
    many = f"{outage.connections} of {outage.total} connections"
    if outage.connections == outage.total:
        many = f"all {many}"
    if outage.together >= outage.connections:
        return f"{many} at the same moment"
    return f"{many}, at most {outage.most} at once"


def _counted(counts: Mapping[str, int]) -> str:
    names = [(cause_name(cause), count) for cause, count in counts.items()]
    if len(names) == 1:
        return names[0][0]
    return ", ".join(f"{name} {count}" for name, count in names)


def _servers(before: list[str], after: list[str]) -> Iterator[str]:
    """Yield who answered before and after, if these are not the same."""
    shown = [", ".join(map(quote, names[:3])) for names in (before, after)]
    if before != after:
        yield f"{shown[0] or 'nobody'} before, {shown[1] or 'nobody'} after"


def describe_gap(gap: Gap) -> str:
    """Return what happened in a gap."""
    where = f" ({gap.local} to {gap.peer})" if gap.peer else ""
    parts = [f"connection {gap.connection}{where}: {describe_cause(gap)}"]
    length = format_duration(gap.seconds)
    parts.append(length if gap.answered else f"{length}, and not answered at the end")
    if gap.failures:
        parts.append(f"attempts failed: {_failures(gap.failures)}")
    if gap.last >= 0:
        parts.append(f"last answered: message {gap.last}")
    parts += _owed(gap)
    parts += _servers([gap.before] * bool(gap.before), [gap.after] * bool(gap.after))
    if gap.peer_after:
        parts.append(f"then {gap.local_after} to {gap.peer_after}")
    return "; ".join(parts)


def describe_cause(gap: Gap) -> str:
    """Return what a gap began with, and how the connection ended if that is something else."""
    words = cause_name(gap.cause)
    if gap.end and gap.end != gap.cause:
        words += f", then {_ENDS.get(gap.end, cause_name(gap.end))}"
    return f"{words} ({gap.detail})" if gap.detail else words


def _failures(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{cause_name(cause)} {count}" for cause, count in counts.items())


def _owed(gap: Gap) -> Iterator[str]:
    """Yield what was not answered, and how much of it the next hop has."""
    if gap.unanswered:
        words = f"{plural(gap.unanswered, 'message')} not answered"
        if gap.acknowledged is not None:
            words += f" ({gap.acknowledged} of {gap.unanswered_bytes} bytes acknowledged)"
        yield words


# -- the summary ---------------------------------------------------------------------------------


def summary_lines(result: SoakResult) -> str:
    """Return the last lines: verdict, figures, the timeline, and the longest gaps."""
    lines = [verdict_line(result), *figure_lines(result)]
    events = [event_line(each) for each in events_in_order(result)]
    lines += [f"  {line}" for line in _cut(events, "outages and marks, see --jsonl")]
    longest = sorted(result.gaps, key=lambda gap: -gap.seconds)
    gaps = [f"{utc(gap.began)}  {describe_gap(gap)}" for gap in longest]
    if gaps:
        lines.append("gaps, the longest first:")
        lines += [f"  {line}" for line in _cut(gaps, "gaps, see --jsonl")]
    return "".join(f"{printable(line)}\n" for line in lines)


def _cut(lines: list[str], what: str) -> list[str]:
    left = len(lines) - MAX_SHOWN
    return [*lines[:MAX_SHOWN], f"... and {left} more {what}"] if left > 0 else lines


def events_in_order(result: SoakResult) -> list[Event]:
    """Return outages and marks by their time."""
    found: list[tuple[float, Event]] = [(each.began, each) for each in result.outages]
    found += [(each.when, each) for each in result.marks]
    return [event for _, event in sorted(found, key=lambda each: each[0])]


def verdict_line(result: SoakResult) -> str:
    """Return whether all is well, and why not."""
    why = "; ".join(result.reasons) or "within the limits"
    if not result.gap_count and result.ok:
        why = "no gap"
    return printable(f"{result.endpoint}: {state(result)} after {long_time(result.seconds)}: {why}")


def state(result: SoakResult) -> str:
    """Return whether all is well, and whether it was ended early."""
    early = "" if result.complete else ", interrupted"
    return f"{'ok' if result.ok else 'NOT OK'}{early}"


def long_time(seconds: float) -> str:
    """Return a time that may be days."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else format_duration(seconds)


def figure_lines(result: SoakResult) -> Iterator[str]:
    """Yield the figures, one line a subject."""
    yield from _message_lines(result)
    if result.gap_count:
        yield (
            f"gaps: {result.gap_count} ({_failures(result.causes)}), the longest"
            f" {format_duration(result.longest)}; {plural(result.breaks, 'break')}"
        )
    if result.failures:
        yield f"attempts that failed: {_failures(result.failures)}"
    if any(result.servers):
        names = (f"{quote(name)} {count}" for name, count in list(result.servers.items())[:10])
        yield f"connections by server: {', '.join(names)}"
    if result.stalls:
        longest = format_duration(result.longest_stall)
        yield (
            f"this process stood still {plural(result.stalls, 'time')}, {longest} at most: what was"
            " not answered meanwhile does not count"
        )


def _message_lines(result: SoakResult) -> Iterator[str]:
    counted = [(name, count) for name, count in result.messages.items() if count]
    told = (f"{count} {_name(name)}" for name, count in counted if name != "skipped")
    yield f"messages: {', '.join(told) or 'none'}"
    if result.messages.get("answered"):
        times = result.latency_us.items()
        shown = (f"{name} {format_duration(each / 1e6)}" for name, each in times)
        yield f"latency: {', '.join(shown)}"


def _name(counter: str) -> str:
    return counter.replace("_", " ")
