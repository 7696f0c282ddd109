"""The settings of a check: whether they make sense, and which probes they ask for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from echosvc.probe.checks.registry import Probe, load_probes
from echosvc.probe.setting_error import SettingError
from echosvc.probe.settings import FRAMINGS, CheckSettings, find_pattern_error
from echosvc.wire.template import Template

#: All of them, in their order.
PROBES = load_probes()
NAMES = tuple(probe.name for probe in PROBES)
#: A probe that may take longer than so many seconds is named beforehand.
LONG = 5.0


class SettingsError(SettingError):
    """A setting is wrong; its text is the reason, one line."""


def validate(settings: CheckSettings) -> None:
    """Check settings.

    :raises SettingsError: one is wrong.
    """
    rules = itertools.chain(_type_rules(settings), _value_rules(settings))
    error = next((why for wrong, why in rules if wrong), "")
    if error:
        raise SettingsError(error)
    if settings.identity is not None and (why := find_pattern_error(settings.identity)):
        raise SettingsError(f"<identity>: {why}")


def _type_rules(settings: CheckSettings) -> Iterator[tuple[object, str]]:
    """Yield for each setting whether its type is wrong, and the message."""
    for name in ("only", "skip", "idle"):
        value, what = getattr(settings, name), "seconds" if name == "idle" else "probes"
        several = isinstance(value, (tuple, list, set, frozenset))
        yield not several, f"<{name}> must be a tuple of {what}, not {value!r}"
        right = all(map(_is_number if name == "idle" else _is_text, value))
        yield not right, f"<{name}> must be a tuple of {what}, not {value!r}"
    for name in ("timeout", "find_idle", "lifetime", "pace"):
        value, what = getattr(settings, name), "connections" if name == "pace" else "seconds"
        yield not _is_number(value), f"<{name}> must be a number of {what}, not {value!r}"
    for name in ("connections", "max_size"):
        value, what = getattr(settings, name), "bytes" if name == "max_size" else name
        whole = _is_number(value) and isinstance(value, int)
        yield not whole, f"<{name}> must be a whole number of {what}, not {value!r}"
    for name in ("framing", "identity"):
        value = getattr(settings, name)
        right = _is_text(value) or (value is None and name == "identity")
        yield not right, f"<{name}> must be text, not {value!r}"
    given = settings.prefix
    yield not (given is None or isinstance(given, Template)), "<prefix> must be a template"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _value_rules(settings: CheckSettings) -> Iterator[tuple[object, str]]:
    """Yield for each rule whether it is broken, and the message."""
    for name in (*settings.only, *settings.skip):
        yield not name, f"an empty name in <{'only' if '' in settings.only else 'skip'}>"
        yield name not in NAMES, f"there is no probe {name!r}; there are {', '.join(NAMES)}"
    for name in ("find_idle", "lifetime"):
        probe = name.replace("_", "-")
        missing = probe in settings.only and not getattr(settings, name)
        yield missing, f"the probe {probe} needs <{name}>"
    yield not selected(settings), "no probe is left"
    known = settings.framing in FRAMINGS
    yield not known, f"<framing> must be one of {', '.join(FRAMINGS)}"
    yield settings.connections < 1, "<connections> must be 1 or more"
    yield not 0 <= settings.pace < math.inf, "<pace> must be 0 or more connections a second"
    yield settings.max_size < 1, "<max_size> must be 1 byte or more"
    yield not 0 < settings.timeout < math.inf, "<timeout> must be more than 0 seconds"
    times = (*settings.idle, settings.find_idle or 1.0)
    right = all(0 < each < math.inf for each in times)
    yield not right, "<idle> and <find_idle> must be more than 0 seconds"
    yield not 0 <= settings.lifetime < math.inf, "<lifetime> must be more than 0 seconds"


def selected(settings: CheckSettings, probes: Sequence[Probe] = PROBES) -> list[Probe]:
    """Return the probes that the settings ask for."""
    return [
        probe
        for probe in probes
        if (not settings.only or probe.name in settings.only)
        and probe.name not in settings.skip
        and probe.enabled(settings)
    ]


def long_probes(settings: CheckSettings) -> list[tuple[str, float]]:
    """Return the probes that take long by their nature: their names, and seconds at most."""
    times = [(probe.name, probe.duration(settings)) for probe in selected(settings)]
    return [(name, seconds) for name, seconds in times if seconds > LONG]
