"""The command line of ``echosvc check``: options, lines, JSON, exit statuses."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from echosvc import check as check_path
from echosvc import check_async
from echosvc.cli import check as command
from echosvc.cli import main as cli
from echosvc.cli.commands import parser
from echosvc.cli.terminal import OutputError, StandardOutput
from echosvc.net.listeners import PORT
from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.probe.settings import MIB, CheckSettings
from echosvc.probe.validation import NAMES, PROBES, SettingsError, long_probes
from tests.support.process import ECHOSVC, ROOT, Process, environment
from tests.support.waiting import LIMIT, wait_until

COMMAND = [*ECHOSVC, "check"]
LOST = ProbeResult("order", "fail", "7 bytes lost", 1.5, "a full queue", {"offset": 5})
FINE = ProbeResult("connect", "pass", "to it", 0.25)
KNOWN = ProbeResult("rtt", "info", "near", 0.0)


def check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=4 * LIMIT, env=environment()
    )


def parsed(*words: str) -> CheckSettings:
    options = parser().parse_args(["check", *words])
    settings: CheckSettings = options.validate(options)
    return settings


def test_without_options_everything_has_its_default() -> None:
    assert parsed() == CheckSettings()
    assert parser().parse_args(["check"]).to == f"tcp:localhost:{PORT}"


def test_every_option_is_understood() -> None:
    words = "--only order,idle --skip text --idle .5,7 --connections 3 --timeout 2 --framing line"
    asked = parsed("tcp:h:1", *words.split(), "--max-size", "2M", "--prefix", "", "--identity", "a")
    assert asked.prefix is not None
    assert asked.prefix.constant == b""
    assert (asked.only, asked.skip, asked.idle) == (("order", "idle"), ("text",), (0.5, 7.0))
    assert (asked.connections, asked.timeout, asked.framing) == (3, 2.0, "line")
    assert (asked.max_size, asked.identity) == (2 * MIB, "a")
    assert parsed("--find-idle", "600").find_idle == 600.0
    assert parsed("--pace", "2.5").pace == 2.5
    assert parsed("--lifetime", "3600").lifetime == 3600.0
    for text, size in (("7", 7), ("3k", 3072), ("1G", 1 << 30)):
        assert parsed("--max-size", text).max_size == size


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--only x", "there is no probe 'x'; there are connect, echo,"),
        ("--skip order,", "an empty name in skip"),
        ("--only echo,", "an empty name in only"),
        ("--only order --skip order", "no probe is left"),
        ("--only find-idle", "the probe find-idle needs find_idle"),
        ("--only lifetime", "the probe lifetime needs lifetime"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words: str, why: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(why)):
        parsed(*words.split())


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"only": "echo"}, "only must be a tuple of probes, not 'echo'"),
    ({"only": None}, "only must be a tuple of probes, not None"),
    ({"skip": (1,)}, "skip must be a tuple of probes, not (1,)"),
    ({"idle": 1}, "idle must be a tuple of seconds, not 1"),
    ({"idle": ("1",)}, "idle must be a tuple of seconds, not ('1',)"),
    ({"timeout": "x"}, "timeout must be a number of seconds, not 'x'"),
    ({"timeout": None}, "timeout must be a number of seconds, not None"),
    ({"pace": "2"}, "pace must be a number of connections, not '2'"),
    ({"pace": -1.0}, "pace must be 0 or more connections a second"),
    ({"timeout": True}, "timeout must be a number of seconds, not True"),
    ({"find_idle": "1"}, "find_idle must be a number of seconds, not '1'"),
    ({"lifetime": "1"}, "lifetime must be a number of seconds, not '1'"),
    ({"lifetime": -1.0}, "lifetime must be more than 0 seconds"),
    ({"max_size": "1M"}, "max_size must be a whole number of bytes, not '1M'"),
    ({"max_size": 1e6}, "max_size must be a whole number of bytes, not 1000000.0"),
    ({"connections": "3"}, "connections must be a whole number of connections, not '3'"),
    ({"framing": 1}, "framing must be text, not 1"),
    ({"identity": b"x"}, "identity must be text, not b'x'"),
    ({"identity": "a("}, "identity: 'a(' is no regular expression (at character 2)"),
    ({"prefix": 1}, "prefix must be text or bytes, not 1"),
    ({"unknown": 1}, "there is no setting 'unknown'; there are framing, only,"),
)


@pytest.mark.parametrize(("wrong", "why"), WRONG, ids=str)
def test_wrong_settings_of_a_program_are_refused_in_plain_words(
    wrong: dict[str, Any], why: str
) -> None:
    """By both forms, before anything is connected to."""
    coroutine = check_path("tcp:127.0.0.1:9", reactor=Clock(), **wrong)
    with pytest.raises(SettingsError, match=re.escape(why)):
        coroutine.send(None)
    with pytest.raises(SettingsError, match=re.escape(why)):
        asyncio.run(check_async("tcp:127.0.0.1:9", **wrong))


@pytest.mark.parametrize(
    "words",
    [
        "--idle x", "--idle 0", "--idle 1e9", "--find-idle 1e300", "--idle 1,,2", "--idle inf",
        "--idle -1", "--find-idle 0", "--lifetime 0", "--lifetime x",
        "--timeout 0", "--timeout nan", "--connections 0", "--connections x", "--connections 1e3",
        "--connections 10001", "--max-size 0", "--max-size x", "--max-size 5T", "--max-size -1",
        "--pace 0", "--pace x", "--pace nan", "--pace 1_0", "--pace ٣",
        "--framing x", "--prefix {x}", "--identity (", "--send-proxy v3", "a b",
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_and_status_2(
    words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert_usage(["check", *words.split()], capfd)


def assert_usage(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    try:
        status = cli.main(words)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    out, err = capfd.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("echosvc: ")
    return err


@pytest.mark.parametrize("endpoint", ["x", "tcp:", "tcp:h:0", "foo:bar", ""])
def test_a_wrong_endpoint_is_named(endpoint: str, capfd: pytest.CaptureFixture[str]) -> None:
    err = assert_usage(["check", endpoint], capfd)
    assert err.startswith(f"echosvc: ENDPOINT {endpoint!r}: ")


def test_tls_options_are_for_tls(to: str) -> None:
    done = check(to, "--ca", "x")
    assert done.stderr == f"echosvc: --ca: is for tls: endpoints, and ENDPOINT is {to!r}\n"


def test_the_help_lists_every_probe_and_has_examples() -> None:
    done = check("--help")
    assert done.returncode == 0
    listed = re.findall(r"^  ([a-z-]+)  +\S", done.stdout.partition("probes, in this")[2], re.M)
    assert tuple(name for name in listed if name in NAMES) == NAMES
    assert "examples:" in done.stdout
    assert all(probe.summary for probe in PROBES)


def test_lines_are_aligned_and_a_failure_has_its_cause() -> None:
    out = io.BytesIO()
    output = command.CheckOutput(out, as_json=False)
    for probe in (FINE, LOST):
        output.probe_started(probe.name)
        output.probe_finished(probe)
    output.check_finished(CheckResult("tcp:h:1", (FINE, LOST, KNOWN)))
    assert out.getvalue().decode() == (
        "PASS  connect        to it (0.25 s)\n"
        "FAIL  order          7 bytes lost (1.50 s)\n"
        "                     likely: a full queue\n"
        "tcp:h:1: NOT OK: 1 passed, 1 failed, 1 for information\n"
    )


def test_json_is_one_object_with_figures() -> None:
    out = io.BytesIO()
    output = command.CheckOutput(out, as_json=True)
    output.probe_finished(LOST)
    assert out.getvalue() == b""
    output.check_finished(CheckResult("tcp:h:1", (LOST,)))
    output.check_finished(CheckResult("tcp:h:1", (LOST,)))  # at the shutdown
    assert json.loads(out.getvalue()) == {
        "endpoint": "tcp:h:1",
        "ok": False,
        "probes": [
            {
                "name": "order", "result": "fail", "finding": "7 bytes lost",
                "cause": "a full queue", "seconds": 1.5, "offset": 5,
            }
        ],
    }  # fmt: skip


def test_after_an_interrupt_no_result_is_printed_any_more() -> None:
    out = io.BytesIO()
    output = command.CheckOutput(out, as_json=False)
    output.probe_finished(FINE)
    output.check_finished(CheckResult("tcp:h:1", (FINE,), interrupted=True))
    output.probe_finished(LOST)
    assert out.getvalue().decode().splitlines()[1:] == ["tcp:h:1: interrupted: 1 passed, 0 failed"]


def test_a_full_disk_is_reported() -> None:
    with Path("/dev/full").open("wb") as full:
        output = command.CheckOutput(StandardOutput(full.fileno()), as_json=False)
        with pytest.raises(OutputError, match="standard output: ENOSPC"):
            output.probe_finished(FINE)


def test_a_clean_server_passes(to: str) -> None:
    skipped = "idle,reset,server-fin,back-pressure,late-answers"
    done = check(to, "--skip", skipped, "--max-size", "200k")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"PASS  connect        to {to[4:]} in ")
    assert lines[1].startswith("PASS  echo           what is sent comes back, prefix 'Sending: ' (")
    counts = {
        kind: sum(line.startswith(kind) for line in lines) for kind in ("PASS", "INFO", "SKIP")
    }
    assert sum(counts.values()) == len(lines) - 1
    assert min(counts.values()) >= 2
    rest = f"{counts['INFO']} for information, {counts['SKIP']} skipped"
    assert lines[-1] == f"{to}: ok: {counts['PASS']} passed, 0 failed, {rest}"


def test_a_failure_is_status_1_and_the_rest_is_skipped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
    done = check(endpoint, "--only", "connect,order")
    assert (done.returncode, done.stderr) == (1, "")
    assert "ECONNREFUSED" in done.stdout.splitlines()[0]
    assert "SKIP  order          no connection" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{endpoint}: NOT OK: 0 passed, 1 failed, 1 skipped"


def test_a_check_that_skips_all_says_that_nothing_was_tested(to: str) -> None:
    done = check(to, "--only", "tls")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith(f"{to}: nothing was tested: 0 passed")


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_prints_what_was_found(to: str, as_json: bool) -> None:
    process = Process([*COMMAND, to, "--only", "connect,idle", *["--json"] * as_json])
    try:
        if as_json:
            wait_for_connections(process.pid, 3)
        else:
            process.wait_line("PASS  connect")
        process.signal(signal.SIGINT)
        assert process.wait() == 130
        text = "\n".join(process.lines)
    finally:
        process.close()
    if as_json:
        result = json.loads(text)
        assert (result["ok"], result["interrupted"]) == (False, True)
        assert [probe["name"] for probe in result["probes"]] == ["connect"]
    else:
        assert text.splitlines()[1:] == [f"{to}: interrupted: 1 passed, 0 failed"]


def wait_for_connections(pid: int, count: int) -> None:
    """Until a process has so many sockets: the idle probe's."""

    wait_until(lambda: sum(link.startswith("socket:") for link in open_files(pid)) >= count)


