"""The documented tables of settings are those of the code."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from echosvc.cli.serve import ServeOptions
from echosvc.config.schema import ClientConfig, Config
from tests.options.tables import OPTIONS, WORDS, client_commands, written


@pytest.mark.parametrize("path", [*written()], ids=lambda path: path.name)
def test_the_documented_tables_are_those_of_the_code(path: Path) -> None:
    again = "write them anew: python -m tests.options --write-docs"
    assert path.read_text("utf-8") == written()[path], again


def test_every_option_of_the_server_is_documented() -> None:
    text = written()[OPTIONS]
    for option in ServeOptions().longOpt:
        if option not in ("help", "version"):
            assert f"`--{option.rstrip('=').removeprefix('no-')}`" in text


def test_every_command_is_documented() -> None:
    assert {*WORDS, "serve"} == set(client_commands())


def test_the_help_of_the_classes_has_every_setting_with_its_default() -> None:
    for table in (Config, ClientConfig):
        lines = " ".join(str(table.__doc__).split()).split(":ivar ")[1:]
        found = {line.partition(":")[0]: line for line in lines}
        assert [*found] == [field.name for field in fields(table)]
        for field in fields(table):
            assert f"Default: {field.default!r}." in found[field.name]
