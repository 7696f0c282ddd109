"""The command line of ``echosvc soak``: options, lines, files, signals, exit statuses."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from echosvc.cli import main as cli
from echosvc.cli.commands import parser
from echosvc.probe.soak.settings import SoakSettings
from tests.support.commands import one_line
from tests.support.junit import accepted
from tests.support.lateness import Lateness
from tests.support.process import ECHOSVC, Process, Server, environment, running, with_interrupt
from tests.support.waiting import LIMIT, wait_until

#: As short as a busy machine allows.
FAST = ("--connections", "2", "--interval", "0.05", "--silence", "2", "--max-wait", "0.1")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--log", "quiet") as it:
        yield it


@contextmanager
def soaking(port: int, *words: str) -> Iterator[Process]:
    """The command, as a program, until the end of the ``with``."""
    process = Process([*ECHOSVC, "soak", f"tcp:127.0.0.1:{port}", *FAST, *words])
    try:
        yield process
    finally:
        process.close()


def status_of(*words: str) -> int:
    """The exit status of the command line in this process."""
    try:
        return cli.main(words)
    except SystemExit as leaving:
        return int(str(leaving.code))


def events(path: Path) -> list[dict[str, object]]:
    """The whole lines of a file of events."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def overlapping(gaps: list[dict[str, Any]], since: float, until: float) -> list[dict[str, Any]]:
    """The gaps of which a part lies between two moments."""
    return [
        each for each in gaps if each["began"] < until and each["began"] + each["seconds"] > since
    ]


def happened(path: Path, name: str, count: int = 1) -> bool:
    return sum(event["event"] == name for event in events(path)) >= count


def test_without_options_everything_has_its_default() -> None:
    args = parser().parse_args(["soak"])
    assert args.validate(args) == SoakSettings()


