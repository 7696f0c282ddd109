"""``echosvc load --compare``: two results side by side, as a user has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echosvc.cli import main as cli
from echosvc.probe.traffic.load_result import LoadResult
from echosvc.reports.load_document import load_json
from tests.unit.reports.load_samples import result


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("a.json", result())
    write("b.json", result(seconds=10.0))  # half the rate
    write("late.json", result(lag=0.02))
    write("two.json", result(), result())


def write(name: str, *results: LoadResult) -> None:
    Path(name).write_text("".join(map(load_json, results)), "utf-8")


def compare(*words: str) -> int:
    return cli.main(["load", "--compare", *words])


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("a.json", "b.json"), 0),
        (("a.json", "b.json", "--fail-if", "p99>+10%"), 0),
        (("a.json", "b.json", "--fail-if", "p99>+10%", "--fail-if", "rate<-5%"), 1),
        (("b.json", "a.json", "--fail-if", "rate<-5%"), 0),
        (("a.json", "late.json"), 3),
        (("late.json", "b.json", "--fail-if", "rate<-5%"), 3),
    ],
)
def test_the_exit_status_says_whether_a_condition_holds(
    words: tuple[str, ...], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert compare(*words) == status
    out, err = capfd.readouterr()
    assert (f"A: {words[0]}: tcp:lb.example:9000: " in out, err) == (True, "")


def test_the_comparison_is_one_object_of_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert compare("a.json", "b.json", "--json", "--fail-if", "rate<-5%") == 1
    document = json.loads(capfd.readouterr().out)
    assert [each["name"] for each in document["runs"]] == ["a.json", "b.json"]
    assert document["conditions"] == [{"condition": "rate<-5%", "failed": True}]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--compare", "a.json", "no.json"), "no.json: ENOENT (No such file or directory)"),
        (("--compare", "a.json", "two.json"), "two.json: it has 2 results; merge them first"),
        (("--compare", "-", "-"), "--compare: standard input can be read only once"),
        (
            ("--compare", "a.json", "b.json", "--report", "x.html"),
            "--report: --compare writes text or JSON, and no reports",
        ),
        (("--compare", "a.json", "b.json", "c.json"), "ENDPOINT: --compare runs nothing: 'c.json'"),
        (("--compare", "a.json", "b.json", "--rate", "5"), "--rate: --compare runs nothing"),
        (("--compare", "a.json", "b.json", "--ca", "x"), "--ca: --compare runs nothing"),
        (
            ("--compare", "a.json", "b.json", "--send-proxy", "v1"),
            "--send-proxy: --compare runs nothing",
        ),
        (
            ("--compare", "a.json", "b.json", "--sweep", "1-9", "--slo", "p99<5ms"),
            "--sweep: --compare runs nothing",
        ),
        (
            ("lb:9", "--fail-if", "p99>5ms"),
            "--fail-if: it is a condition of --compare, which is not given",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    words: tuple[str, ...], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["load", *words])
    assert leaving.value.code == 2
    assert capfd.readouterr() == ("", f"echosvc: {why}\n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--compare", "a.json"), "--compare: expected 2 arguments"),
        (
            ("--compare", "a.json", "b.json", "--fail-if", "p98>+10%"),
            "--fail-if: 'p98>+10%': there is no figure 'p98'",
        ),
    ],
)
def test_what_cannot_be_parsed_is_refused_in_one_line(
    words: tuple[str, ...], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["load", *words]) == 2
    assert capfd.readouterr() == ("", f"echosvc: {why}\n")
