"""The reports of a check: written once, each where it is asked for, and an error in one line."""

from __future__ import annotations

import io
from argparse import Namespace
from pathlib import Path

import pytest

from echosvc.cli.check_reports import Reports, takes_standard_output
from echosvc.cli.terminal import StandardOutput
from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.probe.settings import CheckSettings
from echosvc.wire.template import Template
from tests.support.html import read
from tests.support.junit import accepted

LOST = ProbeResult("order", "fail", "7 bytes lost", 1.5, "a full queue", {"fault": "lost"})
RESULT = CheckResult("tcp:lb.example:9000", (LOST,))


def asked(junit: object = None, report: object = None) -> Namespace:
    paths = {name: value and str(value) for name, value in (("junit", junit), ("report", report))}
    return Namespace(**paths, json=False, command_line="echosvc check lb.example:9000")


def test_both_reports_are_written_once_and_say_what_was_asked(tmp_path: Path) -> None:
    junit, page, out = tmp_path / "a.xml", tmp_path / "a.html", io.BytesIO()
    settings = CheckSettings(
        prefix=Template.parse("{hostname}: "), only=("connect", "order"), timeout=3.0, identity="a"
    )
    reports = Reports(asked(junit, page), settings, out)
    assert reports.write(RESULT)
    suite = accepted(junit.read_text("utf-8"))
    properties = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    wanted = {
        "only": "connect, order", "timeout": "3", "idle": "1, 5", "identity": "a",
        "prefix": "as given", "command": "echosvc check lb.example:9000",
    }  # fmt: skip
    assert wanted.items() <= properties.items()
    assert not {"skip", "pace", "find-idle"} & properties.keys()
    assert "7 bytes lost" in read(page.read_text("utf-8")).text
    junit.unlink()
    assert reports.write(RESULT)
    assert not junit.exists()
    assert out.getvalue() == b""


@pytest.mark.parametrize("kind", ["junit", "report"])
def test_standard_output_takes_a_report(kind: str) -> None:
    out = io.BytesIO()
    args = asked(**{kind: "-"})
    assert takes_standard_output(args)
    assert Reports(args, CheckSettings(), out).write(RESULT)
    text = out.getvalue().decode("utf-8")
    assert accepted(text) if kind == "junit" else read(text)


def test_without_reports_nothing_is_written() -> None:
    out = io.BytesIO()
    assert not takes_standard_output(asked())
    assert Reports(asked(), CheckSettings(), out).write(RESULT)
    assert out.getvalue() == b""


def test_an_error_is_one_line_and_the_other_report_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a.html"
    reports = Reports(asked("/dev/full", page), CheckSettings(), io.BytesIO())
    assert not reports.write(RESULT)
    assert not reports.write(RESULT)
    assert capfd.readouterr().err == (
        "echosvc: --junit: /dev/full: ENOSPC (No space left on device)\n"
    )
    assert "7 bytes lost" in read(page.read_text("utf-8")).text


def test_a_full_standard_output_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        reports = Reports(asked("-"), CheckSettings(), StandardOutput(full.fileno()))
        assert not reports.write(RESULT)
    assert capfd.readouterr().err.startswith("echosvc: standard output: ENOSPC")