def test_every_option_is_understood(tmp_path: Path) -> None:
    words = (
        "--connections 3 --interval .5 --size 1k --silence 0.7 --timeout 4 --max-wait 2"
        f" --duration 60 --max-gap 3 --max-breaks 0 --framing line --until-file {tmp_path}/x"
        f" --marks {tmp_path}/m --jsonl {tmp_path}/e --junit {tmp_path}/j --report {tmp_path}/r"
    )
    args = parser().parse_args(["soak", "tcp:h:1", *words.split()])
    assert args.validate(args) == SoakSettings(
        framing="line", connections=3, interval=0.5, size=1024, silence=0.7, timeout=4.0,
        max_wait=2.0, duration=60.0, max_gap=3.0, max_breaks=0,
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--connections 0", "--connections: must be"),
        ("--connections x", "--connections: must be"),
        ("--interval 0", "--interval: must be"),
        ("--interval nan", "--interval: must be"),
        ("--size 15", "--size must be 16 to"),
        ("--size 16 --framing line", "--size must be 17 to"),
        ("--size 0", "--size: must be"),
        ("--silence -1", "--silence"),
        ("--silence 11", "--silence must not be more than --timeout, 10 s"),
        ("--silence 2 --max-gap 1", "--silence must not be more than --max-gap, 1 s"),
        (
            "--interval 2 --max-gap 1",
            "--interval must not be more than --max-gap: a gap of 1 s",
        ),
        ("--max-gap 0", "--max-gap: must be"),
        ("--max-breaks -1", "--max-breaks"),
        ("--max-breaks 1.5", "--max-breaks"),
        ("--duration 0", "--duration: must be"),
        ("--timeout soon", "--timeout: must be"),
        ("--max-wait 0", "--max-wait: must be"),
        ("--framing xml", "--framing"),
        ("--prefix {nope}", "--prefix: unknown field"),
        ("--until-file /", "--until-file: / exists already"),
        ("--until-file=", "--until-file: must not be empty"),
        ("--marks /", "--marks: /: EISDIR"),
        ("--marks /none/marks --jsonl /none/e", "--jsonl: /none/e: ENOENT"),
        ("--jsonl / ", "--jsonl: /: EISDIR"),
        ("--junit /none/j", "--junit: /none/j: ENOENT"),
        ("--json --jsonl -", "--json and --jsonl: both write to standard output"),
        ("--jsonl /tmp/echosvc-one --report /tmp/echosvc-one", "--jsonl and --report: both"),
        ("--ca ca.pem", "--ca: is for tls: endpoints"),
        ("--color red", "--color"),
        ("tcp:h:1 tcp:h:2", "unrecognized arguments: tcp:h:2"),
        ("tcp:h:x", "port"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(words, complaint, capfd) -> None:
    assert status_of("soak", *words.split()) == 2
    out, err = capfd.readouterr()
    assert complaint in one_line(err.encode())
    assert out == ""


@pytest.mark.slow
def test_more_connections_than_files_may_be_open_are_refused() -> None:
    command = shlex.join([*ECHOSVC, "soak", "tcp:127.0.0.1:1", "--connections", "1000"])
    done = subprocess.run(
        ["sh", "-c", f"ulimit -n 200; exec {command}"],
        capture_output=True, env=environment(), timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "1000 are too many: this process may have 200" in one_line(done.stderr)


def test_the_help_has_examples(capfd) -> None:
    assert cli.main(["soak", "--help"]) == 0
    assert capfd.readouterr().out.count("\n  echosvc soak ") >= 2


def test_marks_by_signal_and_by_file_are_in_the_timeline(server, tmp_path: Path) -> None:
    log, marks, done = tmp_path / "events", tmp_path / "marks", tmp_path / "done"
    words = "--jsonl", str(log), "--marks", str(marks), "--until-file", str(done)
    page, junit = tmp_path / "page.html", tmp_path / "junit.xml"
    with soaking(server.port, *words, "--report", str(page), "--junit", str(junit)) as process:
        wait_until(lambda: happened(log, "open", 2))
        process.signal(signal.SIGUSR1)
        wait_until(lambda: happened(log, "mark"))
        marks.write_text("the upgrade begins\nit en")
        wait_until(lambda: happened(log, "mark", 2))
        done.touch()
        assert process.wait() == 0
    found = [event for event in events(log) if event["event"] == "mark"]
    assert [each["name"] for each in found] == ["", "the upgrade begins", "it en"]
    assert [each["number"] for each in found] == [1, 2, 3]
    assert len(process.matching("mark    2: the upgrade begins")) == 2  # at once, and at the end
    process.wait_line("ok after .*: no gap")
    assert events(log)[-1]["event"] == "end"
    assert "the upgrade begins" in page.read_text()
    accepted(junit.read_text())


def test_ctrl_c_is_the_usual_end_with_the_summary(server, tmp_path: Path) -> None:
    log = tmp_path / "events"
    with soaking(server.port, "--jsonl", str(log)) as process:
        wait_until(lambda: happened(log, "open", 2))
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    process.wait_line("  start   2 connections")
    process.wait_line("ok after .*: no gap")
    process.wait_line("messages: ")


@pytest.mark.slow
def test_ctrl_c_before_the_time_is_an_interruption_with_all_reports(server, tmp_path: Path) -> None:
    log, junit = tmp_path / "events", tmp_path / "junit.xml"
    words = "--duration", "600", "--json", "--jsonl", str(log), "--junit", str(junit)
    with soaking(server.port, *words) as process:
        wait_until(lambda: happened(log, "open", 2))
        process.signal(signal.SIGTERM)
        assert process.wait() == 130
    result = json.loads("\n".join(process.lines))
    assert (result["ok"], result["complete"], result["gap_count"]) == (True, False, 0)
    assert accepted(junit.read_text()).get("errors") == "1"


@pytest.mark.slow
def test_on_a_terminal_a_line_says_how_it_is_going(server) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        with_interrupt([*ECHOSVC, "soak", f"tcp:127.0.0.1:{server.port}", *FAST]),
        stdout=subprocess.PIPE, stderr=slave, text=True, env={**environment(), "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    end = threading.Timer(LIMIT, process.kill)
    end.start()
    shown = b""
    while b"2 of 2 up" not in shown and (piece := os.read(master, 4096)):
        shown += piece
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the end of a terminal
        while os.read(master, 4096):
            pass
    out, _ = process.communicate(timeout=LIMIT)
    end.cancel()
    os.close(master)
    assert process.returncode == 0
    assert "up" not in out
    assert "no gap" in out


@pytest.mark.slow
def test_a_server_that_stands_still_is_a_silence_as_long_as_it_did(tmp_path: Path) -> None:
    log, done = tmp_path / "events", tmp_path / "done"
    words = "--silence", "0.5", "--jsonl", str(log), "--until-file", str(done), "--max-breaks", "0"
    with running("--log", "quiet") as it, soaking(it.port, *words) as process:
        late = Lateness(it.pid, process.pid)
        wait_until(lambda: happened(log, "open", 2))
        before = time.time()
        it.signal(signal.SIGSTOP)
        stopped = time.time()
        wait_until(lambda: happened(log, "gap-began", 2))
        continued = time.time()
        it.signal(signal.SIGCONT)
        wait_until(lambda: happened(log, "gap", 2))
        after, tolerance = time.time(), 0.05 + late.seconds
        done.touch()
        assert process.wait() == 0
    result = events(log)[-1]
    assert set(result["causes"]) == {"silence"}
    assert (result["breaks"], result["messages"]["lost"]) == (0, 0)
    gaps = overlapping(result["gaps"], stopped, continued)
    assert len(gaps) == 2
    for gap in gaps:
        # What was sent before may have been answered after.
        assert gap["began"] > before - tolerance
        assert continued - 0.01 < gap["began"] + gap["seconds"] < after + 0.01
        assert gap["seconds"] < after - before + tolerance
        assert gap["since_answer"] >= gap["seconds"]
    assert continued - stopped > 0.5


@pytest.mark.slow
def test_a_soak_that_stands_still_itself_accuses_nobody(server, tmp_path: Path) -> None:
    log, done = tmp_path / "events", tmp_path / "done"
    words = "--silence", "0.5", "--jsonl", str(log), "--until-file", str(done)
    with soaking(server.port, *words) as process:
        wait_until(lambda: happened(log, "open", 2))
        stopped = time.time()
        process.signal(signal.SIGSTOP)
        time.sleep(1.5)  # so long it stands still
        continued = time.time()
        process.signal(signal.SIGCONT)
        wait_until(lambda: happened(log, "stall"))
        done.touch()
        assert process.wait() == 0
    result = events(log)[-1]
    # On a busy machine others may have been late before and afterwards.
    assert not overlapping(result["gaps"], stopped, continued)
    assert result["longest_stall"] > 1.4
    process.wait_line("stood still")


@pytest.mark.slow
def test_nothing_that_was_answered_is_a_failure_also_after_ctrl_c(tmp_path: Path) -> None:
    log = tmp_path / "events"
    with soaking(1, "--jsonl", str(log), "--max-gap", "60") as process:
        wait_until(lambda: happened(log, "gap-began", 2))
        process.signal(signal.SIGINT)
        assert process.wait() == 1
    process.wait_line("NOT OK after .*: nothing was answered")


@pytest.mark.slow
def test_a_full_disk_of_events_is_said_once_and_the_soak_goes_on(server) -> None:
    with soaking(server.port, "--duration", "0.5", "--jsonl", "/dev/full") as process:
        assert process.wait() == 1
    said = process.matching("^echosvc: --jsonl")
    assert [("ENOSPC" in line) for line in said] == [True, False]
    assert said[1].endswith("events missing")
    process.wait_line("ok after .*: no gap")


@pytest.mark.slow
def test_events_may_be_standard_output(server) -> None:
    with soaking(server.port, "--duration", "0.3", "--jsonl", "-") as process:
        assert process.wait() == 0
    names = [json.loads(line)["event"] for line in process.lines]
    assert names == ["start", "open", "open", "end"]


@pytest.mark.slow
def test_an_output_that_nobody_reads_ends_the_soak(server) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*ECHOSVC, "soak", f"tcp:127.0.0.1:{server.port}", *FAST],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1
    assert "standard output: EPIPE" in one_line(done.stderr.encode())


@pytest.mark.slow
def test_a_server_that_cannot_be_verified_is_an_error_with_advice(tmp_path: Path) -> None:
    with running("--log", "quiet", "--prefix", "{message}: ") as it, soaking(it.port) as process:
        assert process.wait() == 1
    assert "--prefix" in process.matching("^echosvc: tcp")[0]
