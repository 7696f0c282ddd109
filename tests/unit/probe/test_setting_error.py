"""A wrong setting is named as a program or a command line has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.setting_error import SettingError


class RenamedError(SettingError):
    options: ClassVar[Mapping[str, str]] = {"source-ports": "source-port"}


def test_settings_are_keywords_for_a_program_and_options_for_a_command_line() -> None:
    error = SettingError("<max_gap> must not be more than <timeout>, 1 < 2 s")
    assert str(error) == "max_gap must not be more than timeout, 1 < 2 s"
    assert error.as_typed() == "--max-gap must not be more than --timeout, 1 < 2 s"


def test_an_option_may_have_another_name_than_its_setting() -> None:
    assert RenamedError("<source_ports>: no").as_typed() == "--source-port: no"
    assert SettingError("<source_ports>: no").as_typed() == "--source-ports: no"


@given(st.text())
def test_a_value_is_shown_as_it_is(value: str) -> None:
    for shown in (repr(value), repr(f"<{value}>"), "'<size>'", repr(lambda: value), repr(print)):
        error = SettingError(f"<size> must be a number, not {shown}")
        assert str(error) == f"size must be a number, not {shown}"
        assert error.as_typed() == f"--size must be a number, not {shown}"
