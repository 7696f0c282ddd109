"""The verdict on a soak as JUnit XML, which CI systems read. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from echosvc.probe.soak.result import SUBJECTS, SoakResult
from echosvc.reports.junit import Case, junit_xml, run_suite
from echosvc.reports.soak_run import SoakRun, option_texts
from echosvc.reports.soak_text import event_line, events_in_order, summary_lines, verdict_line

#: What is promised for each subject.
_PROMISES = {
    "replies": "every reply is the one that was due",
    "answers": "every connection is answered at the end",
    "gaps": "no gap is too long",
    "breaks": "no more connections end than may",
}


def soak_junit(run: SoakRun) -> str:
    """Return a document with one test case for each promise, to be encoded as UTF-8.

    A soak that was interrupted has one test case more, which is an error.
    """
    result = run.result
    suite = run_suite("soak", run, _figures(result), _cases(result), summary_lines(result))
    return junit_xml(suite)


def _cases(result: SoakResult) -> Iterator[Case]:
    events = "\n".join(event_line(event) for event in events_in_order(result)[:100])
    for subject in SUBJECTS:
        reasons = [each.words for each in result.why if each.subject == subject]
        name = _PROMISES[subject]
        if reasons:
            why = "; ".join(reasons)
            yield Case(name, result.seconds, "failure", why, subject, f"{why}\n{events}")
        else:
            yield Case(name, result.seconds)
    if not result.complete:
        message = "the soak was ended before its time"
        yield Case(
            "the soak is complete", 0.0, "error", message, "interrupted", verdict_line(result)
        )


def _figures(result: SoakResult) -> Iterator[tuple[str, str]]:
    """Yield what was asked, and each figure."""
    yield from option_texts(result)
    counted = ((name.replace("_", "-"), count) for name, count in result.messages.items())
    yield from ((f"messages-{name}", str(count)) for name, count in counted)
    yield from ((f"latency-{name}-us", str(time)) for name, time in result.latency_us.items())
    yield "gaps", str(result.gap_count)
    yield "breaks", str(result.breaks)
    yield "longest-gap-seconds", f"{result.longest:.3f}"
    yield "outages", str(result.outage_count)
