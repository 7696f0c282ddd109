"""A soak through HAProxy: a reload is no gap, and a kill is one of the right length."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from echosvc.probe.soak.timeline import SAME_MOMENT
from tests.programs.soak.haproxy import HAProxy, haproxy_before, soaking
from tests.programs.soak.prober import Prober
from tests.support.lateness import Lateness
from tests.support.process import Serving, serving_alone
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.slow]

COUNT, INTERVAL = 10, 0.05
#: A silence is none here: a busy machine may be late by a second.
WORDS = ("--connections", str(COUNT), "--interval", str(INTERVAL), "--silence", "5")
#: By how much a figure may lie beyond its bounds, seconds, besides what the machine was late.
TOLERANCE = 0.05


@pytest.fixture
def server() -> Iterator[Serving]:
    with serving_alone("--log", "quiet", "--prefix", "v1 ") as it:
        yield it


@pytest.fixture
def proxy(server: Serving) -> Iterator[HAProxy]:
    with haproxy_before(server.port) as it:
        yield it


def test_a_reload_is_no_gap_for_connections_that_live(proxy: HAProxy) -> None:
    with soaking(proxy.port, *WORDS) as soak:
        soak.wait_for("open", COUNT)
        proxy.reload()
        old = proxy.processes[0]
        time.sleep(10 * INTERVAL)  # what is judged is what happens meanwhile
        assert old.popen.poll() is None
        result = soak.finish()
    assert result["ok"], result["why"]
    assert (result["gap_count"], result["breaks"]) == (0, 0)
    assert result["messages"]["answered"] == result["messages"]["sent"]
    old.wait()


def test_a_kill_is_a_gap_as_long_as_it_was_seen_from_outside(
    server: Serving, proxy: HAProxy
) -> None:
    """Both ends lie between what was done or seen before, and what was seen after."""
    with soaking(proxy.port, *WORDS) as soak:
        soak.wait_for("open", COUNT)
        late = Lateness(server.pid, soak.pid, proxy.processes[0].pid)
        kill = kill_and_start(proxy)
        late.add(proxy.processes[-1].pid)
        soak.wait_for("gap", COUNT)
        tolerance = TOLERANCE + late.seconds
        result = soak.finish()
    assert (result["breaks"], len(result["gaps"])) == (COUNT, COUNT)
    assert set(result["causes"]) <= {"fin", "reset"}
    (outage,) = result["outages"]
    judge(result["gaps"], outage, kill, tolerance)


@dataclass(frozen=True)
class Kill:
    """What was seen from outside; Unix time.

    :ivar before: a moment before the kill.
    :ivar after: a moment after all connections were closed.
    :ivar failed: a moment before the last question that nothing answered.
    :ivar answered: a moment after the first answer since.
    """

    before: float
    after: float
    failed: float
    answered: float


def kill_and_start(proxy: HAProxy) -> Kill:
    """Kill HAProxy, and start it once that was seen."""
    prober = Prober(proxy.port)
    before = time.time()
    proxy.kill()
    after = time.time()
    wait_until(lambda: prober.failed > after)
    proxy.start()
    wait_until(lambda: prober.seen)
    prober.finish()
    return Kill(before, after, prober.failed, prober.answered)


def judge(gaps: list[dict[str, Any]], outage: dict[str, Any], kill: Kill, tolerance: float) -> None:
    """Compare the figures of a soak with what was seen from outside."""
    began = [each["began"] for each in gaps]
    ended = [each["began"] + each["seconds"] for each in gaps]
    assert kill.before - tolerance < min(began) <= max(began) < kill.after + tolerance
    # An attempt waits for up to a tenth of the time without a connection.
    last = kill.answered + (kill.answered - kill.before) / 10
    assert kill.failed - tolerance < min(ended) <= max(ended) < last + tolerance
    assert kill.failed - kill.after - tolerance < outage["all_out"] < last - kill.before + tolerance
    assert outage["connections"] == COUNT
    # Gaps of one moment are; a machine that is late makes several of them.
    assert outage["together"] == COUNT or max(began) - min(began) > SAME_MOMENT + INTERVAL


def test_who_answers_before_and_after_an_upgrade_is_known(proxy: HAProxy) -> None:
    words = *WORDS, "--max-breaks", str(COUNT)
    newer = serving_alone("--log", "quiet", "--prefix", "v2 ")
    with newer as other, soaking(proxy.port, *words) as soak:
        soak.wait_for("open", COUNT)
        proxy.use(other.port)
        proxy.kill()
        proxy.start_and_wait()
        soak.wait_for("gap", COUNT)
        result = soak.finish()
    assert result["ok"], result["why"]
    assert result["servers"] == {"v1": COUNT, "v2": COUNT}
    assert {(gap["before"], gap["after"]) for gap in result["gaps"]} == {("v1", "v2")}


def test_a_backend_that_stands_still_is_a_silence_behind_a_proxy(
    server: Serving, proxy: HAProxy
) -> None:
    words = "--connections", "2", "--interval", "0.05", "--silence", "0.5", "--max-breaks", "0"
    with soaking(proxy.port, *words) as soak:
        soak.wait_for("open", 2)
        server.signal(signal.SIGSTOP)
        soak.wait_for("gap-began", 2)
        server.signal(signal.SIGCONT)
        soak.wait_for("gap", 2)
        result = soak.finish()
    assert result["ok"], result["why"]
    assert set(result["causes"]) == {"silence"}
    assert result["messages"]["lost"] == 0
