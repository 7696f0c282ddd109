"""All entries of the catalogue, by their names."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib import import_module

from tests.programs.paths.catalogue import entries
from tests.programs.paths.catalogue.entry import Entry


def load() -> dict[str, Entry]:
    """The entries of all modules of the package ``entries``, in the order of their names.

    :raises ValueError: two have one name.
    """
    found: dict[str, Entry] = {}
    for module in pkgutil.iter_modules(entries.__path__):
        for entry in import_module(f"{entries.__name__}.{module.name}").ENTRIES:
            if found.setdefault(entry.name, entry) is not entry:
                raise ValueError(f"two entries have the name {entry.name}")
    return found


def select(patterns: Sequence[str]) -> list[Entry]:
    """The entries whose names match one of the patterns of a shell; without patterns, all.

    :raises ValueError: a pattern matches none.
    """
    known = load()
    if not patterns:
        return list(known.values())
    unmatched = [each for each in patterns if not any(fnmatch(name, each) for name in known)]
    if unmatched:
        raise ValueError(f"no entry is called {unmatched[0]}; there are {', '.join(known)}")
    return [each for name, each in known.items() if any(fnmatch(name, p) for p in patterns)]
