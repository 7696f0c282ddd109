"""One fault in words: the same in the command line, in JSON and in Python. No Twisted, no I/O.

The text of a fault is its kind, the value of the main parameter, and other parameters::

    latency=100ms,jitter=20ms,direction=up
    drop=1,at=1000,first=3
    reset,after=5s,share=25%

In Python it is ``FaultSpec("latency=100ms", jitter=0.02)``, or
``FaultSpec("latency", time=0.1, jitter=0.02)``; in JSON
``{"fault": "latency", "time": 0.1, "jitter": 0.02}``. Times are seconds where they are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from echosvc._text import quote
from echosvc.faults.keywords import from_keywords
from echosvc.faults.kind import REQUIRED, FaultKind, Parameter
from echosvc.faults.values import Data
from echosvc.faults.vocabulary import KINDS

#: The name of the kind in JSON.
FAULT = "fault"


class FaultSpecError(ValueError):
    """A fault that makes no sense; says what is wrong and where, in one line.

    :ivar place: the number of the character, from 1 on, where a text is wrong; 0: it is no text.
    """

    def __init__(self, why: str, place: int = 0) -> None:
        super().__init__(f"character {place}: {why}" if place else why)
        self.place = place


class FaultSpec:
    """One fault: what it does, whom it concerns, and when. It does not change.

    :param text: the kind, or the text of a fault.
    :param values: parameters by their names, as values of Python or as text. Without ``text``
        they are the short forms of :mod:`echosvc.faults.keywords`, such as ``drop=(1000, 1)``.
    :ivar kind: its kind.
    :ivar values: the values of all parameters.
    :raises FaultSpecError: they make no sense.
    """

    __slots__ = ("_text", "kind", "values")
    kind: FaultKind
    values: Mapping[str, Any]

    def __init__(self, text: str = "", /, **values: object) -> None:
        if not isinstance(text, str):
            raise FaultSpecError(f"a fault is text, or parameters by their names, not {text!r}")
        if not text:
            text, values = _from_keywords(values)
        self.kind, given = _parse(text)
        if twice := given.keys() & values.keys():
            raise FaultSpecError(f"{min(twice)} is given twice")
        complete = _complete(self.kind, {**given, **_checked(self.kind, values)})
        self.values = MappingProxyType(complete)
        self._text = _write(self.kind, self.values)

    @classmethod
    def parse(cls, text: str) -> FaultSpec:
        """Return the fault of a text.

        :raises FaultSpecError: it is none; says where.
        """
        if not isinstance(text, str) or not text:
            raise FaultSpecError(f"a fault begins with its kind: {_kinds()}", 1)
        return cls(text)

    @classmethod
    def from_json(cls, document: object) -> FaultSpec:
        """Return the fault of a JSON object, or of a JSON string that is its text.

        :raises FaultSpecError: it is none; says which member is wrong.
        """
        if isinstance(document, str):
            return cls.parse(document)
        if not isinstance(document, dict) or not isinstance(document.get(FAULT), str):
            raise FaultSpecError(f'a fault is an object with the member "{FAULT}", or its text')
        values = {name: value for name, value in document.items() if name != FAULT}
        return cls(_kind(document[FAULT], 0).name, **values)

    def to_json(self) -> dict[str, object]:
        """Return the JSON object, with the parameters that are not the default."""
        given = {name: _json_value(kind, value) for name, kind, value in _given(self)}
        return {FAULT: self.kind.name, **given}

    def __str__(self) -> str:
        """Return the text from which :meth:`parse` makes the same fault."""
        return self._text

    def __repr__(self) -> str:
        return f"FaultSpec({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, FaultSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        """Return whether it is a fault, and not ``none``."""
        return self.kind.name != "none"


#: What takes faults: one, its text, or several of both.
Faults = FaultSpec | str | Iterable[FaultSpec | str] | None


def as_specs(faults: Faults) -> tuple[FaultSpec, ...]:
    """Return faults in any form as a tuple, without ``none``.

    :raises FaultSpecError: one makes no sense.
    """
    if faults is None:
        return ()
    each = (faults,) if isinstance(faults, (str, FaultSpec)) else tuple(faults)
    specs = [one if isinstance(one, FaultSpec) else FaultSpec.parse(one) for one in each]
    return tuple(spec for spec in specs if spec)


def parse_named(text: str) -> FaultSpec:
    """Return the fault of a text, for a command line.

    :raises FaultSpecError: it is none; says which text, and where.
    """
    try:
        return FaultSpec.parse(text)
    except FaultSpecError as error:
        raise FaultSpecError(f"{quote(text)}: {error}") from None


def _parse(text: str) -> tuple[FaultKind, dict[str, Any]]:
    """Return the kind and the values of a text."""
    first, *others = text.split(",")
    name, equals, value = first.partition("=")
    kind = _kind(name, 1)
    values: dict[str, Any] = {}
    if equals:
        if kind.main is None:
            raise FaultSpecError(f"{name} has no value of its own", len(name) + 2)
        _read(kind, kind.main.name, value, len(name) + 2, values)
    place = len(first) + 2
    for part in others:
        name, equals, value = part.partition("=")
        if not equals:
            raise FaultSpecError(f"NAME=VALUE is expected, not {quote(part)}", place)
        _read(kind, name, value, place, values)
        place += len(part) + 1
    return kind, values


def _read(kind: FaultKind, name: str, text: str, place: int, values: dict[str, Any]) -> None:
    """Read one parameter into the values."""
    if name in values:
        raise FaultSpecError(f"{name} is given twice", place)
    parameter = _parameter(kind, name, place)
    try:
        values[name] = parameter.kind.checked(text)
    except ValueError as error:
        raise FaultSpecError(f"{name} {error}", place) from None


def _checked(kind: FaultKind, values: Mapping[str, object]) -> dict[str, Any]:
    """Return values of Python or JSON, checked. ``None`` is the default."""
    checked = {}
    for name, value in values.items():
        parameter = _parameter(kind, name, 0)
        if value is None:
            continue
        try:
            checked[name] = parameter.kind.checked(value)
        except ValueError as error:
            raise FaultSpecError(f"{name} {error}") from None
    return checked


def _complete(kind: FaultKind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters; check that they make sense together."""
    values = {each.name: given.get(each.name, each.default) for each in kind.all_parameters}
    missing = [name for name, value in values.items() if value is REQUIRED]
    if missing:
        main = kind.main is not None and kind.main.name == missing[0]
        example = f"{kind.name}=" if main else f"{missing[0]}="
        raise FaultSpecError(f"{kind.name} needs {missing[0]}: write {example}...")
    if values["stop"] is not None and values["stop"] <= values["start"]:
        raise FaultSpecError("stop must be later than start")
    if why := kind.find_error(values):
        raise FaultSpecError(why)
    return values


