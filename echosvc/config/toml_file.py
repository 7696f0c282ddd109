"""A configuration file: from the bytes of a TOML file to values, and the line of each. No I/O.

Theory of operation. Parsers of TOML keep no lines. The line of a key is found by parsing the file
anew, up to some line: the first part of a file that is TOML, and has the key, ends with the key's
statement, and the longest part before it that is TOML ends where that statement begins. A longer
part has every key of a shorter one, so the first is searched by halving. This is done once, for
the line of an error.
"""

from __future__ import annotations

import re
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Longest file, bytes. It is of a few lines; this keeps a device from being read without end.
MAX_SIZE = 1 << 20
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")


class ConfigFileError(ValueError):
    """A configuration file is wrong; says where and why in one line."""


class ConfigFile:
    """The values of a TOML file.

    :param name: its name, for errors.
    :param data: its bytes.
    :ivar values: its keys and values.
    :raises ConfigFileError: it is no TOML, no UTF-8, or longer than :data:`MAX_SIZE`.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        if len(data) > MAX_SIZE:
            raise ConfigFileError(f"{name}: is longer than {MAX_SIZE} bytes")
        self._lines = _decoded(name, data).replace("\r\n", "\n").split("\n")
        try:
            self.values: dict[str, Any] = tomllib.loads("\n".join(self._lines))
        except ValueError as error:  # of TOML; of Python for a number of too many digits
            raise ConfigFileError(self._describe(error)) from None
        except RecursionError:
            raise ConfigFileError(f"{name}: is nested too deep") from None

    def _describe(self, error: ValueError) -> str:
        text = str(error)
        place = _PLACE.search(text)
        why = _PLACE.sub("", text)
        line = place[1] if place and place[1] else len("\n".join(self._lines).rstrip().split("\n"))
        return f"{self.name}:{line}: {why[:1].lower()}{why[1:]}"

    def where(self, *path: str | int) -> str:
        """Return the name of the file and the line where a key, table or element begins.

        :param path: the keys, and the positions in arrays, that lead to it.
        """
        last = self._first_part_with(path)
        before = next(n for n in range(last - 1, -1, -1) if self._part(n) is not None)
        return f"{self.name}:{before + 1}"

    def _first_part_with(self, path: tuple[str | int, ...]) -> int:
        """Return the number of lines of the shortest part that is TOML and has a path."""
        low, high = 0, len(self._lines)  # from low to before high it is not known
        found = high
        while low < high:
            middle = (low + high) // 2
            whole = next(n for n in range(middle, found + 1) if self._part(n) is not None)
            if _has(self._part(whole), path):
                found, high = whole, middle
            else:
                low = whole + 1
        return found

    def _part(self, count: int) -> dict[str, Any] | None:
        """Return the values of the first lines; ``None`` = they are no TOML."""
        try:
            return tomllib.loads("\n".join(self._lines[:count]))
        except ValueError:
            return None


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigFileError(f"{name}:{line}: the bytes are not UTF-8") from None


def _has(values: Any, path: tuple[str | int, ...]) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(values, list) or step >= len(values):
                return False
        elif not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True
