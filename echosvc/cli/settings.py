"""The settings of a command, from its options: each option has the name of its setting."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any, TypeVar

_Settings = TypeVar("_Settings")


def given_settings(kind: type[Any], args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a kind, a dataclass, whose options were given or have a default."""
    found = {each.name: getattr(args, each.name, None) for each in fields(kind)}
    return {name: value for name, value in found.items() if value is not None}


def read_settings(kind: type[_Settings], args: argparse.Namespace, **others: Any) -> _Settings:
    """Return settings of a kind, a dataclass; those that no option gives have their defaults.

    :param others: settings that no option has under their name.
    :raises SettingError: as the kind does.
    """
    return kind(**{**given_settings(kind, args), **others})
