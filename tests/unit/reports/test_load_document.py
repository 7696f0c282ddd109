"""The result of a load as JSON: what it says, and that what is read back is the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.traffic.load_result import LoadResult
from echosvc.probe.traffic.merge import Shard
from echosvc.reports.load_document import DocumentError, load_document, load_json, read_loads
from tests.support.examples import examples
from tests.unit.reports.load_samples import NOON, OPTIONS, break_it, result, sweep, tally_of
from tests.unit.reports.samples import TEXTS

KEYS = (
    "schema", "endpoint", "options", "verdict", "why", "seconds", "messages", "messages_per_second",
    "bytes_per_second", "latency_us", "connect_us", "first_byte_us", "send_lag_us", "errors",
    "servers", "series", "ok", "result",
)  # fmt: skip
QUANTILES = {"p50", "p90", "p99", "p999", "p9999", "max"}


def read_one(text: str) -> LoadResult:
    (found,) = read_loads(text)
    return found


def test_the_document_has_exactly_these_keys() -> None:
    document = load_document(result())
    assert tuple(document) == KEYS
    assert tuple(document["messages"]) == (
        "sent", "answered", "lost", "duplicated", "reordered", "damaged", "late",
    )  # fmt: skip
    assert tuple(document["errors"]) == ("refused", "reset", "fin", "timeout", "mismatch")
    assert tuple(document["latency_us"]) == ("corrected", "uncorrected")
    summaries = [*document["latency_us"].values()]
    summaries += [document[key] for key in ("connect_us", "first_byte_us", "send_lag_us")]
    assert all(set(summary) == QUANTILES for summary in summaries)


def test_the_document_says_what_was_counted() -> None:
    found = result(break_it(tally_of(5)))
    document = load_document(found)
    assert (document["schema"], document["endpoint"]) == (1, "tcp:lb.example:9000")
    assert document["options"] == OPTIONS
    assert (document["verdict"], document["ok"]) == ("FAIL", False)
    assert document["why"].startswith("1 message was lost; ")
    assert document["messages"] == {
        "sent": 102, "answered": 100, "lost": 1, "duplicated": 1, "reordered": 1, "damaged": 1,
        "late": 1,
    }  # fmt: skip
    assert (document["errors"]["reset"], document["errors"]["refused"]) == (1, 1)
    assert (document["seconds"], document["messages_per_second"]) == (5.0, 20.0)
    assert document["bytes_per_second"] == 100 * 64 / 5
    assert document["latency_us"]["corrected"] == found.tally.corrected.summary()


def test_a_run_that_is_right_is_ok_and_one_that_was_ended_early_is_not() -> None:
    assert load_document(result())["ok"]
    assert not load_document(result(interrupted=True))["ok"]


def test_each_second_has_its_counts_and_latencies() -> None:
    found = result(break_it(tally_of(5)))
    series = load_document(found)["series"]
    assert [each["time"] for each in series] == [NOON + number for number in range(5)]
    assert [each["sent"] for each in series] == [20] * 5
    assert (series[-1]["wrong"], series[-1]["failed"]) == (5, 2)
    second = found.tally.series[int(NOON)]
    assert series[0]["p99_us"] == second.percentile(99)
    assert series[0]["max_us"] == second.largest
    assert max(each["max_us"] for each in series) == found.tally.corrected.largest


def test_the_document_of_a_sweep_has_its_rates_and_can_be_read_as_any_other() -> None:
    found = result()
    document = load_document(found, sweep())
    assert tuple(document) == (*KEYS, "sweep")
    times = [each.pop("latency_us") for each in document["sweep"]["steps"]]
    assert [each["corrected"]["p99"] for each in times] == [900, 9000]
    assert {tuple(each) for each in times} == {tuple(document["latency_us"])}
    assert document["sweep"] == {
        "objective": "p99<5ms",
        "why": "the highest rate that keeps p99<5ms is 100 messages a second",
        "best_rate": 100.0,
        "complete": True,
        "steps": [
            {"rate": 100.0, "kept": True, "verdict": "OK", "why": ""},
            {"rate": 400.0, "kept": False, "verdict": "OK", "why": ""},
        ],
    }
    assert read_one(load_json(found, sweep())) == found


def test_a_document_is_one_line_of_json_without_nan() -> None:
    text = load_json(result(endpoint="tcp:h:1\n\u2028"))
    assert (text.count("\n"), text[-1], text.isascii()) == (1, "\n", True)
    assert json.loads(text)["endpoint"] == "tcp:h:1\n\u2028"


@given(st.integers(0, 50), st.integers(1, 3), TEXTS, st.booleans())
@examples(24)
def test_what_is_read_is_what_was_written(seed: int, rate: int, text: str, wrong: bool) -> None:
    tally = tally_of(2, rate, seed)
    if wrong:
        break_it(tally)
        tally.errors[text] += 1
    found = result(tally, endpoint=text, seconds=1.5 + seed, interrupted=wrong, failure=text)
    assert read_one(load_json(found)) == found
    assert load_json(read_one(load_json(found))) == load_json(found)


def test_several_documents_are_read_as_lines_one_behind_the_other_or_from_a_list() -> None:
    one, other = result(), result(shards=(Shard(7, 1, 2),))
    texts = [load_json(each) for each in (one, other)]
    assert list(read_loads("".join(texts))) == [one, other]
    assert list(read_loads("\n\n".join(texts) + "\n ")) == [one, other]
    pretty = "".join(json.dumps(json.loads(text), indent=2) for text in texts)
    assert list(read_loads(pretty)) == [one, other]
    assert list(read_loads(f"[{','.join(texts)}]")) == [one, other]
    assert read_one(f"\ufeff{texts[0]}") == one


def test_what_is_cut_short_is_refused_wherever_it_was_cut() -> None:
    text = load_json(result())
    for end in range(1, len(text) - 1, 97):
        with pytest.raises(DocumentError) as raised:
            list(read_loads(text[:end]))
        assert "\n" not in str(raised.value)
    with pytest.raises(DocumentError, match="cut short: it ends in line 1"):
        list(read_loads(text[: len(text) // 2]))


TEXT = load_json(result(break_it(tally_of(2, 3))))


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 9), st.text(max_size=9))
@examples(120)
def test_a_document_that_was_damaged_is_read_or_refused(at: int, size: int, text: str) -> None:
    """It may still be one: a digit of a count is another one."""
    with suppress(DocumentError):
        for found in read_loads(TEXT[:at] + text + TEXT[at + size :]):
            assert load_json(found)


def changed(*path: str, value: Any) -> str:
    document = load_document(result())
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no result in it"),
        (" \n", "there is no result in it"),
        ("[]", "there is no result in it"),
        ("hello", "no JSON: Expecting value at line 1, column 1"),
        ("{}", "no result of echosvc load"),
        ("7", "no result of echosvc load"),
        ('{"schema": 1, "endpoint": "tcp:h:1", "probes": []}', "no result of echosvc load"),
        ("[" * 100_000, "nested too deeply|cut short"),
        ("1" * 10_000, "digits"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number of JSON"),
        (changed("schema", value=2), "a result of format 2, not 1"),
        (changed("schema", value="1"), "its format is no number: '1'"),
        (changed("schema", value=True), "its format is no number: True"),
        (changed("schema", value=None), "it does not say of which format it is"),
        (changed("schema", value="x" * 9999), "its format is no number: 'xxx"),
        (changed("result", value=None), "the result is damaged: result: no object: None"),
        (changed("result", value={}), "the result is damaged: result.run: it is missing"),
        (changed("result", "generator", value={"at_rate": True}),
         "damaged: result.generator.cpu_share: it is missing"),
        (changed("result", "run", "tally", "counters", value=[]), "tally.counters: no object"),
        (changed("result", "run", "tally", "series", value={"x": []}), "tally.series: no whole"),
        (changed("result", "run", "tally", "series", value={"7": [1]}), "series.7: no list of 6"),
        (changed("result", "run", "tally", "gaps", "longest", value=[[1]]), "longest.1: no list"),
        (changed("result", "bounds", value=7), "result.bounds: no list of 2 items: 7"),
        (changed("result", "seconds", value="1"), "no number"),
        (changed("result", "seconds", value=1e300), "no number"),
        (changed("result", "seconds", value=-1), "no number from 0"),
        (changed("result", "generator", "cpu_share", value=True), "no number"),
        (changed("result", "run", "tally", "counters", "sent", value=1 << 60), "no count"),
        (changed("result", "run", "tally", "histograms", "connect", "hdr", value="x"), "no hist"),
        (changed("result", "run", "shards", value=[[7, 5, 2]]), "no shard"),
        (changed("result", "run", "shards", value=[[7, 0, 0]]), "no shard"),
        (changed("result", "run", "shards", value=[]), "no shard"),
        (changed("result", "interrupted", value="no"), "neither true nor false"),
        (changed("result", "invalid", value="late"), "no list"),
        (changed("result", "spans", value=[[7, 1.0]]), "spans.1: no list of 4"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(DocumentError, match=why) as raised:
        list(read_loads(text))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in items if isinstance(value, (dict, list)) else ():
        yield (*path, name)
        yield from places(inner, (*path, name)) if isinstance(inner, (dict, list)) else ()


def what_is_said_of(text: str) -> str:
    """Why a document is refused; "": it is read."""
    try:
        return "".join(load_json(found) for found in read_loads(text))[:0]
    except DocumentError as error:
        return str(error)


PLACES = list(places({"schema": 1, "result": json.loads(TEXT)["result"]}))
#: What Python says of a value of a wrong kind.
PYTHON = r"Error|object is|object cannot|indices|unpack|literal|argument|subscript|fromhex"


WRONG_KINDS: list[Any] = [None, "x", "1", [], {}, -1, 1.5, True, [[]], 1 << 52]


@given(st.sampled_from(PLACES), st.sampled_from(WRONG_KINDS))
@examples(120)
def test_a_part_that_is_missing_or_of_a_wrong_kind_is_said_in_words(
    path: tuple[Any, ...], value: Any
) -> None:
    for take_away in (True, False):
        document = json.loads(TEXT)
        inner = document
        for name in path[:-1]:
            inner = inner[name]
        if take_away:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        assert not re.search(PYTHON, what_is_said_of(json.dumps(document)))


def test_a_number_that_is_too_large_for_a_float_is_refused() -> None:
    text = load_json(result()).replace('"seconds":5.0', '"seconds":1e999')
    with pytest.raises(DocumentError, match="no number"):
        list(read_loads(text))
    assert math.isinf(json.loads(text)["seconds"])


def test_the_error_says_which_of_several_results_is_none() -> None:
    with pytest.raises(DocumentError, match=r"^result 2 of 2: no result of echosvc load$"):
        list(read_loads(load_json(result()) + "{}"))
