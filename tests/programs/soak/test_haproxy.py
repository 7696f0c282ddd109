"""A soak through HAProxy: a reload is no gap, and a kill is one of the right length."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.programs.soak.haproxy import HAProxy, Prober, haproxy_before, soaking
from tests.support.process import Serving, serving_alone
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.slow]

COUNT, INTERVAL = 10, 0.05
#: A silence is none here: a busy machine may be late by a second.
WORDS = ("--connections", str(COUNT), "--interval", str(INTERVAL), "--silence", "5")
#: By how much a length may differ from the truth, seconds, besides what the machine is late.
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


def test_a_kill_is_a_gap_as_long_as_it_was_seen_from_outside(proxy: HAProxy) -> None:
    """On a busy machine soak, or what looks from outside, is late now and then."""
    assert any(is_seen_as_long_as_from_outside(proxy) for _ in range(3))


def is_seen_as_long_as_from_outside(proxy: HAProxy) -> bool:
    with soaking(proxy.port, *WORDS) as soak:
        soak.wait_for("open", COUNT)
        prober = Prober(proxy.port)
        killed = time.time()
        proxy.kill()
        dead = time.time()
        wait_until(lambda: prober.failed > dead)
        proxy.start()
        wait_until(lambda: prober.seen)
        soak.wait_for("gap", COUNT)
        prober.finish()
        result = soak.finish()
    assert result["breaks"] == COUNT
    assert set(result["causes"]) <= {"fin", "reset"}
    (outage,) = result["outages"]
    assert (outage["connections"], outage["together"]) == (COUNT, COUNT)
    tolerance, gaps = TOLERANCE + prober.late, result["gaps"]
    # The truth: from the kill to the first moment at which a new connection is answered.
    shortest = min(gap["seconds"] for gap in gaps)
    return (
        all(killed - tolerance < gap["began"] < dead + tolerance for gap in gaps)
        and prober.failed - dead - tolerance < shortest < prober.answered - killed + tolerance
        and abs(outage["all_out"] - (prober.answered - dead)) < tolerance + (dead - killed)
    )


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
