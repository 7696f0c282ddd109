"""Results of probes, for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Result = Literal["pass", "fail", "info", "skip"]


@dataclass(frozen=True)
class ProbeResult:
    """What one probe found.

    :ivar name: the probe's.
    :ivar result: pass, fail, info or skip.
    :ivar finding: in words.
    :ivar cause: of a failure, the likeliest one; or "".
    :ivar seconds: how long it took.
    :ivar facts: the finding for programs; its names depend on the probe.
    """

    name: str
    result: Result
    finding: str
    seconds: float
    cause: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        own = {"name": self.name, "result": self.result, "finding": self.finding}
        cause = {"cause": self.cause} if self.cause else {}
        return {**own, **cause, "seconds": round(self.seconds, 6), **self.facts}


@dataclass(frozen=True)
class CheckResult:
    """What all probes found.

    :ivar endpoint: the server, as it was given.
    :ivar probes: in the order in which they ran.
    :ivar interrupted: not all selected probes ran.
    """

    endpoint: str
    probes: tuple[ProbeResult, ...]
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether all selected probes ran, and none failed."""
        return not self.interrupted and all(probe.result != "fail" for probe in self.probes)

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        more = {"interrupted": True} if self.interrupted else {}
        probes = [probe.as_dict() for probe in self.probes]
        return {"endpoint": self.endpoint, "ok": self.ok, **more, "probes": probes}
