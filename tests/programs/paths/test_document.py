"""What docs/check.md says about the command is true: names of probes, causes and options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from echosvc.cli.commands import parser
from echosvc.probe import causes
from echosvc.probe.validation import NAMES, PROBES
from tests.programs.paths.catalogue.registry import load
from tests.programs.paths.document import CAUSES, PARTS, SYMPTOMS, head, questions
from tests.programs.paths.remedies import REMEDIES, written_remedies

MODULES = sorted(Path(causes.__path__[0]).glob("*.py"))


@cache
def names_of_causes() -> frozenset[str]:
    """The names under which causes are reported."""
    return frozenset(name for module in MODULES for name in named_by(module))


def named_by(module: Path) -> Iterator[str]:
    """The name of each ``Cause`` that a module makes."""
    tree = ast.parse(module.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Cause":
            yield text_of(node.args[0], tree)


def text_of(node: ast.expr, tree: ast.Module) -> str:
    """The text of a literal, or of a constant of the module."""
    if isinstance(node, ast.Name):
        assigned = [each for each in tree.body if isinstance(each, ast.Assign)]
        (node,) = [each.value for each in assigned if ast.unparse(each.targets[0]) == node.id]
    text = ast.literal_eval(node)
    assert isinstance(text, str)
    return text


def used_by(module: Path) -> list[Path]:
    """The modules of causes that a module imports."""
    tree = ast.parse(module.read_text("utf-8"))
    names = {each.module for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)}
    return [each for each in MODULES if f"echosvc.probe.causes.{each.stem}" in names]


def registers(module: Path) -> bool:
    """Return whether a module registers a function that knows a cause."""
    functions = [
        each for each in ast.parse(module.read_text("utf-8")).body
        if isinstance(each, ast.AsyncFunctionDef)
    ]  # fmt: skip
    marks = [ast.unparse(mark) for each in functions for mark in each.decorator_list]
    return any(mark.startswith("cause(") for mark in marks)


@pytest.mark.parametrize("module", [*filter(registers, MODULES)], ids=lambda module: module.stem)
def test_each_registered_cause_has_a_name(module: Path) -> None:
    """One that the module makes, or a module of causes that it uses."""
    assert {name for each in (module, *used_by(module)) for name in named_by(each)}


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


def test_each_probe_and_each_cause_has_a_remedy_and_nothing_else_has() -> None:
    named = [name for remedy in REMEDIES for name in remedy.findings]
    assert len(set(named)) == len(named)
    assert set(named) == set(NAMES) | names_of_causes()


def test_each_cause_that_is_no_probe_is_explained_and_nothing_else_is() -> None:
    explained = [name for name, _ in CAUSES]
    assert len(set(explained)) == len(explained)
    assert names_of_causes() - set(NAMES) <= set(explained) <= names_of_causes()


def test_each_remedy_says_what_to_change() -> None:
    assert [remedy.findings for remedy in REMEDIES if not remedy.rows] == []


def test_each_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    probes = questions((probe.name, probe.summary) for probe in PROBES)
    for text in "".join((head(), probes, *written_remedies())).split("\n\n"):
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, rows


def test_the_head_leads_to_the_remedies() -> None:
    (anchor,) = re.findall(r"\[what to change\]\(#([\w-]+)\)", head())
    heading = next(written_remedies()).splitlines()[0].removeprefix("## ")
    assert anchor == re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
