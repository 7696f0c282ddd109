"""A load through HAProxy before two servers with different prefixes is no damage."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.programs.paths.programs import through_relay
from tests.programs.share.paths import Split, split
from tests.support.process import ECHOSVC, environment
from tests.support.waiting import LIMIT

pytestmark = [pytest.mark.programs, pytest.mark.slow]

#: However busy the machine is.
ANY_GENERATOR = ("--max-cpu-wait", "1", "--grace", "30")


@pytest.fixture(scope="module")
def path() -> Iterator[Split]:
    with split() as it:
        yield it


def loaded(port: int, *words: str, status: int = 0) -> dict[str, Any]:
    """The result of a load of twenty connections."""
    command = [*ECHOSVC, "load", f"tcp:127.0.0.1:{port}", "--connections", "20", "--json"]
    late = ("--max-send-lag", "1000") if "--rate" in words else ()
    done = subprocess.run(
        [*command, *ANY_GENERATOR, *late, *words],
        capture_output=True, timeout=3 * LIMIT, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (status, b""), (done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "words",
    ["", "--depth 4", "--rate 500", "--rate 500 --arrivals poisson", "--rate 500 --lifetime 300ms"],
)
def test_each_connection_is_verified_with_the_prefix_of_its_server(path: Split, words: str) -> None:
    found = loaded(path.port, "--duration", "1", *words.split())
    assert (found["verdict"], found["why"]) == ("OK", "")
    assert found["messages"]["sent"] == found["messages"]["answered"] > 0
    assert not any(found["errors"].values())
    assert set(found["servers"]) == {"v1:", "v2:"}
    counters = found["result"]["run"]["tally"]["counters"]
    assert sum(found["servers"].values()) == counters["connections"]
    if "--lifetime" not in words:
        assert found["servers"]["v1:"] == 4 * found["servers"]["v2:"]  # by the weights


def test_a_damaged_prefix_of_one_of_the_servers_is_still_found(path: Split) -> None:
    """Behind a relay that changes the second byte of the first reply the run ends at once."""
    with through_relay(path.port, flip=1) as port:
        found = loaded(port, status=1)
    assert (found["errors"]["mismatch"], found["messages"]["sent"]) == (1, 0)
    assert found["why"].startswith("the prefix changes from reply to reply")


def test_a_byte_that_is_changed_on_each_connection_damages_one_reply_of_each(path: Split) -> None:
    with through_relay(path.port, flip=5000) as port:
        found = loaded(port, "--rate", "2000", "--duration", "2", status=1)
    assert (found["errors"]["mismatch"], found["messages"]["damaged"]) == (20, 20)
