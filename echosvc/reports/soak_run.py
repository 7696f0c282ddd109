"""A soak as a document needs it: what was asked, from where, and what was found. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from echosvc.probe.soak.result import SoakResult
from echosvc.reports.axes import utc_time


@dataclass(frozen=True)
class SoakRun:
    """A soak: what was asked, and what was found.

    :ivar result: what was found.
    :ivar command: the command line that asks the same, or "".
    :ivar host: the host that it ran on.
    """

    result: SoakResult
    command: str
    host: str

    @property
    def started(self) -> datetime:
        """When it began, in UTC."""
        return utc_time(self.result.started)


def option_texts(result: SoakResult) -> Iterator[tuple[str, str]]:
    """Yield the name of each option that has a value, and the value as text."""
    for name, value in result.options.items():
        if value is not None and value != 0:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            yield name.replace("_", "-"), text
