"""What is aimed at: ratios within one run, and whether they are reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from benchmarks.figures import ratio
from benchmarks.lineup import BY_NAME
from benchmarks.results import Results
from benchmarks.rounds import IMPORT
from benchmarks.workloads import BY_NAME as WORKLOADS

#: Instead of a peer: the same server without idle connections; nothing, but a number.
ALONE, NUMBER = "alone", "number"


@dataclass(frozen=True)
class Target:
    """A bound of one of our servers.

    :ivar workload: the name of a workload.
    :ivar who: the name of a peer.
    :ivar against: the name of the peer whose cost is 1; or :data:`ALONE`, :data:`NUMBER`,
        or importing the reactor.
    :ivar most: the largest value that meets it.
    """

    workload: str
    who: str
    against: str
    most: float

    @property
    def words(self) -> str:
        """It, for a reader."""
        title = WORKLOADS[self.workload].title
        others = {ALONE: "itself without the idle ones", IMPORT: "importing the reactor"}
        who = BY_NAME[self.who].title
        if self.against == NUMBER:
            return f"{title}: {who}, {WORKLOADS[self.workload].unit}"
        other = others.get(self.against) or BY_NAME[self.against].title
        return f"{title}: {who} / {other}"


@dataclass(frozen=True)
class Verdict:
    """Whether a target is met. ``value`` is ``None`` where it was not measured."""

    target: Target
    value: float | None

    @property
    def word(self) -> str:
        """Met, not met or not measured."""
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.target.most else "NOT MET"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self.target), "value": self.value, "verdict": self.word}


def _ours(workload: str, against: str, most: float) -> list[Target]:
    """The same for the default reactor, without a log and with all defaults."""
    return [Target(workload, who, against, most) for who in ("ours", "defaults")]


def _all(workload: str, against: str, most: float) -> list[Target]:
    """The same for both reactors."""
    return [Target(workload, "lean", against, most), *_ours(workload, against, most)]


#: Whose idle connections are weighed.
IDLE = ("lean", "ours", "defaults", "limited", "lifetime", "peer-prefix")

TARGETS = (
    Target("pingpong-64x64", "lean", "c", 1.15),
    Target("pingpong-64x64", "lean", "uvloop", 0.95),
    Target("pingpong-64x64", "lean", "node", 0.7),
    *_ours("pingpong-64x64", "plain", 0.7),
    *_ours("pingpong-64x64", "node", 0.95),
    Target("bulk", "lean", "c", 1.05),
    Target("bulk", "lean", "node", 0.5),
    *_ours("bulk", "c", 1.1),
    *_all("duplex", "c", 1.1),
    Target("connect", "lean", "node", 0.9),
    Target("connect", "ours", "node", 1.0),
    *(Target("idle", who, NUMBER, 1300) for who in IDLE),
    *(Target("idle", who, "ours", 1.25) for who in IDLE[2:]),
    *_all("idle", "node", 1 / 3),
    *_all("idle-new", "node", 1 / 3),
    *_all("beside", ALONE, 1.15),
    Target("tls-64", "lean", "node", 1.5),
    *_ours("tls-64", "node", 1.7),
    *_all("start", IMPORT, 1.35),
)


def _value(results: Results, target: Target) -> float | None:
    """What was measured for a target, if it was."""
    found = results.get(target.workload, target.who)
    if found is None:
        return None
    if target.against == NUMBER:
        return found.cost
    if target.against == ALONE:
        return found.beside or None
    return ratio(found, results.get(target.workload, target.against))


def judge(results: Results) -> list[Verdict]:
    """A verdict on each target of the workloads that were measured."""
    measured = results.figures
    return [Verdict(t, _value(results, t)) for t in TARGETS if t.workload in measured]
