"""The tables of settings and options in ``docs/``, written from the tables of the code."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from echosvc.cli.commands import parser
from echosvc.cli.config_options import CONFIG, CONFIG_OPTIONS
from echosvc.cli.serve import PROCESS_OPTIONS, ServeOptions
from echosvc.cli.serve_options import LISTEN, SERVER_OPTIONS
from echosvc.cli.server_listeners import OF_LISTENER
from echosvc.config.json_schema import json_schema
from echosvc.config.schema import ClientConfig, Config
from echosvc.config.settings import Setting, settings_of
from tests.support.process import ROOT

CONFIGURATION = ROOT / "docs/configuration.md"
SCHEMA = ROOT / "docs/configuration.schema.json"
EMBEDDING = ROOT / "docs/embedding.md"
OPTIONS = ROOT / "docs/options.md"

HEAD = """\
# Options

Every option of the command line. This page is written by `python -m tests.options --write-docs`
from the tables in the code; `echosvc COMMAND --help` prints the same. A value that begins with a
dash is written `--option=VALUE`. TIME is in seconds, or has a unit: `500us`, `200ms`, `1.5s`,
`10m`, `8h`; SECONDS is a plain number.

## echosvc serve

`twistd echosvc` has the same options, but those of the last table. The names of
[the embedding API](embedding.md#the-server) are these with `_` in place of `-`.

"""
CONFIGURED = """
Of the [configuration](configuration.md). Each option without a value above has one that takes it
back where the configuration file or the environment has it: `--no-discard`, for instance.

"""
PROCESS = """
Of the process (`twistd` has its own, before the word `echosvc`):

"""
WORDS = {
    "send": "Sends messages, and prints what comes back.",
    "check": "Checks what a path does to bytes ([what it finds](check.md)).",
    "load": "Loads a server with messages, and verifies every reply ([what it says](load.md)).",
    "merge": "Adds the results of several loads, exactly"
    " ([of several machines](load.md#several-machines)).",
    "share": "Counts which servers answer ([what it says](share.md)).",
    "soak": "Keeps connections open, and notes when one is not answered ([what it says](soak.md)).",
    "relay": "Relays connections to a server, with faults on purpose.",
    "demo": "Runs three clients at once, each with its own message.",
}


def _table(*rows: tuple[str, ...]) -> str:
    head, *body = rows
    lines = [head, ("---",) * len(head), *body]
    return "".join(f"| {' | '.join(_cell(each) for each in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def keywords(table: type[Any]) -> str:
    """The settings of a class of the embedding API."""
    rows = [
        (
            f"`{each.name}`",
            each.kind.types,
            each.kind.unit,
            f"`{each.default!r}`".replace("'", '"'),
            each.help + (f" `None`: {each.none}." if each.default is None else ""),
        )
        for each in settings_of(table)
    ]
    return _table(("setting", "type", "unit", "default", "meaning"), *rows)


def server_options(settings: Iterable[Setting]) -> str:
    """Options that are rows of a table of settings."""
    rows = [
        (
            f"`--{each.option}`" + (f", `-{each.short}`" if each.short else ""),
            (f"`{each.kind.metavar}`" if each.kind.metavar else "")
            + (", repeatable" if each.kind.repeated else ""),
            each.kind.unit,
            _default(each),
            each.help,
        )
        for each in settings
    ]
    return _table(("option", "value", "unit", "default", "meaning"), *rows)


def _default(setting: Setting) -> str:
    if not setting.kind.metavar:
        return "off"
    return setting.none or f"`{setting.default}`"


def client_options(command: str) -> str:
    """Options that argparse has."""
    rows = [
        (
            ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar}`",
            _value(action),
            str(action.help) % vars(action),
        )
        for action in _actions(command)
        if action.dest != "help"
    ]
    return _table(("option", "value", "meaning"), *rows)


def client_commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name."""
    (commands,) = (
        each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)
    )
    return cast("dict[str, argparse.ArgumentParser]", commands.choices)


def _actions(command: str) -> Iterator[argparse.Action]:
    yield from client_commands()[command]._actions


def _value(action: argparse.Action) -> str:
    if action.nargs == 0 or not action.option_strings:
        return ""
    if action.choices is not None:
        return " or ".join(f"`{word}`" for word in action.choices)
    return " ".join(f"`{word}`" for word in _words(action.metavar))


def _words(metavar: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return metavar if isinstance(metavar, tuple) else (str(metavar),)


def _options() -> str:
    served = server_options(SERVER_OPTIONS) + CONFIGURED + server_options(CONFIG_OPTIONS)
    served += PROCESS + server_options(PROCESS_OPTIONS)
    others = [
        f"\n## echosvc {name}\n\n{words}\n\n{client_options(name)}" for name, words in WORDS.items()
    ]
    return HEAD + served + "".join(others)


def configuration_keys() -> str:
    """The keys of a configuration file, and the variables of the environment."""
    rows = [
        (
            f"`{each.option}`",
            _toml_type(each),
            each.kind.unit,
            _default(each) if each.kind.metavar else "`false`",
            f"`{each.variable}`",
        )
        for each in (LISTEN, *ServeOptions.file_settings, CONFIG)
    ]
    rows[-1] = ("", "", "", *rows[-1][3:])  # a file names no other file
    return _table(("key", "type", "unit", "default", "variable"), *rows)


def _toml_type(setting: Setting) -> str:
    if setting is LISTEN:
        return "array of strings, or tables"
    schema = setting.kind.schema()
    return "array of strings" if schema.get("type") == "array" else schema.get("type", "string")


def _replaced(path: Path, tables: dict[str, str]) -> str:
    """A document with its tables, each between two marks of its name, written anew."""
    text = path.read_text("utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: written by python -m tests.options -->", f"<!-- /{name} -->"
        pattern = f"{re.escape(begin)}.*{re.escape(end)}"
        written = f"{begin}\n\n{table}\n{end}"
        text, count = re.subn(pattern, lambda _, it=written: it, text, flags=re.DOTALL)
        assert count == 1, f"{path.name} has no place for the table of {name}"
    return text


def _embedding() -> str:
    return _replaced(EMBEDDING, {each.__name__: keywords(each) for each in (Config, ClientConfig)})


def _schema() -> str:
    schema = json_schema(ServeOptions.file_settings, LISTEN, OF_LISTENER)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def written() -> dict[Path, str]:
    """The documents, as the code has them."""
    return {
        CONFIGURATION: _replaced(CONFIGURATION, {"keys": configuration_keys()}),
        SCHEMA: _schema(),
        EMBEDDING: _embedding(),
        OPTIONS: _options(),
    }