def _kind(name: str, place: int) -> FaultKind:
    if name not in KINDS:
        raise FaultSpecError(f"there is no fault {quote(name)}: the faults are {_kinds()}", place)
    return KINDS[name]


def _kinds() -> str:
    return ", ".join(KINDS)


def _parameter(kind: FaultKind, name: str, place: int) -> Parameter:
    found = next((each for each in kind.all_parameters if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in kind.all_parameters)
        raise FaultSpecError(f"{kind.name} has no parameter {quote(name)}: it has {names}", place)
    return found


def _given(spec: FaultSpec) -> Iterable[tuple[str, Any, Any]]:
    """Yield name, kind of values and value of each parameter that is not the default."""
    for each in spec.kind.all_parameters:
        if spec.values[each.name] != each.default:
            yield each.name, each.kind, spec.values[each.name]


def _write(kind: FaultKind, values: Mapping[str, Any]) -> str:
    main = kind.main
    head = kind.name if main is None else f"{kind.name}={main.kind.write(values[main.name])}"
    others = [
        f"{each.name}={each.kind.write(values[each.name])}"
        for each in kind.all_parameters
        if each is not main and values[each.name] != each.default
    ]
    return ",".join([head, *others])


def _json_value(kind: Any, value: Any) -> object:
    if isinstance(kind, Data) or value == math.inf:
        return kind.write(value)
    return list(value) if isinstance(value, tuple) else value


def _from_keywords(values: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    try:
        return from_keywords(values)
    except ValueError as error:
        raise FaultSpecError(str(error)) from None
