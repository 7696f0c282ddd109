"""``echosvc load`` on a reactor that runs: what it prints, its exit status, wrong options."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from echosvc import EchoFactory
from echosvc.cli import load as command
from echosvc.cli import main as cli
from echosvc.cli.commands import parser
from echosvc.endpoints import client_endpoint
from tests.support.reactor import serving, turn, within

#: However busy the machine is.
ANY_GENERATOR = ("--max-send-lag", "1000", "--max-cpu-wait", "1")


class BorrowedReactor:
    """The reactor of this process, but its clock, and what is to be done before it ends."""

    def __init__(self) -> None:
        self.seconds, self.before_shutdown = reactor.seconds, []

    def addSystemEventTrigger(self, phase: str, event: str, function: Any, *values: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.before_shutdown.append(partial(function, *values))

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


def loading(borrowed: BorrowedReactor, endpoint: str, *words: str) -> Deferred[int]:
    """Begin a load; fires with its exit status."""
    args = parser().parse_args(["load", endpoint, *ANY_GENERATOR, *words])
    args.command_line = "echosvc load"
    running = command.run(args, borrowed, client_endpoint(borrowed, endpoint))
    return within(Deferred.fromCoroutine(running))


@pytest_twisted.ensureDeferred
async def test_text_and_reports_are_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    page, log = tmp_path / "a.html", tmp_path / "a.hdr"
    async with serving(EchoFactory(log="quiet")) as (host, port):
        words = "--rate", "100", "--duration", "300ms", "--report", str(page), "--hdr", str(log)
        assert await loading(BorrowedReactor(), f"tcp:{host}:{port}", *words) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith(f"tcp:{host}:{port}: OK\n")
    assert "30 sent, 30 answered, 0 lost" in out
    assert "<html" in page.read_text("utf-8")
    assert "Tag=corrected," in log.read_text("utf-8")


@pytest_twisted.ensureDeferred
async def test_json_is_one_object_and_nothing_else(capfd: pytest.CaptureFixture[str]):
    async with serving(EchoFactory(log="quiet")) as (host, port):
        words = "--rate", "100", "--duration", "200ms", "--seed", "7", "--json"
        assert await loading(BorrowedReactor(), f"tcp:{host}:{port}", *words) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert err == ""
    assert (found["verdict"], found["ok"], found["why"]) == ("OK", True, "")
    assert found["messages"] == {
        "sent": 20, "answered": 20, "lost": 0, "duplicated": 0, "reordered": 0, "damaged": 0,
        "late": 0,
    }  # fmt: skip
    assert found["errors"] == {"refused": 0, "reset": 0, "fin": 0, "timeout": 0, "mismatch": 0}
    assert found["result"]["run"]["shards"] == [[7, 0, 1]]


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_is_status_1_and_json_as_always(
    capfd: pytest.CaptureFixture[str],
):
    assert await loading(BorrowedReactor(), "tcp:127.0.0.1:1", "--json") == 1
    found = json.loads(capfd.readouterr().out)
    assert (found["verdict"], found["errors"]["refused"]) == ("FAIL", 1)
    assert found["why"].startswith("no connection to 127.0.0.1:1: ECONNREFUSED")
    assert found["messages"]["sent"] == 0


@pytest_twisted.ensureDeferred
async def test_what_was_found_until_a_stop_is_printed_once(capfd: pytest.CaptureFixture[str]):
    borrowed = BorrowedReactor()
    async with serving(EchoFactory(log="quiet")) as (host, port):
        done = loading(borrowed, f"tcp:{host}:{port}", "--rate", "50", "--duration", "60", "--json")
        await turn(0.3)
        (interrupt,) = borrowed.before_shutdown
        interrupt()
        out, _ = capfd.readouterr()
        assert json.loads(out)["ok"] is False
        assert await done == 130
    assert capfd.readouterr().out == ""


@pytest_twisted.ensureDeferred
async def test_a_sweep_prints_each_rate_and_the_highest_that_keeps_the_objective(
    capfd: pytest.CaptureFixture[str],
):
    async with serving(EchoFactory(log="quiet")) as (host, port):
        words = "--sweep", "50-100", "--slo", "max<500s", "--duration", "100ms"
        assert await loading(BorrowedReactor(), f"tcp:{host}:{port}", *words) == 0
    out, _ = capfd.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["50/s", "100/s"]
    assert lines[2] == "the highest rate that keeps max<500s is 100 messages a second"


@pytest_twisted.ensureDeferred
async def test_a_sweep_without_a_rate_that_keeps_it_is_status_1(capfd: pytest.CaptureFixture[str]):
    async with serving(EchoFactory(log="quiet")) as (host, port):
        words = "--sweep", "50-100", "--slo", "p99<1us", "--duration", "100ms"
        assert await loading(BorrowedReactor(), f"tcp:{host}:{port}", *words) == 1
    assert "no rate that was tried keeps" in capfd.readouterr().out


WRONG = [
    ("--rate 0", "--rate"), ("--rate x", "--rate"), ("--rate 1e400", "--rate"),
    ("--size 8", "--size must be a whole number from 16"),
    ("--size 64-1G", "--size must be at most"), ("--size 64-32", "--size"), ("--size 1T", "--size"),
    ("--size 64-", "--size"), ("--depth 0", "--depth"),
    ("--shard 2/1", "--shard"), ("--shard 1/2", "--shard needs --seed"),
    ("--shard half", "--shard"),
    ("--start-at yesterday", "--start-at"), ("--start-at 1", "--start-at"),
    ("--start-at 99999999999", "--start-at"), ("--start-at 1e9", "--start-at"),
    ("--warmup 10", "--warmup must be shorter than --duration"),
    ("--arrivals poisson", "--arrivals"),
    ("--duration 0", "--duration"), ("--duration 10x", "--duration"),
    ("--duration 40000h", "--duration"), ("--grace=-1", "--grace"),
    ("--connections 1e3", "--connections"), ("--connections 200000", "--connections"),
    ("--max-cpu-wait 140%", "--max-cpu-wait"), ("--max-send-lag 0", "--max-send-lag"),
    ("--max-send-lag 5", "--max-send-lag: only with --rate"),
    ("--max-cpu-wait 50% --max-send-lag 5", "--max-send-lag: only with --rate"),
    ("--seed -1", "--seed"), ("--framing x", "--framing"), ("--prefix {x}", "--prefix"),
    ("--sweep 1-2", "--sweep"), ("--slo p99<1ms", "--sweep"), ("--slo p99", "--slo"),
    ("--sweep 2-1 --slo p99<1ms", "--sweep"), ("--sweep 1-2 --slo p99<1ms --rate 5", "--rate"),
    ("--ca x", "--ca"), ("--hdr /nowhere/x", "--hdr"), ("--lifetime 0", "--lifetime"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "named"), WRONG, ids=[words for words, _ in WRONG])
def test_a_wrong_option_is_named_in_one_line(words, named, capfd):
    with pytest.raises(SystemExit) as exited:
        raise SystemExit(cli.main(["load", "127.0.0.1:1", *words.split()]))
    assert exited.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("echosvc: ")
    assert named in err
    assert err.count("\n") == 1
