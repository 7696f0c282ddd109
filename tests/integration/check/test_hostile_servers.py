"""``check`` against servers that do wrong: a failure in words, never an error of its own."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from echosvc import check
from echosvc.probe.result import CheckResult
from echosvc.probe.validation import NAMES
from tests.support.hostile_servers import BRIEF, SERVERS, TIMEOUT, listening, server
from tests.support.process import ECHOSVC, environment
from tests.support.reactor import in_thread, no_faults, within
from tests.support.waiting import LIMIT


def assert_judged(result: CheckResult) -> None:
    """Every probe has one line, something failed, nothing took longer than it may."""
    names = [probe.name for probe in result.probes if probe.name in NAMES]
    optional = ("back-pressure", "lifetime")
    assert sorted(names) == sorted(name for name in NAMES if name not in optional)
    assert not result.ok
    assert not result.interrupted
    for probe in result.probes:
        assert probe.finding
        assert (probe.finding + probe.cause).isprintable()
        assert "internal" not in probe.finding
        assert probe.seconds < 6 * TIMEOUT + 15, probe
    assert any(probe.result == "fail" for probe in result.probes)


def with_mark(name: str) -> Any:
    """Mark as slow one that takes long, and all that differ little from the others.

    These end after another count than 1.
    """
    count = re.search(r"\d+", name)
    differs_little = count is not None and count[0] != "1"
    is_slow = differs_little or name == "mixes connections up"
    return pytest.param(name, marks=[pytest.mark.slow] * is_slow)


@pytest.mark.parametrize("name", [with_mark(name) for name in SERVERS])
@pytest_twisted.ensureDeferred
async def test_a_server_that_does_wrong_fails_in_words(name):
    with no_faults():
        async with listening(SERVERS[name]) as port:
            run = check(f"tcp:127.0.0.1:{port}", **BRIEF)
            result = await within(Deferred.fromCoroutine(run), 6 * LIMIT)
    assert_judged(result)


@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
@pytest_twisted.ensureDeferred
async def test_a_reset_while_nothing_is_read_is_said(size):
    with no_faults():
        async with listening(server("S", size=size + 2)) as port:
            settings = {**BRIEF, "skip": (), "only": ("back-pressure", "rtt")}
            run = check(f"tcp:127.0.0.1:{port}", **settings)
            result = await within(Deferred.fromCoroutine(run), 3 * LIMIT)
    assert [probe.name for probe in result.probes][-2:] == ["back-pressure", "rtt"]
    assert "fail" in {probe.result for probe in result.probes}


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_the_other_probes_go_on_after_a_failure():
    """The eleventh read of each connection is the last: few probes need so many."""
    async with listening(server("S", messages=11)) as port:
        run = check(f"tcp:127.0.0.1:{port}", **{**BRIEF, "max_size": 64})
        result = await within(Deferred.fromCoroutine(run), 3 * LIMIT)
    by_name = {probe.name: probe for probe in result.probes}
    assert by_name["messages"].result == "fail"
    assert "end by RST after 10 messages" in by_name["messages"].finding
    assert by_name["text"].result == "skip"
    assert by_name["half-close"].result == by_name["connections"].result == "pass"


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_the_command_says_so_in_lines_and_status_1():
    async with listening(SERVERS["resets after 4 messages"]) as port:
        words = [f"tcp:127.0.0.1:{port}", "--timeout", "0.5", "--max-size", "1k"]
        done = await in_thread(run_command, *words, "--skip", "back-pressure,idle")
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAIL  messages " in done.stdout
    assert "internal error" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("tcp:127.0.0.1:")


def run_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ECHOSVC, "check", *words],
        capture_output=True, text=True, timeout=4 * LIMIT, env=environment(),
    )  # fmt: skip
