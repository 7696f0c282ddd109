"""Two results of a load side by side, and which conditions fail. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from echosvc._text import printable
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.reports.conditions import Condition, change_in_percent, format_change
from echosvc.reports.load_figures import Figure, aligned, load_figures
from echosvc.reports.load_text import remarks, state

#: The version of the format.
_SCHEMA = 1


@dataclass(frozen=True)
class Comparison:
    """A comparison of a run with an earlier one.

    :ivar names: of both, such as those of their files.
    :ivar results: the earlier one and the later one.
    :ivar conditions: that must not hold.
    """

    names: tuple[str, str]
    results: tuple[LoadResult, LoadResult]
    conditions: Sequence[Condition] = ()

    @property
    def figures(self) -> dict[str, tuple[Figure, Figure]]:
        """Each figure of both."""
        before, after = map(load_figures, self.results)
        return {name: (before[name], after[name]) for name in before}

    @property
    def invalid(self) -> tuple[str, ...]:
        """The names of those whose figures mean nothing."""
        both = zip(self.names, self.results, strict=True)
        return tuple(name for name, result in both if result.verdict.word == "INVALID")

    @property
    def failed(self) -> tuple[Condition, ...]:
        """The conditions that hold."""
        figures = self.figures
        return tuple(each for each in self.conditions if each.holds(*figures[each.name]))

    @property
    def ok(self) -> bool:
        """Whether both runs have figures that mean something, and no condition holds."""
        return not self.invalid and not self.failed

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """In what the runs differ that should be the same: version, endpoint and options."""
        before, after = map(_facts, self.results)
        names = sorted(before.keys() | after.keys())
        pairs = {name: (before.get(name), after.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _facts(result: LoadResult) -> dict[str, Any]:
    run = result.run
    return {"version": run.version, "endpoint": run.endpoint, **run.options}


def comparison_text(comparison: Comparison) -> str:
    """Return the lines of a comparison: how it came out, then all figures side by side."""
    blocks = (_outcome(comparison), _table(comparison))
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)


def _outcome(comparison: Comparison) -> Iterator[str]:
    figures = comparison.figures
    for name in comparison.invalid:
        yield f"INVALID: the figures of {printable(name)} mean nothing"
    for condition in comparison.conditions:
        yield printable(condition.describe(*figures[condition.name]))
    for label, name, result in zip("AB", comparison.names, comparison.results, strict=True):
        yield printable(f"{label}: {name}: {result.run.endpoint}: {state(result)}")
        yield from (f"   {printable(reason)}" for reason in result.verdict.reasons)
        yield from (f"   note: {printable(note)}" for note in remarks(result))
    for name, (before, after) in comparison.differences.items():
        yield printable(f"they differ in {name}: {before!r} and {after!r}")


def _table(comparison: Comparison) -> Iterator[str]:
    rows = [("", "A", "B", "change")]
    for name, (before, after) in comparison.figures.items():
        rows.append((name, str(before), str(after), format_change(before, after)))
    return aligned(rows)


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return the same for JSON; times in µs. A change is ``null`` where there was nothing."""
    figures = comparison.figures
    return {
        "schema": _SCHEMA,
        "ok": comparison.ok,
        "invalid": list(comparison.invalid),
        "runs": [
            {"name": name, "endpoint": result.run.endpoint, "verdict": result.verdict.word,
             "why": result.verdict.why}
            for name, result in zip(comparison.names, comparison.results, strict=True)
        ],
        "differences": {name: list(pair) for name, pair in comparison.differences.items()},
        "conditions": [
            {"condition": each.text, "failed": each.holds(*figures[each.name])}
            for each in comparison.conditions
        ],
        "figures": {name: _pair(*pair) for name, pair in figures.items()},
    }  # fmt: skip


def _pair(before: Figure, after: Figure) -> dict[str, Any]:
    change = None if not before.value else change_in_percent(before.value, after.value)
    return {
        "unit": before.unit,
        "before": before.value,
        "after": after.value,
        "change_percent": change,
    }
