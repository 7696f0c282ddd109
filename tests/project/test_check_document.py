"""docs/check.md names every probe and every cause that there is, and no other."""

from __future__ import annotations

import re

from echosvc.probe.validation import NAMES
from tests.programs.paths.document import CAUSES
from tests.programs.paths.remedies import REMEDIES
from tests.support.process import ROOT

PAGE = (ROOT / "docs/check.md").read_text("utf-8")
REMEDY = "run: python -m tests.programs.paths --write-words"


def rows_below(heading: str) -> list[str]:
    """The first cells of the table below a row of heads."""
    table = PAGE.partition(f"\n| {heading} |\n| --- | --- |\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)


def test_every_probe_is_named_and_no_other() -> None:
    assert rows_below("probe | what it asks") == [*NAMES], REMEDY


def test_every_cause_is_named_and_no_other() -> None:
    assert rows_below("finding | what it means") == [name for name, _ in CAUSES], REMEDY


def test_every_remedy_has_its_heading_and_no_other() -> None:
    part = PAGE.partition("\n## What to change")[2].partition("\n## ")[0]
    headings = re.findall(r"^### (.*)$", part, re.MULTILINE)
    named = [", ".join(f"`{name}`" for name in remedy.findings) for remedy in REMEDIES]
    assert headings == named, REMEDY
