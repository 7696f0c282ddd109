"""A setting: one row of the tables of settings, and how a row is declared.

The tables are the dataclasses of :mod:`echosvc.config.schema`: a field has the name, the Python
type and the default, its metadata has the rest. Everything that speaks of settings is derived
from the rows: the checks, the documentation of the fields, the options of the command line with
their help, and the tables of ``docs/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from textwrap import wrap
from typing import Any, TypeVar

from echosvc.config.kinds import Kind

#: How the variables of the environment that set something begin.
VARIABLES = "ECHOSVC_"
_Table = TypeVar("_Table", bound=type)
_INDENTED: Any = {
    "initial_indent": "    ",
    "subsequent_indent": "        ",
    "break_on_hyphens": False,
    "break_long_words": False,
}


class ConfigError(ValueError):
    """A setting has a wrong value.

    :ivar field: the name of the setting.
    :ivar why: what is wrong, without the name.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of a table of settings.

    :ivar name: the field and keyword argument.
    :ivar default: its value when it is not given.
    :ivar kind: what values it takes.
    :ivar text: what it means, as it was declared; literals stand in backticks.
    :ivar none: what ``None`` or an empty value means; "" = ``None`` is no value.
    :ivar short: the option of one letter; "" = none.
    :ivar has_option: whether the command line has an option for it.
    """

    name: str
    default: Any
    kind: Kind
    text: str
    none: str = ""
    short: str = ""
    has_option: bool = True

    @property
    def option(self) -> str:
        """The name of its option, without dashes; "" = it has none."""
        return self.name.replace("_", "-") if self.has_option else ""

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return f"{VARIABLES}{self.name.upper()}"

    @property
    def help(self) -> str:
        """What it means, in one paragraph, with literals in backticks."""
        return self.kind.describe(self.text)

    @property
    def plain_help(self) -> str:
        """What it means, for a terminal."""
        return self.help.replace("`", "")

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        if value is None and self.default is None:
            return None
        return self.kind.find_error(value)


def row(
    kind: Kind, text: str, *, none: str = "", short: str = "", has_option: bool = True
) -> Mapping[str, Any]:
    """Return the metadata of a field: its row without name and default.

    The arguments are those of :class:`Setting`.
    """
    return {"kind": kind, "text": text, "none": none, "short": short, "has_option": has_option}


@cache
def settings_of(table: type[Any]) -> tuple[Setting, ...]:
    """Return the rows of a table, which is a dataclass, in their order."""
    return tuple(
        Setting(name=field.name, default=field.default, **field.metadata) for field in fields(table)
    )


def check(config: Any) -> None:
    """Check every setting of an instance of a table.

    :raises ConfigError: a value is wrong.
    """
    for setting in settings_of(config.__class__):
        why = setting.find_error(getattr(config, setting.name))
        if why:
            raise ConfigError(setting.name, why)


def documented(table: _Table) -> _Table:
    """Complete the docstring of a table by its rows."""
    lines = [(table.__doc__ or "").rstrip(), ""]
    for each in settings_of(table):
        lines += wrap(f":ivar {each.name}: {_sentence(each)}", 99, **_INDENTED)
    table.__doc__ = "\n".join([*lines, "    :raises ConfigError: a wrong value.", "    "])
    return table


def _sentence(setting: Setting) -> str:
    none = f" None: {setting.none}." if setting.none and setting.default is None else ""
    return f"{setting.plain_help}{none} Default: {setting.default!r}."
