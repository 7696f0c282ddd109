"""Where the values of settings come from besides the command line: a file and the environment.

Both name a setting as the command line does. Nothing is read here, and no process is looked at:
the callers pass the file and the variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from echosvc.config.settings import VARIABLES, Setting
from echosvc.config.toml_file import ConfigFile

#: How similar a name must be to that of a setting to be taken for a wrong spelling, from 0 to 1.
_SIMILAR, _VERY_SIMILAR = 0.6, 0.8
#: Variables that Kubernetes sets in each container where a Service is called ``echosvc`` or
#: ``echosvc-...`` (https://kubernetes.io/docs/concepts/services-networking/service/).
_KUBERNETES = re.compile(r"(?:\w+_)?(?:SERVICE_(?:HOST|PORT)\w*|PORT(?:_\d+_(?:TCP|UDP|SCTP)\w*)?)")


class SourceError(ValueError):
    """A file or a variable is wrong; says where and why in one line."""


@dataclass(frozen=True)
class FileOrigin:
    """A key of a file, as text: the file, the line and the key. The line is found when needed.

    :param name: the setting or option that the key means.
    """

    file: ConfigFile
    path: tuple[str | int, ...]
    name: str

    def __str__(self) -> str:
        return f"{self.file.where(*self.path)}: {self.name}"


@dataclass(frozen=True)
class Given:
    """A value that a setting was given.

    :ivar value: the value; what it means is not checked.
    :ivar origin: as text, names where it stands, and the setting: ``--prefix``,
        ``ECHOSVC_PREFIX``, ``echosvc.toml:3: prefix``.
    """

    value: Any
    origin: object


@dataclass(frozen=True)
class ListenTable:
    """One ``[[listen]]`` of a file.

    :ivar endpoint: the endpoint string.
    :ivar origin: as text, names where it stands.
    :ivar own: settings of this listener alone, by name.
    """

    endpoint: str
    origin: object
    own: Mapping[str, Given]


def from_environment(
    variables: Mapping[str, str], settings: Iterable[Setting], elsewhere: Mapping[str, str]
) -> dict[str, Given]:
    """Return the settings that variables give, by name. A list is of words between spaces.

    :param elsewhere: settings that only another command line has, and what to write there.
    :raises SourceError: a variable has a wrong value, or nearly the name of a setting.
    """
    known = {each.variable: each for each in settings}
    found: dict[str, Given] = {}
    for name in sorted(each for each in variables if each.startswith(VARIABLES)):
        if name in known:
            found[known[name].name] = Given(_read(known[name], name, variables[name]), name)
        elif (other := name[len(VARIABLES) :].lower()) in elsewhere:
            raise SourceError(f"{name}: is set only by {elsewhere[other]}")
        elif not _KUBERNETES.fullmatch(name[len(VARIABLES) :]):
            _refuse_if_near(name, known)
    return found


def _read(setting: Setting, name: str, text: str) -> Any:
    try:
        value: Any = tuple(text.split()) if setting.kind.repeated else setting.kind.read(text)
    except ValueError as error:
        raise SourceError(f"{name}: {error}") from None
    _check(setting, value, name)
    return value


def _check(setting: Setting, value: Any, origin: object) -> None:
    if why := setting.find_error(value):
        raise SourceError(f"{origin}: {why}")


def _refuse_if_near(name: str, known: Iterable[str]) -> None:
    """Refuse a variable that is probably meant to be a setting. Others are not for this program."""
    if near := get_close_matches(name, known, 1, _VERY_SIMILAR):
        raise SourceError(f"{name}: is no setting: is {near[0]} meant?")


def from_file(
    file: ConfigFile,
    settings: Iterable[Setting],
    own: Iterable[Setting],
    elsewhere: Mapping[str, str],
) -> tuple[dict[str, Given], list[ListenTable]]:
    """Return the settings that a file gives, by name, and its listeners.

    :param settings: what may stand in it.
    :param own: what may stand in a ``[[listen]]``, besides ``endpoint``.
    :param elsewhere: settings that only another command line has, and what to write there.
    :raises SourceError: a key or a value is wrong.
    """
    values = dict(file.values)
    for name in elsewhere.keys() & {key.replace("-", "_") for key in values}:
        key = name.replace("_", "-")
        raise SourceError(f"{FileOrigin(file, (key,), key)}: is set only by {elsewhere[name]}")
    listen = values.pop("listen", None)
    found = _values_of(file, (), values, {each.option: each for each in settings}, ("listen",))
    tables = {each.option: each for each in own}
    return found, [] if listen is None else _listeners(file, listen, tables)


def _values_of(
    file: ConfigFile,
    path: tuple[str | int, ...],
    values: Mapping[str, Any],
    known: Mapping[str, Setting],
    others: tuple[str, ...],
) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for key, value in values.items():
        origin = FileOrigin(file, (*path, key), key)
        if key not in known:
            raise SourceError(f"{origin}: {_unknown(key, (*known, *others))}")
        setting = known[key]
        taken = tuple(value) if setting.kind.repeated and isinstance(value, list) else value
        _check(setting, taken, origin)
        found[setting.name] = Given(taken, origin)
    return found


def _unknown(key: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(key.lower().replace("_", "-"), known, 1, _SIMILAR)
    return "is no setting" + (f": is {near[0]} meant?" if near else "")


def _listeners(file: ConfigFile, listen: Any, known: Mapping[str, Setting]) -> list[ListenTable]:
    if not isinstance(listen, list):
        raise SourceError(
            f"{FileOrigin(file, ('listen',), 'listen')}: must be a list of endpoints, or tables"
            f" [[listen]], not {listen!r}"
        )
    if not listen:
        raise SourceError(f"{FileOrigin(file, ('listen',), 'listen')}: names no endpoint")
    return [_listener(file, index, each, known) for index, each in enumerate(listen)]


def _listener(
    file: ConfigFile, index: int, value: Any, known: Mapping[str, Setting]
) -> ListenTable:
    path: tuple[str | int, ...] = ("listen", index)
    own: dict[str, Given] = {}
    if isinstance(value, dict):
        others = {key: each for key, each in value.items() if key != "endpoint"}
        own = _values_of(file, path, others, known, ("endpoint",))
        if "endpoint" not in value:
            raise SourceError(f"{FileOrigin(file, path, 'listen')}: has no endpoint")
        path, value = (*path, "endpoint"), value["endpoint"]
    origin = FileOrigin(file, path, "listen")
    if not isinstance(value, str):
        raise SourceError(f"{origin}: an endpoint must be a str, not {value!r}")
    return ListenTable(value, origin, own)