def open_files(pid: int) -> Iterator[str]:
    """What the descriptors of a process are of; it may close some while this looks."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield os.readlink(path)


def test_a_standard_output_that_takes_nothing_is_reported(to: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, to, "--only", "connect"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=LIMIT, env=environment(),
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("echosvc: standard output: ENOSPC")
    assert done.stderr.count("\n") == 1


def test_on_a_terminal_the_running_probe_is_shown(to: str) -> None:
    """On standard error alone: standard output has the findings."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, to, "--only", "idle", "--idle", "0.3"],
        stdout=subprocess.PIPE, stderr=slave, text=True, env={**environment(), "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    end = threading.Timer(LIMIT, process.kill)
    end.start()
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:  # the end of a terminal
        pass
    out, _ = process.communicate(timeout=LIMIT)
    end.cancel()
    os.close(master)
    assert process.returncode == 0
    assert b"idle" in shown
    assert out.splitlines()[0].startswith("PASS  idle           survived 0.3 s")


def test_what_takes_long_is_named_beforehand_on_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not with --json, where a program reads; and nothing where nothing takes long."""
    words = ["--idle", "30,2", "--find-idle", "600", "--lifetime", "3600", "--max-size", "1G"]
    named = long_probes(parsed(*words))
    assert [name for name, _ in named] == ["sizes", "idle", "find-idle", "lifetime"]
    command.CheckOutput(io.BytesIO(), as_json=False).announce(named)
    command.CheckOutput(io.BytesIO(), as_json=False).announce(long_probes(parsed()))
    command.CheckOutput(io.BytesIO(), as_json=True).announce(named)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "echosvc: takes long (at most): sizes 53.7 s, idle 30 s, find-idle 600 s, lifetime 3600 s\n"
    )


_SERVER_IMPORTS = """
import sys
import twisted.plugins.echosvc_plugin, echosvc.cli.twistd
from echosvc import EchoFactory, EchoService
wrong = [name for name in sys.modules if name.startswith(("echosvc.probe", "rich"))]
others = ("echosvc.faults.relay", "echosvc.testing", "pytest")
wrong += [name for name in others if name in sys.modules]
sys.exit(" ".join(wrong) or 0)
"""


def test_a_server_imports_no_probe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SERVER_IMPORTS], capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stderr) == (0, "")


_WITHOUT_EXTRAS = """
import sys
sys.modules["rich"] = None
from echosvc.__main__ import main
sys.argv[1:] = ["check", sys.argv[1], "--only", "rtt,order"]
sys.exit(main())
"""


def test_without_the_extra_every_probe_is_made(to: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_EXTRAS, to],
        capture_output=True, text=True, timeout=LIMIT, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"^INFO  rtt            200 trips: min \S+ \S+, median \S+ \S+, 90 % \S+ \S+, 99 % \S+ \S+,"
        r" max \S+ \S+; with Nagle's algorithm, in two writes: 200 trips: min ",
        done.stdout,
        re.MULTILINE,
    ), done.stdout


def test_the_fixtures_are_enabled_by_one_line(tmp_path: Path) -> None:
    """In the ``conftest.py`` of somebody who has nothing else of this project."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["echosvc.testing"]\n')
    tests = (ROOT / "tests/integration/testing/test_fixtures.py").read_text("utf-8")
    (tmp_path / "test_client.py").write_text(tests.replace("pytest_plugins =", "_ ="))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        capture_output=True, text=True, timeout=2 * LIMIT, env=environment(), cwd=tmp_path,
    )  # fmt: skip
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE), done.stdout + done.stderr
