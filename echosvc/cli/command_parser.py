"""The parser of the command line: errors of one line, and help as it is written."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from echosvc.cli.terminal import EXIT_USAGE, StandardOutput, print_error, write_text

#: How argparse names an option before what is wrong with it.
_NAMED = re.compile(r"\Aargument (?:-\w/(?=--))?")
#: What argparse says of a value for an option that takes none.
_UNWANTED_VALUE = re.compile(r"ignored explicit argument ('.*'|\".*\")", re.DOTALL)


class CommandParser(argparse.ArgumentParser):
    """A parser that prints an error in one line, without the usage."""

    #: Builds the epilog, when that imports more than the command itself needs.
    epilog_builder: Callable[[], str] | None = None

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and exit with the status of a usage error."""
        plain = _UNWANTED_VALUE.sub(r"takes no value, and \1 was given", _NAMED.sub("", message))
        print_error(f"echosvc: {plain}")
        raise SystemExit(EXIT_USAGE)

    def format_help(self) -> str:
        """Return the help, with its epilog."""
        if self.epilog_builder is not None:
            self.epilog = self.epilog_builder()
        return super().format_help()

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Read the value of an option also where it is ``--``.

        The argparse of Python 3.11 drops it, as if the options ended there.
        """
        if action.option_strings and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        upstream: Any = super()
        return upstream._get_values(action, arg_strings)

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ARG002
        """Print the help or the version. Upstream ignores errors of the output."""
        write_text(StandardOutput(), message)
