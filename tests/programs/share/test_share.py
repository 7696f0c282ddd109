"""Shares through HAProxy are what its weights say, and docs/share.md was written by it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.programs.share.__main__ import DOCUMENT, written
from tests.programs.share.paths import later, share, split

pytestmark = pytest.mark.programs
SPLIT = ("--expect", "v1=80±5,v2=20±5")


def found(*words: str, status: int = 0) -> dict[str, Any]:
    done = share(*words, "--json")
    assert (done.returncode, done.stderr) == (status, "")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_weights_of_80_and_20_pass_and_70_and_30_fail() -> None:
    with split() as path:
        passed = found(path.endpoint, *SPLIT)
        assert passed["verdict"] == "pass"
        assert 1000 < passed["connections"]["counted"] < 3000
        failed = found(path.endpoint, "--expect", "v1=60±5,v2=40±5", status=1)
        assert failed["connections"]["counted"] < passed["connections"]["counted"]


def test_a_dead_server_fails_though_the_other_one_s_share_is_right() -> None:
    with split(dead=True) as path:
        failed = found(path.endpoint, *SPLIT, status=1)
    assert failed["shares"]["v2"]["count"] == 0
    assert failed["connections"]["failed"] > 0
    assert failed["connections"]["failed"] == sum(
        each["count"] for each in failed["failures"].values()
    )


@pytest.mark.slow
def test_a_change_of_the_weights_is_found_at_its_time() -> None:
    moments: list[str] = []

    def change() -> None:
        moments.append(now())
        path.set_weights(0, 100)
        moments.append(now())

    with split() as path, later(5.0, change):
        result = found(path.endpoint, "--watch", "12", "--rate", "100")
    (change_found,) = result["changes"]
    assert change_found["earliest"] <= moments[1]
    assert change_found["latest"] >= moments[0]
    assert change_found["after"]["counts"].get("v2", 0) > 100


def now() -> str:
    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def test_pods_of_the_gateway_api_are_named_through_it() -> None:
    with split("--dialect", "gateway-api", prefixes=False) as path:
        words = ("--dialect", "gateway-api", "--identity", "^(v.)-", "--connections", "100")
        result = found(path.endpoint, *words)
    assert {name: each["count"] for name, each in result["shares"].items()} == {"v1": 80, "v2": 20}


def test_every_block_of_the_document_is_written() -> None:
    page = DOCUMENT.read_text("utf-8")
    names = ("configuration", "shares", "pass", "fail", "watch", "dead", "gateway-api")
    changed = written(page, dict.fromkeys(names, "\n    x\n\n"))
    assert changed.count("\n    x\n") == len(names) == page.count("<!-- begin ")
