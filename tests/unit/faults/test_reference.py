"""docs/faults.md names every fault as the code has it."""

from __future__ import annotations

import pytest

from echosvc.faults.spec import FaultSpec
from echosvc.faults.vocabulary import KINDS
from tests import faults


def test_every_kind_has_its_section() -> None:
    assert set(faults.WORLD) == set(KINDS) - {"none"}


@pytest.mark.parametrize("name", faults.WORLD)
def test_the_line_that_provokes_a_fault_is_of_its_kind(name: str) -> None:
    assert FaultSpec.parse(faults.WORLD[name][1]).kind is KINDS[name]


def test_the_reference_is_up_to_date() -> None:
    text = faults.DOCUMENT.read_text("utf-8")
    assert "<!-- begin reference -->" in text
    assert faults.written(text) == text, "python -m tests.faults --write-docs writes it"
