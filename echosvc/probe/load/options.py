"""What is asked of a load, and whether that makes sense."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from echosvc.probe.setting_error import SettingError
from echosvc.probe.settings import FRAMINGS
from echosvc.probe.traffic.messages import MAX_SIZE, STAMP_SIZE
from echosvc.probe.traffic.schedule import ARRIVALS
from echosvc.probe.traffic.verdict import MAX_CPU_WAIT, MAX_SEND_LAG, Bounds
from echosvc.wire.template import Template

#: The most connections, messages in flight on one, and messages a second.
MAX_CONNECTIONS, MAX_DEPTH, MAX_RATE = 100_000, 100_000, 10_000_000.0
#: The longest run, seconds.
MAX_SECONDS = 30 * 86400.0
#: What one run has for itself, while the others that it is merged with have something else.
_OWN = ("seed", "shard", "start_at", "max_send_lag", "max_cpu_wait")


#: Messages in flight on each connection where no other number is asked for. At a rate this bounds
#: the memory for what a peer takes and does not answer.
CLOSED_DEPTH, RATE_DEPTH = 1, 10_000


class LoadOptionsError(SettingError):
    """An option is wrong; its text is the reason, one line."""

    options: ClassVar[Mapping[str, str]] = {"max-size": "size"}


@dataclass(frozen=True)
class LoadOptions:
    """What is asked of a load. With shards, everything but ``shard`` is of the whole run.

    :ivar connections: how many are open at once.
    :ivar size: of a message, bytes; of the shortest one.
    :ivar max_size: of the longest message, bytes; sizes are spread evenly. 0: as ``size``.
    :ivar duration: seconds in which messages are sent.
    :ivar rate: messages a second over all connections; 0: a closed loop, in which the next message
        is sent when one is answered.
    :ivar depth: messages in flight on each connection, at most. What is due beyond is sent later,
        and its wait is part of its latency. 0: :data:`CLOSED_DEPTH`, or :data:`RATE_DEPTH` at a
        rate.
    :ivar arrivals: at a rate, ``fixed`` or ``poisson``.
    :ivar connect_rate: connections that are opened a second at most; 0: any number.
    :ivar lifetime: seconds after which a connection is replaced without loss; 0: never.
    :ivar warmup: the first seconds of ``duration``, of which no time is counted.
    :ivar grace: seconds in which a message must be answered, at the end of the run and before.
    :ivar seed: of messages and arrivals; ``None``: another one each time.
    :ivar shard: which part of the run this process has, and of how many: from ``(1, 1)``.
    :ivar start_at: Unix time at which the first message is sent; ``None``: as soon as possible.
    :ivar framing: the server's.
    :ivar prefix: the server's; ``None``: it is detected on each connection by two short messages,
        and a greeting, too.
    :ivar timeout: seconds that a connection may take to open, and the two messages after that.
    :ivar max_send_lag: the highest p99 of the generator's own lag, seconds, at which a run at a
        rate is valid.
    :ivar max_cpu_wait: the highest part of the time in which the generator may wait for a
        processor, at which the run is valid; 1: any.
    """

    connections: int = 10
    size: int = 64
    max_size: int = 0
    duration: float = 10.0
    rate: float = 0.0
    depth: int = 0
    arrivals: str = ARRIVALS[0]
    connect_rate: float = 0.0
    lifetime: float = 0.0
    warmup: float = 0.0
    grace: float = 5.0
    seed: int | None = None
    shard: tuple[int, int] = (1, 1)
    start_at: float | None = None
    framing: str = FRAMINGS[0]
    prefix: Template | None = None
    timeout: float = 10.0
    max_send_lag: float = MAX_SEND_LAG
    max_cpu_wait: float = MAX_CPU_WAIT

    def __post_init__(self) -> None:
        """Check the values."""
        fault = next((why for right, why in self._rules() if not right), "")
        if fault:
            raise LoadOptionsError(fault)

    @property
    def largest(self) -> int:
        """Bytes of the longest message."""
        return self.max_size or self.size

    @property
    def in_flight(self) -> int:
        """How many messages may be in flight on each connection."""
        return self.depth or (RATE_DEPTH if self.rate else CLOSED_DEPTH)

    @property
    def bounds(self) -> Bounds:
        """What the generator must keep."""
        return Bounds(self.max_send_lag, self.max_cpu_wait)

    @property
    def share(self) -> range:
        """The numbers of the connections of this shard, of those of the whole run."""
        index, total = self.shard
        return range(index - 1, self.connections, total)

    def describe(self) -> dict[str, Any]:
        """Return for JSON what results that are merged must have in common."""
        names = (field.name for field in fields(self) if field.name not in _OWN)
        options = {name: getattr(self, name) for name in names}
        prefix = None if self.prefix is None else self.prefix.describe().decode("latin-1")
        return {**options, "depth": self.in_flight, "prefix": prefix}

    def _rules(self) -> Iterator[tuple[bool, str]]:
        """Yield for each rule whether it is kept, and what is wrong if not."""
        yield from self._number_rules()
        shard = self.shard
        whole = isinstance(shard, tuple) and len(shard) == 2 and all(map(_is_whole, shard))
        yield whole and 1 <= shard[0] <= shard[1], "<shard> must be I of N, with I from 1 to N"
        yield (
            isinstance(self.framing, str) and self.framing in FRAMINGS,
            (f"<framing> must be one of {', '.join(FRAMINGS)}"),
        )
        yield self.arrivals in ARRIVALS, f"<arrivals> must be {' or '.join(ARRIVALS)}"
        right = self.prefix is None or isinstance(self.prefix, Template)
        yield right, "<prefix> must be a template"
        yield from self._combination_rules()

    def _number_rules(self) -> Iterator[tuple[bool, str]]:
        least = STAMP_SIZE + (self.framing == "line")
        for name, low, high in (
            ("connections", 1, MAX_CONNECTIONS),
            ("size", least, MAX_SIZE),
            ("depth", 0, MAX_DEPTH),
        ):
            value = getattr(self, name)
            right = _is_whole(value) and low <= value <= high
            yield right, f"<{name}> must be a whole number from {low} to {high}, not {value!r}"
        right = _is_whole(self.max_size) and (not self.max_size or self.size <= self.max_size)
        yield right, f"<max_size> must be a whole number from <size> on, not {self.max_size!r}"
        yield self.max_size <= MAX_SIZE, f"<max_size> must be at most {MAX_SIZE} bytes"
        for name, least, most in _NUMBERS:
            value = getattr(self, name)
            right = _is_number(value) and least <= value <= most
            yield right, f"<{name}> must be a number from {least:g} to {most:g}, not {value!r}"
        for name in ("duration", "timeout", "max_send_lag"):
            yield getattr(self, name) > 0, f"<{name}> must be more than 0"
        yield (
            self.seed is None or (_is_whole(self.seed) and 0 <= self.seed < 1 << 63),
            (f"<seed> must be a whole number from 0 to {(1 << 63) - 1}, not {self.seed!r}"),
        )
        yield self.start_at is None or _is_number(self.start_at), "<start_at> must be a Unix time"

    def _combination_rules(self) -> Iterator[tuple[bool, str]]:
        yield self.warmup < self.duration, "<warmup> must be shorter than <duration>"
        yield bool(self.rate) or self.arrivals == ARRIVALS[0], "<arrivals> is for a run with <rate>"
        sharded = self.shard[1] > 1
        yield not sharded or self.seed is not None, "<shard> needs <seed>, the same for all shards"
        yield (
            self.shard[1] <= self.connections,
            f"<shard>: {self.shard[1]} shards of {self.connections} connections: some have none",
        )


_NUMBERS = (
    ("duration", 0, MAX_SECONDS), ("rate", 0, MAX_RATE), ("connect_rate", 0, MAX_RATE),
    ("lifetime", 0, MAX_SECONDS), ("warmup", 0, MAX_SECONDS), ("grace", 0, MAX_SECONDS),
    ("timeout", 0, MAX_SECONDS), ("max_send_lag", 0, MAX_SECONDS), ("max_cpu_wait", 0, 1),
)  # fmt: skip


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    return right and math.isfinite(value)  # type: ignore[arg-type]
