"""The settings of ``echosvc share``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from echosvc.probe.setting_error import SettingError
from echosvc.probe.settings import FRAMINGS, find_pattern_error
from echosvc.probe.share.answers import LINE_DIALECTS
from echosvc.probe.share.expectation import Expectation, check_expectations
from echosvc.wire.template import Template

#: The languages of echo servers, the default one first.
DIALECTS = ("echosvc", *LINE_DIALECTS)
#: The probability that a decision, an interval or a change is wrong, over all of them.
ERROR = 1e-4
#: Connections at most where the settings do not say: with an expectation, and without one.
MOST_TO_DECIDE, MOST_TO_SHOW = 20_000, 1_000
#: Connections a second where shares are watched and the settings do not say.
WATCH_RATE = 100.0
#: Limits of the settings.
MOST_CONNECTIONS, MOST_CONCURRENCY, MOST_RATE, LONGEST = 10_000_000, 1_000, 100_000.0, 30 * 86400.0


class ShareSettingsError(SettingError):
    """Settings that make no sense; says which and why in one line."""

    options: ClassVar[Mapping[str, str]] = {"source-ports": "source-port"}


@dataclass(frozen=True)
class ShareSettings:
    """What is asked of the servers behind a path.

    :ivar expect: the shares that are expected; none: they are only shown.
    :ivar dialect: the language of the servers, one of :data:`DIALECTS`.
    :ivar prefix: of the servers, with fields; ``None``: it is detected.
    :ivar framing: of the servers, with the dialect ``echosvc``.
    :ivar identity: a regular expression that finds the name in what names the server: its prefix,
        its word or its pod.
    :ivar connections: how many are opened at most; 0: what is usual.
    :ivar concurrency: how many are open at once at most.
    :ivar rate: how many are opened a second at most; 0: as many as the concurrency allows.
    :ivar timeout: seconds in which a connection must be made and answered.
    :ivar source_ports: the first and the last port to connect from; ``None``: the system's choice.
    :ivar watch: for how many seconds the shares are watched; 0: they are not.
    """

    expect: tuple[Expectation, ...] = ()
    dialect: str = DIALECTS[0]
    prefix: Template | None = None
    framing: str = FRAMINGS[0]
    identity: str | None = None
    connections: int = 0
    concurrency: int = 10
    rate: float = 0.0
    timeout: float = 10.0
    source_ports: tuple[int, int] | None = None
    watch: float = 0.0

    @property
    def most_connections(self) -> int:
        """How many connections are opened at most; 0: any number, while they are watched."""
        if self.connections or self.watch:
            return self.connections
        return MOST_TO_DECIDE if self.expect else MOST_TO_SHOW

    @property
    def most_a_second(self) -> float:
        """How many connections are opened a second at most; 0: any number."""
        return self.rate or (WATCH_RATE if self.watch else 0.0)


def validate(settings: ShareSettings) -> None:
    """Check that settings make sense.

    :raises ShareSettingsError: they do not.
    :raises ExpectationError: the expectations do not go together.
    """
    for broken, why in chain(_type_rules(settings), _value_rules(settings)):
        if broken:
            raise ShareSettingsError(why)
    check_expectations(settings.expect)
    fault = None if settings.identity is None else find_pattern_error(settings.identity)
    if fault is not None:
        raise ShareSettingsError(f"<identity>: {fault}")


def _type_rules(settings: ShareSettings) -> Iterator[tuple[bool, str]]:
    """Yield for each rule whether it is broken, and the message."""
    for name in ("connections", "concurrency"):
        value = getattr(settings, name)
        yield not _is_number(value, int), f"<{name}> must be a whole number, not {value!r}"
    for name in ("rate", "timeout", "watch"):
        value = getattr(settings, name)
        yield not _is_number(value, float), f"<{name}> must be a number, not {value!r}"
    for name in ("dialect", "framing"):
        value = getattr(settings, name)
        yield not isinstance(value, str), f"<{name}> must be text, not {value!r}"
    given = settings.identity
    yield not (given is None or isinstance(given, str)), f"<identity> must be text, not {given!r}"
    ok = settings.prefix is None or isinstance(settings.prefix, Template)
    yield not ok, "<prefix> must be a template"
    yield (
        not _is_port_range(settings.source_ports),
        (f"<source_ports> must be two ports from 1 to 65535, not {settings.source_ports!r}"),
    )


def _is_number(value: object, kind: type[int] | type[float]) -> bool:
    right = isinstance(value, kind) or (kind is float and isinstance(value, int))
    return right and not isinstance(value, bool)


def _is_port_range(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    ports = [each for each in value if _is_number(each, int)]
    return len(ports) == 2 and 1 <= ports[0] <= ports[1] <= 65535


def _value_rules(settings: ShareSettings) -> Iterator[tuple[bool, str]]:
    """Yield for each rule whether it is broken, and the message."""
    yield settings.dialect not in DIALECTS, f"<dialect> must be one of {', '.join(DIALECTS)}"
    yield settings.framing not in FRAMINGS, f"<framing> must be one of {', '.join(FRAMINGS)}"
    yield settings.identity == "", "<identity> must not be empty"
    other = settings.dialect != DIALECTS[0]
    of_it = f"the dialect {settings.dialect} has its own"
    yield other and settings.prefix is not None, f"<prefix> is for <dialect> echosvc: {of_it}"
    yield other and settings.framing != FRAMINGS[0], f"<framing> is for <dialect> echosvc: {of_it}"
    most = MOST_CONNECTIONS
    yield not 0 <= settings.connections <= most, f"<connections> must be from 0 to {most}"
    most = MOST_CONCURRENCY
    yield not 1 <= settings.concurrency <= most, f"<concurrency> must be from 1 to {most}"
    rate = f"<rate> must be from 0 to {MOST_RATE:g} connections a second"
    yield not 0 <= settings.rate <= MOST_RATE, rate
    yield not 0 < settings.timeout <= LONGEST, "<timeout> must be more than 0 seconds"
    yield not 0 <= settings.watch <= LONGEST, "<watch> must be from 0 seconds to 30 days"
    yield math.isnan(settings.rate + settings.timeout + settings.watch), "nan is no number"
