"""The short forms of faults as keywords of Python."""

from __future__ import annotations

from typing import Any

import pytest

from echosvc.faults.spec import FaultSpec, FaultSpecError

SHORT: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "none"),
    ({"drop": (1000, 2)}, "drop=2,at=1000"),
    ({"drop": (1000, 2), "upstream": True}, "drop=2,at=1000,direction=up"),
    ({"duplicate": (5, 7)}, "repeat=7,at=5"),
    ({"swap": (5, 7)}, "swap=7,at=5"),
    ({"flip": 9}, "change=1,at=9"),
    ({"insert": (3, b"new")}, "insert=new,at=3"),
    ({"cut": 100, "upstream": True}, "close,at=100,direction=up"),
    ({"on_fin": "close"}, "fin=close"),
    ({"on_fin": "drop", "upstream": True}, "fin=drop"),
    ({"on_fin": "pass"}, "none"),
    ({"on_reset": "fin"}, "rst=fin"),
    ({"on_reset": "rst"}, "none"),
    ({"unbounded": True}, "buffer=1G"),
    ({"idle_timeout": 0.7}, "idle=700ms"),
    ({"idle_timeout": 0.7, "on_idle": "rst"}, "idle=700ms,end=reset"),
    ({"idle_timeout": 0}, "none"),
    ({"delay": 0.1, "upstream": True}, "latency=100ms"),
    ({"chunk_size": 7}, "segments=7"),
    ({"drop": None, "cut": None, "delay": 0, "chunk_size": 0, "unbounded": False}, "none"),
)


@pytest.mark.parametrize(("keywords", "text"), SHORT)
def test_a_short_form_is_a_fault(keywords: dict[str, Any], text: str) -> None:
    assert str(FaultSpec(**keywords)) == text


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"drop": (1, 1), "delay": 0.1}, "one FaultSpec is one fault, not drop and latency"),
        ({"drop": 5}, "drop must be a tuple of two, not 5"),
        ({"drop": (-1, 1)}, "at must be a number of bytes"),
        ({"drop": (1, 0)}, "size must be a number of bytes"),
        ({"insert": (0, b"")}, "data must be text"),
        ({"on_fin": "x"}, "how must be one of close, reset, drop, late, not 'x'"),
        ({"on_idle": "x"}, "on_idle must be one of fin, rst, silence, not 'x'"),
        ({"on_idle": ["fin"]}, "on_idle must be one of fin, rst, silence"),
        ({"upstream": 1}, "upstream must be True or False, not 1"),
        ({"unbounded": "yes"}, "unbounded must be True or False, not 'yes'"),
        ({"delay": -1}, "time must be a time"),
        ({"size": 5}, "there is no keyword 'size'"),
    ],
)
def test_a_wrong_short_form_is_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultSpecError) as caught:
        FaultSpec(**keywords)
    assert str(caught.value).startswith(message)
