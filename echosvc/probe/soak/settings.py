"""The settings of a soak, and whether they make sense. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from echosvc.probe.setting_error import SettingError
from echosvc.probe.settings import FRAMINGS
from echosvc.probe.traffic.messages import MAX_SIZE, STAMP_SIZE
from echosvc.wire.template import Template

#: A silence that is a gap, where nothing else was asked for, seconds.
SILENCE = 1.0
MAX_CONNECTIONS = 10_000


class SoakSettingsError(SettingError):
    """A setting is wrong; its text is the reason, one line."""


@dataclass(frozen=True)
class SoakSettings:
    """What is asked for.

    :ivar prefix: the server's; ``None``: it is detected on each connection.
    :ivar framing: the server's.
    :ivar connections: how many are kept open.
    :ivar interval: from one message of a connection to the next, seconds.
    :ivar size: of a message, bytes.
    :ivar silence: how long an answer may take before that is a gap, seconds; 0:
        :data:`SILENCE`, or ``max_gap`` if that is less.
    :ivar timeout: seconds after which a connection is given up that does not open, or on which
        nothing is answered.
    :ivar max_wait: longest wait between two attempts to open a connection, seconds.
    :ivar duration: how long it lasts, seconds; 0: until it is stopped.
    :ivar max_gap: it has failed if a gap is longer, seconds; ``None``: see :attr:`has_limits`.
    :ivar max_breaks: it has failed if more connections end.
    """

    prefix: Template | None = None
    framing: str = FRAMINGS[0]
    connections: int = 10
    interval: float = 0.2
    size: int = 64
    silence: float = 0.0
    timeout: float = 10.0
    max_wait: float = 1.0
    duration: float = 0.0
    max_gap: float | None = None
    max_breaks: int | None = None

    @property
    def has_limits(self) -> bool:
        """Whether a limit is given; if none is, there must be no gap at all."""
        return self.max_gap is not None or self.max_breaks is not None

    @property
    def longest_silence(self) -> float:
        """How long an answer may take before that is a gap, seconds."""
        most = math.inf if self.max_gap is None else self.max_gap
        return self.silence or min(SILENCE, most, self.timeout)

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        prefix = None if self.prefix is None else self.prefix.describe()
        return {**own, "prefix": prefix, "silence": self.longest_silence}


def validate(settings: SoakSettings) -> None:
    """Check settings.

    :raises SoakSettingsError: one is wrong.
    """
    for rules in (_type_rules, _value_rules, _common_rules):
        fault = next((why for wrong, why in rules(settings) if wrong), "")
        if fault:
            raise SoakSettingsError(fault)


def _type_rules(settings: SoakSettings) -> Iterator[tuple[object, str]]:
    given = settings.prefix
    yield not (given is None or isinstance(given, Template)), "<prefix> must be a template"
    for name in ("interval", "silence", "timeout", "max_wait", "duration", "max_gap"):
        value = getattr(settings, name)
        right = _is_number(value) or (value is None and name == "max_gap")
        yield not right, f"<{name}> must be a number of seconds, not {value!r}"
    for name in ("connections", "size", "max_breaks"):
        value = getattr(settings, name)
        whole = _is_number(value) and isinstance(value, int)
        right = whole or (value is None and name == "max_breaks")
        yield not right, f"<{name}> must be a whole number, not {value!r}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value_rules(settings: SoakSettings) -> Iterator[tuple[object, str]]:
    yield settings.framing not in FRAMINGS, f"<framing> must be one of {', '.join(FRAMINGS)}"
    known = 1 <= settings.connections <= MAX_CONNECTIONS
    yield not known, f"<connections> must be 1 to {MAX_CONNECTIONS}"
    least = STAMP_SIZE + (settings.framing == "line")
    yield not least <= settings.size <= MAX_SIZE, f"<size> must be {least} to {MAX_SIZE} bytes"
    for name in ("interval", "timeout", "max_wait"):
        value = getattr(settings, name)
        yield not 0 < value < math.inf, f"<{name}> must be more than 0 seconds"
    for name in ("silence", "duration", "max_gap"):
        value = getattr(settings, name) or 0
        yield not 0 <= value < math.inf, f"<{name}> must be 0 seconds or more"
    yield (settings.max_breaks or 0) < 0, "<max_breaks> must be 0 or more"


def _common_rules(settings: SoakSettings) -> Iterator[tuple[object, str]]:
    silence, most = settings.longest_silence, settings.max_gap
    yield most == 0, "<max_gap> must be more than 0 seconds; <max_breaks> 0 allows no end"
    if most is not None:
        why = f"a gap of {most:g} s is not seen with a message each {settings.interval:g} s"
        yield settings.interval > most, f"<interval> must not be more than <max_gap>: {why}"
        yield silence > most, f"<silence> must not be more than <max_gap>, {most:g} s"
    timeout = settings.timeout
    yield silence > timeout, f"<silence> must not be more than <timeout>, {timeout:g} s"
