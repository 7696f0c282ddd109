"""The error of a wrong setting, which names settings as a program or as a command line has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

#: A value in quotes, which stays as it is, or a name in brackets, and not that of a function.
_NAME = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<![.\w])<(?P<name>[a-z]+(?:_[a-z]+)*)>(?! at )"""
)


class SettingError(ValueError):
    """A setting is wrong; its text is the reason, one line. It names settings by their keywords.

    :param text: the reason, with the names of settings in angle brackets: ``<max_gap> must be …``.
    :cvar options: the options of the command line that have other names than their settings.
    """

    options: ClassVar[Mapping[str, str]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(_NAME.sub(_keyword, text))
        self._text = text

    def as_typed(self) -> str:
        """Return the same for a command line, which names settings as ``--max-gap``."""
        return _NAME.sub(self._option, self._text)

    def _option(self, found: re.Match[str]) -> str:
        if found["name"] is None:
            return found[0]
        name = found["name"].replace("_", "-")
        return f"--{self.options.get(name, name)}"


def _keyword(found: re.Match[str]) -> str:
    return found["name"] or found[0]
