"""Counts who answered, and decides when that is enough. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from echosvc._text import plural, printable, quote
from echosvc.probe.share.changes import Change, find_changes
from echosvc.probe.share.confidence import interval
from echosvc.probe.share.decision import Decision, Judge
from echosvc.probe.share.expectation import label
from echosvc.probe.share.result import (
    FailureCount,
    ServerShare,
    ShareChange,
    ShareResult,
    ShareVerdict,
    ShareWindow,
)
from echosvc.probe.share.settings import ERROR, ShareSettings
from echosvc.probe.share.timeline import Timeline

#: Where so many connections failed and none was answered, no more are opened.
HOPELESS = 20
#: Names at most: more are no servers, but something that changes.
MOST_NAMES = 256
#: Names in the line that shows the progress.
_SHOWN = 4
#: Windows that shares over time are shown in.
WINDOWS = 10


@dataclass(frozen=True)
class Observation:
    """How one connection ended.

    :ivar began: when, seconds since the first one.
    :ivar seconds: how long it took until it was answered, or had failed.
    :ivar name: who answered; ``None``: it failed.
    :ivar cause: of a failure.
    :ivar finding: the failure in words.
    """

    began: float
    seconds: float
    name: str | None
    cause: str = ""
    finding: str = ""


class ShareTally:
    """Counts observations, which must come in the order in which their connections began.

    In the order in which they end, a server that answers quickly would seem to have a larger share.

    :param settings: they are checked already.
    :ivar total: connections so far.
    :ivar counts: of each name, how many connections it answered.
    :ivar stopped: why no more connections are needed; "": they are.
    """

    def __init__(self, settings: ShareSettings) -> None:
        self._settings = settings
        self._timeline = Timeline(settings.watch) if settings.watch else None
        looks = 2 * self._timeline.size if self._timeline else 1
        self._error = ERROR / looks
        self._judge = Judge(settings.expect, self._error) if settings.expect else None
        self._failures: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self.total, self.counts = 0, Counter[str]()
        self.decision: Decision | None = None
        self.stopped = ""

    @property
    def failed(self) -> int:
        """Connections that failed."""
        return sum(self._failures.values())

    def add(self, observation: Observation) -> None:
        """Count a connection, unless it is :attr:`stopped`."""
        if self.stopped:
            return
        self.total += 1
        if observation.name is None:
            self._failures[observation.cause] += 1
            self._examples.setdefault(observation.cause, observation.finding)
        else:
            self.counts[observation.name] += 1
        if self._timeline is not None:
            self._timeline.add(observation.began, observation.name, observation.seconds)
        elif self._judge is not None:
            self.decision = self._judge.decide(self.counts, self.total)
        self._stop_if_over()

    def _stop_if_over(self) -> None:
        """Set :attr:`stopped` where more connections would change nothing."""
        if self._is_hopeless and not self._settings.watch:
            self.stopped = "hopeless"
        elif len(self.counts) > MOST_NAMES:
            self.stopped = (
                f"more than {MOST_NAMES} names, such as {quote(next(reversed(self.counts)))}: what"
                " names the servers has something in it that changes"
            )
        elif self.decision is not None and self._is_final(self.decision):
            self.stopped = "sure"

    @property
    def _is_hopeless(self) -> bool:
        return self.total >= HOPELESS and not self.counts

    def _is_final(self, decision: Decision) -> bool:
        """Return whether a decision is sure. Where nobody answers, nothing passes."""
        return decision.verdict == "fail" or (decision.verdict == "pass" and bool(self.counts))

    def progress(self) -> str:
        """Return the shares so far in one line."""
        most = self.counts.most_common(_SHOWN)
        shares = [f"{printable(name)} {per_cent(count, self.total)}" for name, count in most]
        return ", ".join([plural(self.total, "connection"), *shares, f"{self.failed} failed"])

    def result(
        self,
        endpoint: str,
        started: datetime,
        seconds: float,
        unfinished: int = 0,
        trouble: str = "",
        interrupted: bool = False,
    ) -> ShareResult:
        """Return what was found so far.

        :param endpoint: the path, as it was given.
        :param started: when the first connection began, in UTC.
        :param seconds: how long it took until now.
        :param unfinished: connections that have not ended.
        :param trouble: why no more connections could be opened; "": they could.
        :param interrupted: it was ended before its time.
        """
        changes = self._changes(seconds)
        current = self._current(changes, seconds)
        decision = self._decide(current)
        verdict, why = self._verdict(decision, current, trouble, interrupted)
        return ShareResult(
            endpoint,
            self._settings.dialect,
            verdict,
            why,
            self.total,
            unfinished,
            seconds,
            _iso(started),
            ERROR,
            tuple(self._shares(decision, current)),
            tuple(FailureCount(*each, self._examples[each[0]]) for each in self._failures.items()),
            current.total,
            tuple(self._windows(seconds)),
            tuple(_dated(change, started) for change in changes),
            interrupted,
        )

    # -- shares over time -----------------------------------------------------

    def _changes(self, seconds: float) -> list[Change]:
        if self._timeline is None:
            return []
        return find_changes(self._timeline, seconds, ERROR / 2)

    def _windows(self, seconds: float) -> list[ShareWindow]:
        return [] if self._timeline is None else self._timeline.windows(WINDOWS, seconds)

    def _current(self, changes: list[Change], seconds: float) -> ShareWindow:
        """Return the connections since the last change; all, where there was none."""
        if self._timeline is None or not changes:
            return ShareWindow(0.0, seconds, dict(self.counts), self.failed)
        first = self._timeline.index(changes[-1].latest) + 1
        return self._timeline.window(first, self._timeline.index(seconds) + 1)

    # -- the verdict ----------------------------------------------------------

    def _decide(self, current: ShareWindow) -> Decision | None:
        return None if self._judge is None else self._judge.decide(current.counts, current.total)

    def _verdict(
        self, decision: Decision | None, current: ShareWindow, trouble: str, interrupted: bool
    ) -> tuple[ShareVerdict, str]:
        nobody = self.total > 0 and not self.counts
        if self._is_hopeless or (nobody and decision is None and not trouble):
            return "fail", f"none of {plural(self.total, 'connection')} was answered"
        if decision is None:
            return self._undecided(trouble, interrupted)
        after = f"after {plural(current.total, 'connection')}"
        if self._timeline is not None and current.total < self.total:
            after = f"{after} since the last change"
        if decision.verdict == "pass" and current.counts:
            return "pass", f"sure {after}: the shares are as expected"
        if decision.verdict == "fail":
            return "fail", f"sure {after}: {_describe_failure(decision, current)}"
        _, why = self._undecided(trouble, interrupted)
        return "undecided", f"not sure {after}" + (f": {why}" if why else "")

    def _undecided(self, trouble: str, interrupted: bool) -> tuple[ShareVerdict, str]:
        """Return the verdict where nothing is sure, or nothing is expected."""
        if trouble or self.stopped not in ("", "sure"):
            return "undecided", trouble or self.stopped
        return "none", "interrupted" if interrupted else ""

    def _shares(self, decision: Decision | None, current: ShareWindow) -> list[ServerShare]:
        """Return what is expected, in its order, then what else answered, the largest first."""
        expected = decision.shares if decision is not None else ()
        named = {each.expectation.name for each in expected}
        others = [each for each in current.counts.items() if each[0] not in named]
        error = self._error / (len(expected) or max(1, len(others)))
        shares = [
            _share(
                each.expectation.label,
                each.count,
                current.total,
                error,
                str(each.expectation),
                each.verdict,
            )
            for each in expected
        ]
        others.sort(key=lambda each: (-each[1], each[0]))
        return shares + [_share(label(name), n, current.total, error) for name, n in others]


def _share(
    name: str,
    count: int,
    total: int,
    error: float,
    expected: str = "",
    verdict: ShareVerdict = "none",
) -> ServerShare:
    low, high = interval(count, total, error)
    share = count / total if total else 0.0
    return ServerShare(name, count, share, low, high, expected, verdict)


def _describe_failure(decision: Decision, current: ShareWindow) -> str:
    """Return which shares are not as expected."""
    wrong = [
        f"{quote(each.expectation.label)} has {per_cent(each.count, current.total)}"
        f" and not {each.expectation}"
        for each in decision.shares
        if each.verdict == "fail"
    ]
    counts: Mapping[str, int] = current.counts
    wrong += [
        f"{quote(name)} has answered {counts[name]} of them, and the expected shares leave nothing"
        " for others"
        for name in decision.unexpected[:3]
    ]
    if current.failed:
        wrong.append(f"{current.failed} of them failed")
    return "; ".join(wrong)


def per_cent(count: int, total: int) -> str:
    """Return a share of connections in per cent."""
    return f"{100 * count / total:.1f} %" if total else "-"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dated(change: Change, started: datetime) -> ShareChange:
    at, earliest, latest = (
        _iso(started + timedelta(seconds=seconds))
        for seconds in (change.at, change.earliest, change.latest)
    )
    return ShareChange(at, earliest, latest, change.at, change.before, change.after)
