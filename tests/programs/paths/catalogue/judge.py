"""Compares what a check said with what is true of the path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.programs.paths.catalogue.entry import Entry, Line

#: The inside of the program, which no user must see.
_INSIDE = re.compile(r"Traceback|Errno|\[Failure|<class|<twisted|object at 0x|Exception\b")

#: What is untrue of every path: a count, or a time, that began too late.
_UNTRUE = re.compile(r"\bafter 0 connections|\bin 0 µs")

Probe = dict[str, Any]


def faults(entry: Entry, probes: Sequence[Probe], seconds: float) -> list[str]:
    """What is wrong with the results of one run; nothing, if all is as it should be."""
    untrue = _unexpected(entry, probes)
    found = [f"not true: {words(probe)}" for probe in untrue]
    found += [f"shows its inside: {words(probe)}" for probe in probes if _inside(probe)]
    found += [f"untrue: {words(probe)}" for probe in probes if _UNTRUE.search(words(probe))]
    for line in entry.expected:
        alike = sum(each.names == line.names for each in entry.expected)
        found.extend(_missed(line, probes, alike))
    if entry.somewhere and not any(_says(probe, entry.somewhere) for probe in probes):
        found.append(f"no line says {entry.somewhere!r}")
    if entry.nowhere:
        wrong = [probe for probe in probes if _says(probe, entry.nowhere) and probe not in untrue]
        found.extend(f"wrong words: {words(probe)}" for probe in wrong)
    if seconds > entry.limit:
        found.append(f"it took more than {entry.limit:g} s")
    return found


def words(probe: Probe) -> str:
    """One line of the check, as a user reads it."""
    cause = f" / likely: {probe['cause']}" if probe.get("cause") else ""
    return f"{probe['result'].upper()} {probe['name']}: {probe['finding']}{cause}"


def _says(probe: Probe, expression: str) -> bool:
    said = f"{probe['finding']}\n{probe.get('cause', '')}"
    return re.search(expression, said, re.IGNORECASE) is not None


def _unexpected(entry: Entry, probes: Sequence[Probe]) -> list[Probe]:
    """What is accused though nothing is wrong with it."""
    due = [line for line in entry.expected if "fail" in line.result]
    failed = [probe for probe in probes if probe["result"] == "fail"]
    return [probe for probe in failed if not any(_names(line, probe) for line in due)]


def _inside(probe: Probe) -> bool:
    return _INSIDE.search(words(probe)) is not None


def _names(line: Line, probe: Probe) -> bool:
    return probe["name"] in line.names.split("|")


def _missed(line: Line, probes: Sequence[Probe], alike: int) -> Iterator[str]:
    """Return whether a result is missing, is there twice, or says something else.

    :param alike: how many results of these names are due; they are told apart by what they say.
    """
    named = [probe for probe in probes if _names(line, probe)]
    right = [probe for probe in named if probe["result"] in line.result.split("|")]
    if alike > 1:
        right = [probe for probe in right if all(_says(probe, each) for each in line.says)]
    if "fail" not in line.result and any(probe["result"] == "fail" for probe in named):
        return  # said already
    if len(right) != 1:
        came = "; ".join(map(words, right or named)) or "nothing"
        yield f"due: {line.result.upper()} {line.names}, came: {came}"
        return
    (probe,) = right
    for expression in line.says:
        if not _says(probe, expression):
            yield f"does not say {expression!r}: {words(probe)}"
    if line.lacks and _says(probe, line.lacks):
        yield f"says {line.lacks!r}: {words(probe)}"
    yield from _wrong_figures(line, probe)


def _wrong_figures(line: Line, probe: Probe) -> Iterator[str]:
    for name, (least, most) in line.facts.items():
        value = probe.get(name)
        if not isinstance(value, (int, float)) or not least <= value <= most:
            yield f"{name} is {value}, not {least:g} to {most:g}: {words(probe)}"


def verdict(probes: Sequence[Probe]) -> str:
    """Return the names that failed, sorted; they are to be the same in each run.

    A cause comes before the probe that met it first. Where several meet it, that may be any.
    """
    failed = sorted(probe["name"] for probe in probes if probe["result"] == "fail")
    return ", ".join(failed) or "none"
