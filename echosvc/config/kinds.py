"""The kinds of values that settings take: how each is checked, read and described.

A kind serves every place that takes a setting: the embedding API and a file give values of
Python types, which :meth:`Kind.find_error` checks; the command line gives text, which
:meth:`Kind.read` reads first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from echosvc.config.networks import NetworkError, Networks
from echosvc.wire.template import Template, TemplateError

_Number = TypeVar("_Number", int, float)


class Kind:
    """The values that a setting takes. This one takes any text.

    :cvar types: the Python types, as the reference of the API names them.
    :cvar unit: of what a number counts; "" = it is no number.
    :cvar metavar: stands for the value in the reference of the command line; "" = the option
        takes no value.
    :cvar repeated: whether the option may be given more than once.
    """

    types = "str"
    unit = ""
    metavar = "TEXT"
    repeated = False

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        return None if isinstance(value, str) else f"must be a str, not {value!r}"

    def read(self, text: str) -> Any:
        """Read a value from the command line; :meth:`find_error` may still refuse it.

        :raises ValueError: the text is of another type; says what it must be.
        """
        return text

    def describe(self, text: str) -> str:
        """Return the help of a setting of this kind: its text, completed."""
        return text

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values in a configuration file."""
        return {"type": "string"}


class Word(Kind):
    """A text whose placeholder on the command line is ``metavar``."""

    def __init__(self, metavar: str, repeated: bool = False) -> None:
        self.metavar = metavar
        self.repeated = repeated

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        if not self.repeated:
            return super().find_error(value)
        right = isinstance(value, tuple) and all(isinstance(each, str) for each in value)
        return None if right else f"must be a tuple of str, not {value!r}"


class TemplateText(Kind):
    """A ``str``, which is a template, or literal ``bytes``."""

    types = "str, bytes"
    metavar = "TEMPLATE"

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        if not isinstance(value, (str, bytes)):
            return f"must be a str (a template) or bytes, not {value!r}"
        try:
            parse_template(value)
        except TemplateError as error:
            return str(error)
        return None


def parse_template(value: str | bytes) -> Template:
    """Return the template that a setting means.

    :raises TemplateError: it has a wrong placeholder or escape.
    """
    return Template.literal(value) if isinstance(value, bytes) else Template.parse(value)


class Flag(Kind):
    """True or false. On the command line the option means true, and takes no value."""

    types = "bool"
    metavar = ""

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        return None if isinstance(value, bool) else f"must be true or false, not {value!r}"

    def read(self, text: str) -> bool:
        """Read ``true`` or ``false``, as an environment has them.

        :raises ValueError: it is neither.
        """
        if text not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text == "true"

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values in a configuration file."""
        return {"type": "boolean"}


class Choice(Kind):
    """One of some words.

    :param meanings: each word, and what it means; "" where the word says it.
    """

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._meanings = meanings
        self.words = tuple(meanings)
        self.metavar = "WORD"

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        if value in self.words:
            return None
        return f"must be one of {', '.join(self.words)}, not {value!r}"

    def describe(self, text: str) -> str:
        """Return the text with the words and their meanings."""
        words = [f"`{word}`" + (f" ({why})" if why else "") for word, why in self._meanings.items()]
        return f"{text}: {', '.join(words[:-1])} or {words[-1]}."

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values in a configuration file."""
        return {"enum": list(self.words)}


class Seconds(Kind):
    """A number of seconds, finite and not negative."""

    types = "float"
    unit = "seconds"
    metavar = "SECONDS"

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and 0 <= cast(float, value) < math.inf:
            return None
        return f"must be a number of seconds, finite and not negative, not {value!r}"

    def read(self, text: str) -> float:
        """Read a decimal number.

        :raises ValueError: it is none, or one that :meth:`find_error` refuses.
        """
        seconds = read_number(float, text, "a number of seconds, 0 or more")
        if self.find_error(seconds):
            raise ValueError(f"must be a number of seconds, 0 or more, not {text!r}")
        return seconds

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values in a configuration file."""
        return {"type": "number", "minimum": 0}


class Whole(Kind):
    """A whole number.

    :param least: the smallest.
    :param most: the largest.
    :param unit: what it counts.
    """

    types = "int"
    metavar = "N"

    def __init__(self, least: int, most: int, unit: str) -> None:
        self._least, self._most = least, most
        self.unit = unit

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and self._least <= cast(int, value) <= self._most:
            return None
        limits = f"from {self._least} to {self._most}"
        return f"must be a whole number of {self.unit} {limits}, not {value!r}"

    def read(self, text: str) -> int:
        """Read a decimal number.

        :raises ValueError: it is none.
        """
        return read_number(int, text, f"a whole number of {self.unit}")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values in a configuration file."""
        return {"type": "integer", "minimum": self._least, "maximum": self._most}


def read_number(kind: Callable[[str], _Number], text: str, what: str) -> _Number:
    """Read a number in ASCII digits, without Python's underscores."""
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        return kind(text)
    except ValueError:
        raise ValueError(f"must be {what}, not {text!r}") from None


class NetworkList(Kind):
    """A tuple of networks in CIDR notation; on the command line one an option."""

    types = "tuple of str"
    metavar = "NETWORK"
    repeated = True

    def find_error(self, value: object) -> str | None:
        """Return what is wrong with a value; ``None`` = nothing."""
        if not isinstance(value, tuple):
            return f"must be a tuple of networks, not {value!r}"
        try:
            Networks(value)
        except NetworkError as error:
            return str(error)
        return None

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values in a configuration file."""
        return {"type": "array", "items": {"type": "string"}}
