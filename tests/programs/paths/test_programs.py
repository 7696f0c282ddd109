"""``echosvc check`` through real programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.programs.paths.programs import (
    TIME_OUT,
    check,
    found,
    through_haproxy,
    through_nginx,
    through_socat,
)
from tests.support.process import Server, running

pytestmark = pytest.mark.programs

#: Without what takes long by its nature.
FAST = ("--skip", "idle,reset", "--max-size", "1M")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--log", "quiet", "--listen", "tcp:0:interface=127.0.0.1") as it:
        yield it


def test_haproxy_is_clean_and_its_idle_time_out_is_found_in_one_command(server):
    with through_haproxy(server.port) as port:
        probes = found(port, *FAST, "--find-idle", "60")
    cut = probes.pop("find-idle")
    assert cut["idle_seconds"] == pytest.approx(TIME_OUT, rel=0.1)
    assert cut["how"] == "FIN"
    assert "fail" not in {probe["result"] for probe in probes.values()}


def test_haproxy_with_a_shorter_time_out_than_asked_for_fails(server):
    with through_haproxy(server.port, 2) as port:
        done = check(port, "--only", "idle", "--idle", "1,3")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL  idle           survived 1 s; not 3 s: FIN after 2")


def test_nginx_closes_both_directions_at_fin_unless_told_otherwise(server):
    with through_nginx(server.port) as port:
        for _ in range(4):  # every time
            assert found(port, "--only", "half-close")["half-close"]["result"] == "fail"
    with through_nginx(server.port, "proxy_half_close on;") as port:
        assert "fail" not in {probe["result"] for probe in found(port, *FAST).values()}


def test_socat_that_waits_after_a_fin_is_clean(server):
    with through_socat(server.port) as port:
        assert "fail" not in {probe["result"] for probe in found(port, *FAST).values()}


def test_haproxy_with_a_proxy_header_that_nobody_expects(server):
    with through_haproxy(server.port) as port:
        probes = found(port, "--only", "echo", "--send-proxy", "v1")
    assert probes["echo"]["result"] == "fail"
    assert (
        "the PROXY header came back like a message: 'Sending: PROXY TCP4"
        in (probes["echo"]["finding"])
    )
