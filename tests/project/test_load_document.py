"""docs/load.md has every figure, key and verdict that there is, and the words of its source."""

from __future__ import annotations

import re
import struct

from echosvc.probe.traffic.verdict import EXIT_STATUSES
from echosvc.reports.load_document import load_document
from echosvc.reports.load_figures import ERRORS, MESSAGES, UNITS
from tests.programs.load.document import (
    COUNTS,
    KEYS,
    PICTURE,
    VERDICTS,
    outputs,
    with_outputs,
    words,
    write,
)
from tests.programs.load.runs import RUNS
from tests.support.process import ROOT
from tests.unit.reports.load_samples import result, sweep

PAGE = (ROOT / "docs/load.md").read_text("utf-8")
REMEDY = "run: python -m tests.programs.load --write-words"


def test_the_words_are_those_of_their_source() -> None:
    assert with_outputs(PAGE, lambda name: "") == words(), REMEDY
    assert write(PAGE, {}) == PAGE, REMEDY


def test_every_run_has_its_place_and_was_made() -> None:
    found = outputs(PAGE)
    assert set(found) == set(RUNS)
    assert all(text.startswith("    $ echosvc ") for text in found.values()), found


def test_the_words_are_kept_apart_from_what_was_printed() -> None:
    page = write(PAGE, {"rate": "    $ echosvc load\n"})
    assert outputs(page)["rate"] == "    $ echosvc load\n"
    assert outputs(page)["stall"] == outputs(PAGE)["stall"]


def test_every_key_verdict_and_figure_is_explained_and_no_other() -> None:
    assert list(KEYS) == list(load_document(result(), sweep()))
    assert {word: int(text.split()[0]) for word, text in VERDICTS.items()} == EXIT_STATUSES
    assert set(MESSAGES) <= set(COUNTS)
    named = {part for name in UNITS for part in re.split(r"\.(?=\D)", name)}
    for name in sorted(named | {*ERRORS}):
        assert name in PAGE, name
    for name in ("p50", "p90", "p99", "p99.9", "p99.99", "max", "first-byte", "send-lag"):
        assert f"`{name}`" in PAGE


def test_the_picture_is_there() -> None:
    assert f"]({PICTURE})" in PAGE
    data = (ROOT / "docs" / PICTURE).read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">I", data[16:20])[0] == 1000
    assert len(data) < 300 * 1024
