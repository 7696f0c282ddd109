"""Short forms of faults as keywords of Python: ``drop=(1000, 1)`` for ``drop=1,at=1000``.

One fault at a time: several are several :class:`~echosvc.faults.spec.FaultSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: The kind, and its values.
_Found = tuple[str, dict[str, object]]


def _block(kind: str) -> Callable[[Any], _Found]:
    """Return what reads a pair of an offset and a length."""
    return lambda pair: (kind, {"at": pair[0], "size": pair[1]})


#: What the value of each keyword means. A value is an offset and a length, an offset, an offset
#: and bytes, a word, seconds or a size.
_KEYWORDS: dict[str, Callable[[Any], _Found]] = {
    "drop": _block("drop"),
    "duplicate": _block("repeat"),
    "swap": _block("swap"),
    "flip": lambda offset: ("change", {"at": offset, "size": 1}),
    "insert": lambda pair: ("insert", {"at": pair[0], "data": pair[1]}),
    "cut": lambda offset: ("close", {"at": offset}),
    "on_fin": lambda how: ("fin", {"how": how}),
    "on_reset": lambda how: ("rst", {"how": how}),
    "idle_timeout": lambda seconds: ("idle", {"time": seconds}),
    "delay": lambda seconds: ("latency", {"time": seconds}),
    "chunk_size": lambda size: ("segments", {"size": size}),
}
_PAIRS = ("drop", "duplicate", "swap", "insert")
#: Values that mean that there is no such fault.
_NONE: dict[str, object] = {"on_fin": "pass", "on_reset": "rst"}
_ON_IDLE = {"fin": "fin", "rst": "reset", "silence": "silence"}
#: The buffer of ``unbounded=True``, bytes.
_UNBOUNDED = 1 << 30
#: The kinds that one direction alone has by nature.
_DIRECTED = ("drop", "repeat", "swap", "change", "insert", "close")


def from_keywords(values: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """Return the kind and the values that keywords mean.

    :raises ValueError: there is no such keyword, or several are of different faults.
    """
    rest = dict(values)
    upstream, on_idle = rest.pop("upstream", False), rest.pop("on_idle", "fin")
    unbounded = rest.pop("unbounded", False)
    if not isinstance(upstream, bool) or not isinstance(unbounded, bool):
        name = "unbounded" if isinstance(upstream, bool) else "upstream"
        raise ValueError(f"{name} must be True or False, not {values[name]!r}")
    if not isinstance(on_idle, str) or on_idle not in _ON_IDLE:
        raise ValueError(f"on_idle must be one of fin, rst, silence, not {on_idle!r}")
    found = [_read(name, value) for name, value in rest.items() if not _is_none(name, value)]
    found += [("buffer", {"size": _UNBOUNDED})] * unbounded
    if len(found) > 1:
        names = " and ".join(kind for kind, _ in found)
        raise ValueError(f"one FaultSpec is one fault, not {names}: give a list of them")
    kind, read = found[0] if found else ("none", {})
    if upstream and kind in _DIRECTED:
        read["direction"] = "up"
    if kind == "idle":
        read["end"] = _ON_IDLE[on_idle]
    return kind, read


def _is_none(name: str, value: object) -> bool:
    if name in _NONE:
        return value == _NONE[name]
    return value is None or (name in ("idle_timeout", "delay", "chunk_size") and value == 0)


def _read(name: str, value: object) -> _Found:
    if name not in _KEYWORDS:
        raise ValueError(f"there is no keyword {name!r}: give the kind first, as text")
    if name in _PAIRS and not (isinstance(value, tuple) and len(value) == 2):
        raise ValueError(f"{name} must be a tuple of two, not {value!r}")
    return _KEYWORDS[name](value)
