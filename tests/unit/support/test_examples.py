"""Hypothesis tries the inputs that a test asks for, or in a quick run a part of them."""

from __future__ import annotations

from hypothesis import settings

from tests.support.examples import examples


def test_a_test_tries_inputs_in_proportion_to_the_run() -> None:
    usual = settings.default.max_examples
    assert examples(400).max_examples == 4 * usual
    assert examples(50).max_examples == usual // 2
    assert examples(1).max_examples >= 1
