"""All commands of the client read times in one grammar."""

from __future__ import annotations

import argparse

import pytest

from echosvc.cli import main as cli
from echosvc.cli.commands import parser
from echosvc.cli.times import LONGEST, list_of_time_spans, positive_time_span, time_span

#: A whole command line, but for its last word: a time.
TIMES = [
    "check --find-idle", "check --lifetime", "check --timeout", "load --duration", "load --grace",
    "load --lifetime", "load --max-send-lag", "load --timeout", "load --warmup", "send --timeout",
    "send --deadline", "share --timeout", "share --watch", "soak --duration", "soak --interval",
    "soak --max-gap", "soak --max-wait", "soak --silence", "soak --timeout",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000), ("500us", 5e-4), ("500µs", 5e-4),
        ("200ms", 0.2), ("1.5s", 1.5), ("1m", 60), ("8h", 28800), ("720h", LONGEST),
    ],
)  # fmt: skip
def test_a_time_is_in_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    assert time_span(text) == positive_time_span(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "x", "-3", "nan", "inf", "1e400", "5x", "1 s", "m", "1_0", "٣", "721h"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    for read in (time_span, positive_time_span, list_of_time_spans):
        with pytest.raises(argparse.ArgumentTypeError, match="a time such as 30, ") as caught:
            read(text)
        assert str(caught.value).endswith(f"not {text!r}")


def test_no_time_is_one_where_it_may_be_0() -> None:
    assert time_span("0") == 0
    with pytest.raises(argparse.ArgumentTypeError, match="more than 0"):
        positive_time_span("0ms")


def test_several_times_are_separated_by_commas() -> None:
    assert list_of_time_spans("1,500ms,1m") == (1, 0.5, 60)


@pytest.mark.parametrize("words", TIMES)
def test_every_option_that_is_a_time_takes_a_unit(words: str) -> None:
    command, option = words.split()
    more = ["message"] if command == "send" else []
    args = parser().parse_args([command, option, "200ms", *more])
    assert getattr(args, option[2:].replace("-", "_")) == pytest.approx(0.2)


@pytest.mark.parametrize("command", ["check", "load", "share", "soak"])
def test_the_help_says_how_a_time_is_written(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--help"]) == 0
    out = capfd.readouterr().out
    assert "TIME is in seconds, or has a unit: 500us, 200ms, 1.5s, 10m, 8h." in out
    assert "SECONDS" not in out
