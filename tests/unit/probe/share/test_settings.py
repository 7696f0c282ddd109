"""Settings that make no sense are refused in one line."""

from __future__ import annotations

import math
from typing import Any

import pytest

from echosvc.probe.share.expectation import ExpectationError, parse_expectations
from echosvc.probe.share.settings import (
    MOST_TO_DECIDE,
    MOST_TO_SHOW,
    WATCH_RATE,
    ShareSettings,
    ShareSettingsError,
    validate,
)
from echosvc.probe.share.source_ports import SourcePorts
from echosvc.wire.template import Template

EXPECTED = parse_expectations("v1=80±5")
WRONG: tuple[dict[str, Any], ...] = (
    {"dialect": "http"},
    {"dialect": None},
    {"framing": "lines"},
    {"framing": 1},
    {"prefix": "text"},
    {"identity": "("},
    {"identity": 3},
    {"connections": -1},
    {"connections": 1.5},
    {"connections": True},
    {"concurrency": 0},
    {"concurrency": 1_001},
    {"rate": -1},
    {"rate": math.nan},
    {"rate": "1"},
    {"timeout": 0},
    {"timeout": math.inf},
    {"watch": -1.0},
    {"watch": 1e9},
    {"source_ports": 5},
    {"source_ports": (5,)},
    {"source_ports": (0, 5)},
    {"source_ports": (9, 5)},
    {"source_ports": (1, 65536)},
    {"source_ports": ("1", "2")},
    {"dialect": "istio", "prefix": Template.literal(b"")},
    {"dialect": "gateway-api", "framing": "line"},
)


@pytest.mark.parametrize("settings", WRONG, ids=lambda each: "-".join(each))
def test_what_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ShareSettingsError) as caught:
        validate(ShareSettings(**settings))
    assert str(caught.value).isprintable()


def test_expectations_are_checked_too() -> None:
    with pytest.raises(ExpectationError):
        validate(ShareSettings(expect=EXPECTED * 2))


def test_the_defaults_make_sense() -> None:
    validate(ShareSettings())
    validate(ShareSettings(expect=EXPECTED, source_ports=(1, 65535), watch=60, identity="v."))


def test_how_many_connections_are_opened_depends_on_what_is_asked() -> None:
    assert ShareSettings().most_connections == MOST_TO_SHOW
    assert ShareSettings(expect=EXPECTED).most_connections == MOST_TO_DECIDE
    assert ShareSettings(expect=EXPECTED, connections=7).most_connections == 7
    assert ShareSettings(watch=60.0).most_connections == 0
    assert ShareSettings(watch=60.0).most_a_second == WATCH_RATE
    assert ShareSettings(watch=60.0, rate=7.0).most_a_second == 7.0
    assert ShareSettings().most_a_second == 0.0


def test_each_port_is_used_once_before_it_is_used_again() -> None:
    ports = SourcePorts((10, 19))
    taken = [ports.take() for _ in range(10)]
    assert sorted(taken) == list(range(10, 20))
    assert not ports.available
    ports.put_back(taken[3])
    assert ports.available
    assert ports.take() == taken[3]


def test_without_a_range_the_system_chooses() -> None:
    ports = SourcePorts(None)
    assert [ports.take() for _ in range(3)] == [0, 0, 0]
    ports.put_back(0)
    assert ports.available
