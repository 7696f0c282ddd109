"""Try the faults in their long form: ``python -m tests.programs.faults --help``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.programs.faults.registry import Absent, Fault, load

_DOCUMENT = Path(__file__).resolve().parents[3] / "docs/reliability.md"
_HEAD = """\
# Reliability

This file is written by

    {command}

in its long form; the test suite tries each of these in a short one. Do not edit it.

| fault | what must hold | what was tried | lost or damaged | measured | alone |
| --- | --- | --- | ---: | --- | --- |
"""


def _row(fault: Fault, outcome: str, lost: str, figures: str) -> str:
    again = f"`python -m tests.programs.faults --only {fault.name}`"
    return f"| {fault.title} | {fault.promise} | {outcome} | {lost} | {figures} | {again} |\n"


def attempt(fault: Fault, long: bool) -> tuple[str, bool]:
    """Try one; give its row, and whether its promise held."""
    began = time.monotonic()
    try:
        finding = fault.attempt(long)
    except Absent as absent:
        return _row(fault, f"not tried: {absent}", "", ""), True
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        words = " ".join(str(error).split())[:200] or "an assertion failed"
        return _row(fault, f"FAILED: {words}", "", ""), False
    figures = {**finding.figures, "took": f"{time.monotonic() - began:.0f} s"}
    shown = ", ".join(f"{name} {value}" for name, value in figures.items())
    return _row(fault, finding.tried, f"{finding.lost:,}", shown), finding.lost == 0


def main() -> int:
    """The exit status: 0 if every promise held."""
    faults = load()
    parser = argparse.ArgumentParser("python -m tests.programs.faults", description=__doc__)
    parser.add_argument("--only", metavar="NAME,...", help=", ".join(faults))
    parser.add_argument("--short", action="store_true", help="as the test suite does")
    parser.add_argument("--write-docs", action="store_true", help="write docs/reliability.md")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(faults)
    if unknown := [name for name in names if name not in faults]:
        parser.error(f"not known: {', '.join(unknown)}")
    rows, held = [], True
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        row, good = attempt(faults[name], not options.short)
        held = held and good
        rows.append(row)
        print(row, end="", flush=True)
    if options.write_docs:
        _write(dict(zip(names, rows, strict=True)), faults)
    return 0 if held else 1


def _write(rows: dict[str, str], faults: dict[str, Fault]) -> None:
    """Write the document; rows of faults that were not tried now stay as they are."""
    before = _DOCUMENT.read_text("utf-8").splitlines(True) if _DOCUMENT.exists() else []
    kept = {name: line for line in before for name in faults if f"--only {name}`" in line}
    table = {**kept, **rows}
    head = _HEAD.format(command="python -m tests.programs.faults --write-docs")
    _DOCUMENT.write_text(head + "".join(table[name] for name in faults if name in table), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
