"""Errors of connections are counted by the same words, whatever counts them."""

from __future__ import annotations

import pytest

from echosvc.probe.traffic.causes import cause_of_end, cause_of_error


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("ECONNREFUSED", "refused"),
        ("ENOENT", "refused"),
        ("EPIPE", "reset"),
        ("ENOTFOUND", "not-found"),
        ("EMFILE", "descriptors"),
        ("TLS: unknown ca", "tls"),
        ("EACCES", "eacces"),
    ],
)
def test_an_error_has_one_word(name: str, cause: str) -> None:
    assert cause_of_error(name) == cause_of_end(name) == cause


@pytest.mark.parametrize(
    ("end", "cause"),
    [("FIN", "fin"), ("RST", "reset"), ("silence", "timeout"), ("", "mismatch")],
)
def test_an_end_without_an_answer_has_one_word(end: str, cause: str) -> None:
    assert cause_of_end(end) == cause
