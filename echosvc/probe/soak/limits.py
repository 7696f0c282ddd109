"""Whether a soak has failed, and why. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from echosvc._text import format_duration, plural
from echosvc.probe.soak.result import Failure
from echosvc.probe.soak.settings import SoakSettings
from echosvc.probe.soak.timeline import Timeline

#: Counters of replies that were wrong, and what one of them is.
_WRONG = (
    ("damaged", "damaged reply", "damaged replies"),
    ("duplicated", "duplicated reply", "duplicated replies"),
    ("reordered", "reply out of order", "replies out of order"),
    ("skipped", "message that was left out", "messages that were left out"),
    ("unexpected_bytes", "byte that was not due", "bytes that were not due"),
)


def failures(
    settings: SoakSettings, timeline: Timeline, messages: Mapping[str, int]
) -> Iterator[Failure]:
    """Yield why a soak that is over has failed.

    :param messages: what became of the messages.
    """
    for name, one, many in _WRONG:
        if count := messages.get(name, 0):
            yield Failure("replies", f"{count} {one if count == 1 else many}")
    if not messages.get("answered"):
        yield Failure("answers", "nothing was answered")
    elif timeline.unanswered:
        left = plural(timeline.unanswered, "connection")
        yield Failure("answers", f"{left} not answered at the end")
    if settings.has_limits:
        yield from _above_limits(settings, timeline)
    elif timeline.gaps.total:
        ends = f", in {timeline.breaks} of which the connection ended" if timeline.breaks else ""
        yield Failure("gaps", f"{plural(timeline.gaps.total, 'gap')}{ends}")


def _above_limits(settings: SoakSettings, timeline: Timeline) -> Iterator[Failure]:
    most, longest = settings.max_gap, timeline.longest
    if most is not None and longest > most:
        yield Failure("gaps", f"a gap of {format_duration(longest)}, more than {most:g} s")
    allowed, breaks = settings.max_breaks, timeline.breaks
    if allowed is not None and breaks > allowed:
        yield Failure("breaks", f"{plural(breaks, 'break')}, more than {allowed}")
