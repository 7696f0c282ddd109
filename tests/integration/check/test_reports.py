"""Reports that ``echosvc check`` writes: files, standard output, Ctrl-C, what cannot be written."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from echosvc.cli import main as cli
from tests.support.html import read
from tests.support.junit import accepted
from tests.support.process import ECHOSVC, Process, environment
from tests.support.waiting import LIMIT

COMMAND = [*ECHOSVC, "check"]
FAST = ("--only", "connect,echo,tls")


def check(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=4 * LIMIT, env=environment(),
        cwd=cwd, check=False,
    )  # fmt: skip


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What a check says that does not begin; in a directory that stays empty."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as leaving:
            cli.main(["check", "tcp:127.0.0.1:9", *words])
        out, err = capfd.readouterr()
        assert (leaving.value.code, out, err.count("\n")) == (2, "", 1), err
        assert list(tmp_path.iterdir()) == []
        return err.removeprefix("echosvc: ").rstrip("\n")

    return run


def test_both_reports_are_written_beside_the_lines(to: str, tmp_path: Path) -> None:
    done = check(to, *FAST, "--junit", "a.xml", "--report", "a.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.xml"]
    suite = accepted((tmp_path / "a.xml").read_text("utf-8"))
    assert suite.findtext("system-out") == done.stdout
    page = read((tmp_path / "a.html").read_text("utf-8")).text
    for line in done.stdout.splitlines()[:-1]:
        kind, name, finding = re.split("  +", line, maxsplit=2)
        assert f"{kind} {name} {finding.rpartition(' (')[0]}" in page


def test_the_reports_say_what_was_asked(to: str, tmp_path: Path) -> None:
    words = (*FAST, "--timeout", "3", "--prefix", "{hostname}: ", "--identity", "a b")
    check(to, *words, "--junit", "a.xml", "--report", "a.html", cwd=tmp_path)
    suite = accepted((tmp_path / "a.xml").read_text("utf-8"))
    asked = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    wanted = {
        "only": "connect, echo, tls", "timeout": "3", "connections": "10", "idle": "1, 5",
        "identity": "a b", "framing": "chunk",
    }  # fmt: skip
    assert wanted.items() <= asked.items()
    assert "skip" not in asked
    assert asked["command"].startswith(f"echosvc check {to} --only connect,echo,tls --timeout 3")
    assert "--prefix '{hostname}: ' --identity 'a b'" in asked["command"]
    assert asked["command"] in read((tmp_path / "a.html").read_text("utf-8")).text


@pytest.mark.parametrize("option", ["--junit", "--report"])
def test_a_report_can_be_all_of_standard_output(to: str, option: str, tmp_path: Path) -> None:
    done = check(to, *FAST, option, "-", cwd=tmp_path)
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])
    assert accepted(done.stdout) if option == "--junit" else read(done.stdout)


def test_a_file_that_is_standard_output_gets_the_report_alone(to: str, tmp_path: Path) -> None:
    with (tmp_path / "a.xml").open("wb") as out:
        command = [*COMMAND, to, *FAST, "--junit", str(tmp_path / "a.xml")]
        subprocess.run(command, stdout=out, timeout=4 * LIMIT, env=environment(), check=True)
    accepted((tmp_path / "a.xml").read_text("utf-8"))


def test_json_and_reports_go_together(to: str, tmp_path: Path) -> None:
    done = check(to, *FAST, "--json", "--junit", "a.xml", cwd=tmp_path)
    assert json.loads(done.stdout)["ok"]
    accepted((tmp_path / "a.xml").read_text("utf-8"))


def test_a_failure_is_reported(tmp_path: Path) -> None:
    done = check("tcp:127.0.0.1:9", "--junit", "a.xml", "--report", "a.html", cwd=tmp_path)
    assert done.returncode == 1
    suite = accepted((tmp_path / "a.xml").read_text("utf-8"))
    assert suite.attrib["failures"] == "1"
    (failure,) = suite.iter("failure")
    assert "ECONNREFUSED" in failure.attrib["message"]
    assert "NOT OK" in read((tmp_path / "a.html").read_text("utf-8")).text


def test_ctrl_c_writes_what_was_found(to: str, tmp_path: Path) -> None:
    junit, report = tmp_path / "a.xml", tmp_path / "a.html"
    words = ("--only", "connect,idle", "--junit", str(junit), "--report", str(report))
    process = Process([*COMMAND, to, *words])
    try:
        process.wait_line("PASS  connect")
        assert list(tmp_path.iterdir()) == []
        process.signal(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.close()
    cases = [case.attrib["name"] for case in accepted(junit.read_text("utf-8")).iter("testcase")]
    assert cases == ["connect", "interrupted"]
    assert "The check was interrupted." in read(report.read_text("utf-8")).text


@pytest.mark.parametrize("option", ["--junit", "--report"])
@pytest.mark.parametrize(
    ("path", "why"), [("no/a", "ENOENT (No such file"), (".", "EISDIR (Is a directory")]
)
def test_a_path_that_cannot_be_written_is_refused_before_anything_is_asked(
    option: str, path: str, why: str, refused: Callable[..., str]
) -> None:
    assert refused(option, path).startswith(f"{option}: {path}: {why}")


def test_a_path_is_not_empty(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--junit", ""]) == 2
    assert capfd.readouterr().err == "echosvc: --junit: must not be empty\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--junit a --report a", "--junit and --report: both write to a"),
        ("--junit a --report ./b/../a", "--junit and --report: both write to ./b/../a"),
        ("--json --junit -", "--json and --junit: both write to standard output"),
        ("--json --report /dev/stdout", "--json and --report: both write to standard output"),
        ("--junit - --report -", "--junit and --report: both write to standard output"),
    ],
)
def test_two_outputs_to_one_file_are_refused(
    words: str, why: str, refused: Callable[..., str]
) -> None:
    assert refused(*words.split()) == why


def test_two_names_of_one_file_are_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").touch()
    Path("b").hardlink_to("a")
    with pytest.raises(SystemExit):
        cli.main(["check", "--junit", "a", "--report", "b"])
    assert "both write to b" in capfd.readouterr().err


def test_a_report_that_cannot_be_written_at_the_end_is_status_1(to: str, tmp_path: Path) -> None:
    words = ("--junit", "/dev/full", "--report", "a.html")
    done = check(to, *FAST, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "echosvc: --junit: /dev/full: ENOSPC (No space left on device)\n"
    read((tmp_path / "a.html").read_text("utf-8"))


def test_reports_are_written_where_standard_output_takes_nothing(to: str, tmp_path: Path) -> None:
    command = [*COMMAND, to, *FAST, "--junit", str(tmp_path / "a.xml")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT, env=environment(),
            check=False,
        )  # fmt: skip
    assert done.returncode == 1
    accepted((tmp_path / "a.xml").read_text("utf-8"))
