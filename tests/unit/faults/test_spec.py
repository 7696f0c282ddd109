"""The language of faults: one meaning in text, in JSON and in Python, and errors that say where."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from echosvc.faults.spec import FaultSpec, FaultSpecError, as_specs
from echosvc.faults.vocabulary import KINDS
from tests.support.faults import specs

#: A text, and the same fault in Python, in JSON; the text is as it is written.
FORMS: tuple[tuple[str, FaultSpec, dict[str, object]], ...] = (
    (
        "latency=100ms,jitter=20ms,direction=up",
        FaultSpec("latency", time=0.1, jitter=0.02, direction="up"),
        {"fault": "latency", "time": 0.1, "jitter": 0.02, "direction": "up"},
    ),
    ("rate=64k", FaultSpec("rate", bytes=65536), {"fault": "rate", "bytes": 65536}),
    (
        "stall=forever,at=1000",
        FaultSpec("stall", time=math.inf, at=1000),
        {"fault": "stall", "time": "forever", "at": 1000},
    ),
    (
        "reset,messages=3,reply=middle,connection=2",
        FaultSpec("reset", messages=3, reply="middle", connection=2),
        {"fault": "reset", "messages": 3, "reply": "middle", "connection": 2},
    ),
    (
        "insert=<a\\x2c\\n\\xff>,at=5,peers=10.0.0.0/8+::1",
        FaultSpec("insert", data=b"<a,\n\xff>", at=5, peers=["10.0.0.0/8", "::1"]),
        {
            "fault": "insert",
            "data": "<a\\x2c\\n\\xff>",
            "at": 5,
            "peers": ["10.0.0.0/8", "::1"],
        },
    ),
    (
        "close,after=1.5s,share=0.25,start=2s,stop=60s",
        FaultSpec("close", after="1500ms", share="25%", start=2, stop="1m"),
        {"fault": "close", "after": 1.5, "share": 0.25, "start": 2.0, "stop": 60.0},
    ),
    ("none", FaultSpec(), {"fault": "none"}),
)


@pytest.mark.parametrize(("text", "spec", "document"), FORMS)
def test_a_fault_is_the_same_in_text_in_python_and_in_json(
    text: str, spec: FaultSpec, document: dict[str, object]
) -> None:
    assert str(spec) == text
    assert FaultSpec.parse(text) == FaultSpec.from_json(document) == spec
    assert FaultSpec.from_json(text) == spec
    assert spec.to_json() == document
    assert hash(FaultSpec.parse(text)) == hash(spec)


@given(specs())
@example(FaultSpec("latency", time=1e-7))
@example(FaultSpec("latency", time=0.1 + 0.2, jitter=2592000.0))
@example(FaultSpec("insert", data=bytes(range(256))))
def test_what_is_printed_is_read_as_the_same_fault(spec: FaultSpec) -> None:
    again = FaultSpec.parse(str(spec))
    assert (again, dict(again.values)) == (spec, dict(spec.values))
    assert "\n" not in str(spec)
    assert str(spec).isprintable()


@given(specs())
def test_json_is_read_as_the_same_fault(spec: FaultSpec) -> None:
    document = json.loads(json.dumps(spec.to_json(), allow_nan=False))
    assert dict(FaultSpec.from_json(document).values) == dict(spec.values)


#: Texts that are no faults, and the error: the character where it is, and what.
WRONG: tuple[tuple[str, str], ...] = (
    ("", "character 1: a fault begins with its kind: latency, rate, "),
    ("latancy=1s", "character 1: there is no fault 'latancy': the faults are latency, rate, "),
    (" latency=1s", "character 1: there is no fault ' latency'"),
    ("latency=5x", "character 9: time must be a time such as 1.5s, "),
    ("latency=-1s", "character 9: time must be a time"),
    ("latency=forever", "character 9: time must be a time"),
    ("latency=31d", "character 9: time must be a time"),
    ("latency=9999h", "character 9: time must be a time such as 1.5s, 500ms or 10m, at most 30 "),
    ("latency=1s,jitter", "character 12: NAME=VALUE is expected, not 'jitter'"),
    ("latency=1s,", "character 12: NAME=VALUE is expected, not ''"),
    ("latency=1s,delay=2s", "character 12: latency has no parameter 'delay': it has time, jitter"),
    ("latency=1s,jitter=1ms,jitter=2ms", "character 23: jitter is given twice"),
    ("latency=1s,time=1s", "character 12: time is given twice"),
    ("latency", "latency needs time: write latency=..."),
    ("latency=1s,start=2s,stop=2s", "stop must be later than start"),
    ("rate=0", "character 6: bytes must be a number of bytes a second such as 1000 or 64k, from 1"),
    ("close=5", "character 7: close has no value of its own"),
    ("close", "one of after, at and messages must be given"),
    ("close,at=5,after=1s", "one of after, at and messages must be given alone"),
    ("reset,at=5,reply=after", "reply needs messages"),
    ("reset,messages=1,direction=up", "direction is for at: messages are the client's"),
    ("fin=late", "late needs time"),
    ("fin=drop,time=1s", "time is for fin=late"),
    ("accept=refuse,first=2", "refuse concerns all clients, so first has no meaning"),
    ("drop=0,at=5", "character 6: size must be a number of bytes such as 1000 or 64k, at least 1"),
    ("swap=1G", "character 6: size must be a number of bytes such as 1000 or 64k, from 1 to 167"),
    ("insert=,at=5", "character 8: data must be text of at least one byte"),
    ("insert=a\\x1,at=5", "character 8: data must be text of at least one byte, in which \\n"),
    ("insert=\ud800", "character 8: data must be text of at least one byte"),
    ("latency=1s,share=0", "character 12: share must be a share such as 0.25 or 25%"),
    ("latency=1s,share=101%", "character 12: share must be a share such as 0.25 or 25%"),
    ("latency=1s,connection=0", "character 12: connection must be a whole number, from 1 to "),
    ("latency=1s,peers=10.0.0.1/8", "character 12: peers must be networks such as 10.0.0.0/8"),
    ("latency=1s,direction=left", "character 12: direction must be one of up, down, both, not 'l"),
    ("segments=5,variation=5", "variation must be less than size"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_an_error_says_in_one_line_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(FaultSpecError) as caught:
        FaultSpec.parse(text)
    assert str(caught.value).startswith(message)
    place = f"character {caught.value.place}: " if caught.value.place else ""
    assert str(caught.value).startswith(place)
    assert str(caught.value).isprintable()


@given(st.text(max_size=40) | st.tuples(st.sampled_from([*KINDS]), st.text()).map("=".join))
@example("latency=1s," + "x" * 10_000)
@example("rate=" + "9" * 10_000)
@example("latency=1e999")
def test_any_text_is_a_fault_or_an_error_of_one_line(text: str) -> None:
    error = ""
    try:
        FaultSpec.parse(text)
    except FaultSpecError as found:
        error = str(found)
    assert error.isprintable()
    assert len(error) < 500


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (5, 'a fault is an object with the member "fault", or its text'),
        ({"kind": "drop"}, 'a fault is an object with the member "fault", or its text'),
        ({"fault": 5}, 'a fault is an object with the member "fault", or its text'),
        ({"fault": "drop,at=5"}, "there is no fault 'drop,at=5'"),
        ({"fault": "drop", "size": 1.5}, "size must be a number of bytes such as 1000 or 64k"),
        ({"fault": "drop", "size": True}, "size must be a number of bytes"),
        ({"fault": "drop", "size": "1", "at": []}, "at must be a number of bytes"),
        ({"fault": "latency", "time": math.nan}, "time must be a time"),
        ({"fault": "latency", "time": math.inf}, "time must be a time"),
        ({"fault": "latency", "time": -0.1}, "time must be a time"),
        ({"fault": "insert", "data": [1]}, "data must be text"),
        ({"fault": "insert", "data": ""}, "data must be text"),
        ({"fault": "none", "peers": [5]}, "peers must be networks"),
        ({"fault": "none", "peers": []}, "peers must be networks"),
        ({"fault": "none", "at": 5}, "none has no parameter 'at'"),
    ],
)
def test_an_error_in_json_names_the_member(document: Any, message: str) -> None:
    with pytest.raises(FaultSpecError) as caught:
        FaultSpec.from_json(document)
    assert str(caught.value).startswith(message)
    assert caught.value.place == 0


def test_a_value_of_text_and_keywords_may_be_given_once() -> None:
    assert FaultSpec("drop=1", at="1k") == FaultSpec.parse("drop=1,at=1024")
    with pytest.raises(FaultSpecError, match=r"^size is given twice$"):
        FaultSpec("drop=1", size=2)


def test_faults_are_taken_in_any_form() -> None:
    drop = FaultSpec("drop=1")
    assert as_specs(None) == as_specs("none") == as_specs(FaultSpec()) == as_specs([]) == ()
    assert as_specs("drop=1") == as_specs(drop) == as_specs([drop, "none"]) == (drop,)
    assert as_specs(["rate=1k", drop]) == (FaultSpec("rate", bytes=1024), drop)


def test_a_fault_does_not_change() -> None:
    spec = FaultSpec("drop=1")
    with pytest.raises(TypeError):
        spec.values["size"] = 2  # type: ignore[index]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_what_it_does(name: str) -> None:
    kind = KINDS[name]
    assert kind.summary.strip()
    assert all(each.summary for each in kind.all_parameters)
    names = [each.name for each in kind.all_parameters]
    assert len(set(names)) == len(names)
    assert all(each.isidentifier() for each in names)
