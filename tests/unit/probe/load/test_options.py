"""Options of a load: what makes sense is taken, and each wrong value is named."""

from __future__ import annotations

from typing import Any

import pytest

from echosvc.probe.load.options import LoadOptions, LoadOptionsError
from echosvc.wire.template import Template

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"connections": 0}, "connections"),
    ({"connections": 1.5}, "connections"),
    ({"connections": True}, "connections"),
    ({"connections": 100_001}, "connections"),
    ({"size": 15}, "size"),
    ({"size": 16, "framing": "line"}, "size"),
    ({"size": 16 * 1024 * 1024 + 1}, "size"),
    ({"size": 64, "max_size": 63}, "max_size"),
    ({"max_size": 1 << 30}, "max_size"),
    ({"depth": -1}, "depth"),
    ({"duration": 0}, "duration"),
    ({"duration": float("nan")}, "duration"),
    ({"duration": "1"}, "duration"),
    ({"rate": -1}, "rate"),
    ({"rate": float("inf")}, "rate"),
    ({"connect_rate": -1.0}, "connect_rate"),
    ({"lifetime": -1.0}, "lifetime"),
    ({"warmup": 10}, "warmup"),
    ({"grace": -1}, "grace"),
    ({"timeout": 0}, "timeout"),
    ({"max_send_lag": 0}, "max_send_lag"),
    ({"max_cpu_wait": 1.1}, "max_cpu_wait"),
    ({"seed": -1}, "seed"),
    ({"seed": 1 << 63}, "seed"),
    ({"shard": (0, 1)}, "shard"),
    ({"shard": (3, 2), "seed": 1}, "shard"),
    ({"shard": 1}, "shard"),
    ({"shard": (1, 2)}, "shard needs seed"),
    ({"shard": (1, 11), "seed": 1}, "shard: 11 shards of 10 connections"),
    ({"start_at": "now"}, "start_at"),
    ({"framing": "packets"}, "framing"),
    ({"framing": None}, "framing"),
    ({"arrivals": "bursts", "rate": 1}, "arrivals"),
    ({"arrivals": "poisson"}, "arrivals is for a run with rate"),
    ({"prefix": "Sending: "}, "prefix"),
]


@pytest.mark.parametrize(("options", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_option_is_named(options, named):
    with pytest.raises(LoadOptionsError) as raised:
        LoadOptions(**options)
    assert str(raised.value).startswith(named)
    assert "\n" not in str(raised.value)


def test_the_shards_have_each_connection_once():
    shares = [LoadOptions(connections=11, seed=1, shard=(index, 3)).share for index in (1, 2, 3)]
    assert sorted(place for share in shares for place in share) == list(range(11))


def test_what_shards_share_is_described_and_nothing_else():
    one = LoadOptions(rate=5.0, seed=1, shard=(1, 2), start_at=1.0, max_send_lag=1.0)
    other = LoadOptions(rate=5.0, seed=2, shard=(2, 2), max_cpu_wait=1.0)
    assert one.describe() == other.describe()
    assert one.describe() != LoadOptions(rate=6.0).describe()
    prefixed = LoadOptions(prefix=Template.parse("{hostname}: "))
    assert prefixed.describe()["prefix"] == "{hostname}: "
