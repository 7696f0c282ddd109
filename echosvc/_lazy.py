"""Names of a package that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def importer(package: dict[str, Any], modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package (PEP 562).

    :param package: its ``globals()``, which get each name that was imported.
    :param modules: the names, and the module of each below the package.
    """
    own = package["__name__"]

    def import_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {own!r} has no attribute {name!r}")
        value = package[name] = getattr(import_module(f"{own}.{modules[name]}"), name)
        return value

    return import_name
