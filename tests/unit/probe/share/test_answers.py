"""Who answers is read from the languages of other servers, and nothing else is taken for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.share.answers import LINE_DIALECTS, MAX_ANSWER, WrongAnswerError
from echosvc.wire.gateway_api import WELCOME

ISTIO, GATEWAY = LINE_DIALECTS["istio"], LINE_DIALECTS["gateway-api"]
LINE = ISTIO.question(7)
POD = WELCOME + b'{"namespace":"n","pod":"v1-abc","isTLS":false}\n'


def test_istio_answers_a_word_and_the_line() -> None:
    assert LINE.endswith(b"\n")
    assert ISTIO.name_in(b"one " + LINE, 7) == "one"
    assert ISTIO.name_in(b"two words " + LINE, 7) == "two words"
    assert ISTIO.name_in(b"\xff\x1b " + LINE, 7) == "\\xff\x1b"


def test_the_gateway_api_answers_its_pod() -> None:
    assert GATEWAY.question(0) == b"TEST\n"
    assert GATEWAY.name_in(POD, 0) == "v1-abc"


@given(st.data())
def test_a_part_of_an_answer_is_waited_for(data: st.DataObject) -> None:
    for dialect, answer in ((ISTIO, b"one " + LINE), (GATEWAY, POD)):
        cut = data.draw(st.integers(0, len(answer) - 1))
        assert dialect.name_in(answer[:cut], 7) is None


WRONG_ISTIO = [
    LINE,  # an echo without a word
    b"one " + ISTIO.question(8),  # the answer to another connection
    b"one\n",
    b"one " + LINE + b"x",
    b"x" * (MAX_ANSWER + 1),
]


@pytest.mark.parametrize("came", WRONG_ISTIO)
def test_what_is_no_answer_of_istio_is_said(came: bytes) -> None:
    with pytest.raises(WrongAnswerError) as caught:
        ISTIO.name_in(came, 7)
    assert str(caught.value).isprintable()


WRONG_GATEWAY = {
    b"SSH-2.0-x\n": "came first, not the greeting 'Gateway API Test TCP Server",
    WELCOME + b"hello\n": "is no JSON: 'hello'",
    WELCOME + b"[" * 60_000 + b"\n": "is no JSON",
    WELCOME + b"[]\n": "has no pod",
    WELCOME + b'{"pod": 3}\n': "has no pod",
    WELCOME + b'{"pod": "a"}\nmore': "'more' came after",
    WELCOME + b"x" * MAX_ANSWER: "no end of a line",
}


@pytest.mark.parametrize(("came", "why"), WRONG_GATEWAY.items())
def test_what_is_no_answer_of_the_gateway_api_is_said(came: bytes, why: str) -> None:
    with pytest.raises(WrongAnswerError) as caught:
        GATEWAY.name_in(came, 0)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_are_waited_for_or_refused_or_a_name(data: bytes) -> None:
    for dialect, before in ((ISTIO, b""), (GATEWAY, b""), (GATEWAY, WELCOME)):
        try:
            name = dialect.name_in(before + data, 7)
        except WrongAnswerError:
            continue
        assert name is None or isinstance(name, str)


@given(st.text())
def test_any_pod_is_named(pod: str) -> None:
    answer = WELCOME + json.dumps({"pod": pod}).encode() + b"\n"
    assert isinstance(GATEWAY.name_in(answer, 0), str)
