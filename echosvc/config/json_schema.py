"""The JSON Schema of a configuration file, for editors; made of the tables of settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from echosvc.config.settings import Setting


def json_schema(settings: Iterable[Setting], listen: Setting, own: Iterable[Setting]) -> Any:
    """Return the schema, of draft 2020-12.

    :param settings: what may stand in the file, besides ``listen``.
    :param listen: the setting of listeners.
    :param own: what may stand in a ``[[listen]]``, besides ``endpoint``.
    """
    endpoint = {"description": listen.plain_help, "type": "string"}
    table = {
        "type": "object",
        "properties": {"endpoint": endpoint, **_properties(own)},
        "required": ["endpoint"],
        "additionalProperties": False,
    }
    lists = [{"type": "array", "items": each} for each in (endpoint, table)]
    described = {"description": listen.plain_help, "anyOf": lists}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of echosvc serve",
        "type": "object",
        "properties": {listen.option: described, **_properties(settings)},
        "additionalProperties": False,
    }


def _properties(settings: Iterable[Setting]) -> dict[str, Any]:
    return {each.option: _property(each) for each in settings}


def _property(setting: Setting) -> dict[str, Any]:
    found = {"description": setting.plain_help, **setting.kind.schema()}
    if setting.default is not None:
        repeated = isinstance(setting.default, tuple)
        found["default"] = list(setting.default) if repeated else setting.default
    return found
