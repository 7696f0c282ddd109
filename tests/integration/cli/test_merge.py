"""The command ``echosvc merge``, as a user has it."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from echosvc.cli import main as cli
from echosvc.probe.traffic.histogram import DIGITS, HIGHEST, LOWEST
from echosvc.probe.traffic.load_result import LoadResult, merge_loads
from echosvc.probe.traffic.merge import Shard
from echosvc.reports.load_document import load_json, read_loads
from tests.support.commands import echosvc, one_line
from tests.support.html import read
from tests.support.junit import accepted
from tests.unit.reports.load_samples import break_it, result, tally_of


def shard(index: int, total: int = 4, **more: object) -> LoadResult:
    tally = tally_of(4, rate=50, shard=index, shards=total)
    return result(tally, (Shard(7, index, total),), **more)  # type: ignore[arg-type]


def write(directory: Path, *results: LoadResult) -> list[str]:
    names = [f"{number}.json" for number in range(len(results))]
    for name, each in zip(names, results, strict=True):
        (directory / name).write_text(load_json(each), "utf-8")
    return names


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["merge", *words])
    out, err = capfd.readouterr()
    assert (leaving.value.code, out, err.count("\n")) == (2, "", 1), err
    return err.removeprefix("echosvc: ").rstrip("\n")


def test_files_and_lines_of_standard_input_are_one_result() -> None:
    shards = [shard(index) for index in range(4)]
    lines = "".join(map(load_json, shards)).encode()
    done = echosvc("merge", "-", "--json", stdin=lines)
    assert (done.returncode, done.stderr) == (0, b"")
    (merged,) = read_loads(done.stdout.decode())
    assert merged == merge_loads([(str(index), each) for index, each in enumerate(shards)])
    assert json.loads(done.stdout)["messages"]["sent"] == 200


def test_everything_that_load_writes_is_written(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = write(here, *(shard(index) for index in range(4)))
    reports = ("--hdr", "a.hlog", "--junit", "a.xml", "--report", "a.html")
    assert cli.main(["merge", *names, *reports]) == 0
    out, err = capfd.readouterr()
    assert (out.startswith("tcp:lb.example:9000: OK\n"), err) == (True, "")
    page = read((here / "a.html").read_text("utf-8")).text
    assert "4 results: shard 1/4 of seed 7" in page
    assert f"Python {platform.python_version()}, Twisted " in page
    assert accepted((here / "a.xml").read_text("utf-8")).findtext("system-out") == out
    reader = HistogramLogReader("a.hlog", HdrHistogram(LOWEST, HIGHEST, DIGITS))
    first = reader.get_next_interval_histogram()
    reader.close()
    assert (first.get_tag(), first.get_total_count()) == ("corrected", 200)


@pytest.mark.parametrize(
    ("part", "status", "word"),
    [
        (shard(1), 0, "OK"),
        (shard(1, lag=0.02), 3, "INVALID"),
        (shard(1, interrupted=True), 1, "OK"),
    ],
)
def test_the_exit_status_is_that_of_the_merged_verdict(
    here: Path, capfd: pytest.CaptureFixture[str], part: LoadResult, status: int, word: str
) -> None:
    names = write(here, shard(0), part)
    assert cli.main(["merge", *names]) == status
    assert capfd.readouterr().out.startswith(f"tcp:lb.example:9000: {word}")


def test_a_fault_of_one_part_is_the_verdict_on_all(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = shard(1)
    break_it(broken.tally)
    assert cli.main(["merge", *write(here, shard(0), broken, shard(2, lag=0.02))]) == 1
    assert capfd.readouterr().out.startswith("tcp:lb.example:9000: FAIL\n  1 message was lost\n")


def test_it_is_said_which_results_do_not_belong_together(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = write(here, shard(0), shard(1), shard(0), shard(2, endpoint="tcp:other:1"))
    assert refused(capfd, *names[:3]) == (
        "0.json and 2.json overlap: both contain shard 1/4 of seed 7"
    )
    assert refused(capfd, names[0], names[3]) == (
        "0.json and 3.json differ in endpoint: 'tcp:lb.example:9000' and 'tcp:other:1'"
    )
    (here / "all.jsonl").write_text(load_json(shard(0)) + load_json(shard(1)) + load_json(shard(1)))
    assert refused(capfd, "all.jsonl").startswith("all.jsonl:2 and all.jsonl:3 overlap: ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "a.json: there is no result in it"),
        (b"{", "a.json: the JSON is cut short: it ends in line 1"),
        (b"\xff\xfe{}", "a.json: no UTF-8 at byte 0"),
        (b"hello", "a.json: no JSON: Expecting value at line 1, column 1"),
        (b'{"schema": 1, "result": {}}', "a.json: the result is damaged: "),
    ],
)
def test_what_is_no_result_is_refused_by_name(
    here: Path, capfd: pytest.CaptureFixture[str], content: bytes, why: str
) -> None:
    (here / "a.json").write_bytes(content)
    assert refused(capfd, "a.json").startswith(why)


def test_a_file_must_be_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["merge"]) == 2
    assert capfd.readouterr() == ("", "echosvc: the following arguments are required: FILE\n")


def test_what_cannot_be_read_or_written_is_refused_before_anything_is(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (name,) = write(here, shard(0))
    assert refused(capfd, "no.json") == "no.json: ENOENT (No such file or directory)"
    assert refused(capfd, ".") == ".: EISDIR (Is a directory)"
    assert refused(capfd, "-", "-") == "FILE: standard input can be read only once"
    assert refused(capfd, name, "--json", "--hdr", "-") == (
        "--json and --hdr: both write to standard output"
    )
    assert refused(capfd, name, "--report", "no/a.html").startswith("--report: ")
    assert sorted(path.name for path in here.iterdir()) == [name]


def test_a_file_that_is_too_long_is_refused(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echosvc.cli.result_files.MAX_SIZE", 1 << 20)
    (here / "a.json").write_bytes(b" " * (1 << 20) + b"1")
    assert refused(capfd, "a.json") == "a.json: more than 1 MiB: no results"


def test_a_report_that_cannot_be_written_is_an_error(here: Path) -> None:
    done = echosvc("merge", "-", "--report", "/dev/full", stdin=load_json(shard(0)).encode())
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("echosvc: --report: /dev/full: ENOSPC")
    assert done.stdout.startswith(b"tcp:lb.example:9000: OK\n")
