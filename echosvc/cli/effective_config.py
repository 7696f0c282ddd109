"""The effective settings of a server: as a configuration file, and as a summary for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from echosvc._text import printable
from echosvc.config.kinds import TemplateText
from echosvc.config.settings import Setting
from echosvc.config.sources import Given, ListenTable
from echosvc.config.toml_file import ConfigFileError

#: A byte of the command line that is not UTF-8, as Python has it (PEP 383).
_BYTE = re.compile("[\udc80-\udcff]")


class Effective:
    """The settings of a server and where each one comes from.

    :param settings: all settings but the listeners.
    :param given: those that are not at their default.
    :param listeners: where it listens.
    """

    def __init__(
        self,
        settings: Sequence[Setting],
        given: Mapping[str, Given],
        listeners: Sequence[ListenTable],
    ) -> None:
        self._settings = settings
        self._given = given
        self._listeners = listeners

    def as_toml(self) -> str:
        """Return a configuration file with every setting; what has no value is a comment.

        :raises ConfigFileError: TOML cannot express a value.
        """
        return "\n".join([*map(self._line, self._settings), "", *self._listen_tables()])

    def _line(self, setting: Setting) -> str:
        given = self._given.get(setting.name)
        value = setting.default if given is None else given.value
        if value is None:
            return f"# {setting.option}: {setting.none}"
        origin = "" if given is None else f"  # {printable(str(given.origin))}"
        return f"{setting.option} = {_toml(setting, value)}{origin}"

    def _listen_tables(self) -> Iterator[str]:
        known = {each.name: each for each in self._settings}
        for each in self._listeners:
            yield "[[listen]]"
            yield f"endpoint = {_toml_text(each.endpoint, 'listen')}"
            for name, given in each.own.items():
                yield f"{known[name].option} = {_toml(known[name], given.value)}"
            yield ""

    def summary(self) -> str:
        """Return what would run: the listeners, and what is not at its default."""
        rows = [("listen", _listening(each), str(each.origin)) for each in self._listeners]
        known = {each.name: each for each in self._settings}
        for name, given in self._given.items():
            rows.append((known[name].option, _shown(given.value), str(given.origin)))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [
            f"  {option:<{widths[0]}}  {printable(value):<{widths[1]}}  {printable(origin)}"
            for option, value, origin in rows
        ]
        head = "The configuration is valid. This would run:"
        return "\n".join([head, *lines, "All other settings have their defaults.", ""])


def _listening(table: ListenTable) -> str:
    own = [f"{name.replace('_', '-')} {given.value}" for name, given in table.own.items()]
    return f"{table.endpoint}" + (f" ({', '.join(own)})" if own else "")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value) if isinstance(value, tuple) else f"{value}"


def _toml(setting: Setting, value: Any) -> str:
    """Return a value in TOML. A template has an escape for any byte."""
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_text(each, setting.option) for each in value)}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if isinstance(setting.kind, TemplateText):
        value = _BYTE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", value)
    return _toml_text(value, setting.option)


def _toml_text(text: str, option: str) -> str:
    """Return a basic string. It is JSON's, but for DEL, which TOML wants escaped.

    :raises ConfigFileError: the text has bytes that are no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        why = "has bytes that are not UTF-8, which a configuration file cannot have"
        raise ConfigFileError(f"--{option}: {why}") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
