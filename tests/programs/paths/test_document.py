"""What docs/check.md says about the command is true: names of probes, causes and options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from echosvc.cli.main import parser
from echosvc.probe import causes
from echosvc.probe.check import NAMES, PROBES
from tests.programs.paths.catalogue.registry import load
from tests.programs.paths.document import CAUSES, PARTS, SYMPTOMS, head, questions
from tests.programs.paths.remedies import REMEDIES, written_remedies

#: Findings that are always there.
ALWAYS = {"connect", "half-close", "idle", "bytes", "order", "back-pressure", "identity", "proxy"}

_NAME = re.compile(r'(?:\bCause\(\s*|^NAME = )"([\w-]+)"', re.MULTILINE)


def names_of_causes() -> set[str]:
    """The names under which causes are reported: of a constant, or in each ``Cause``."""
    modules = Path(causes.__path__[0]).glob("*.py")
    texts = (module.read_text("utf-8") for module in modules)
    return {name for text in texts for name in _NAME.findall(text)}


@pytest.mark.parametrize("options", [options for _, options in SYMPTOMS])
def test_what_to_ask_can_be_asked(options: str) -> None:
    args = parser().parse_args(["check", "lb.example:9000", *shlex.split(options)])
    args.validate(args)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.title or part.text[:20])
def test_each_example_can_be_asked(part) -> None:
    args = parser().parse_args(["check", "lb.example:9000", *part.options])
    args.validate(args)


@pytest.mark.parametrize("name", [part.entry for part in PARTS if part.entry])
def test_each_path_of_the_catalogue_is_there(name: str) -> None:
    assert name in load()


def test_each_remedy_is_for_something_that_can_be_found() -> None:
    named = [name for remedy in REMEDIES for name in remedy.findings]
    assert len(set(named)) == len(named)
    assert set(named) <= set(NAMES) | names_of_causes()
    assert set(named) >= ALWAYS


def test_each_finding_that_is_no_probe_can_be_found() -> None:
    assert {name for name, _ in CAUSES} <= names_of_causes()


def test_each_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    probes = questions((probe.name, probe.summary) for probe in PROBES)
    for text in "".join((head(), probes, *written_remedies())).split("\n\n"):
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, rows


def test_the_head_leads_to_the_remedies() -> None:
    (anchor,) = re.findall(r"\[what to change\]\(#([\w-]+)\)", head())
    heading = next(written_remedies()).splitlines()[0].removeprefix("## ")
    assert anchor == re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
