"""All that a run has found, and how it is written to a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from benchmarks.figures import Figures
from benchmarks.workloads import Workload


@dataclass
class Results:
    """What a run has found.

    :ivar workloads: those measured, in order.
    :ivar figures: by the name of the workload and the name of the peer.
    :ivar absent: why a peer is, by its name.
    :ivar left_out: why a workload is, by its title.
    :ivar floors: which C server was the cheapest, by the title of the workload.
    :ivar machine: facts on the machine and the versions.
    :ivar options: of the command line.
    """

    workloads: list[Workload] = field(default_factory=list)
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    floors: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    options: str = ""

    def get(self, workload: str, peer: str) -> Figures | None:
        """The figures of one peer under one workload, if it was measured."""
        return self.figures.get(workload, {}).get(peer)

    def cost(self, workload: str, peer: str) -> float | None:
        """The cost of one peer under one workload, if it was measured."""
        found = self.get(workload, peer)
        return found.cost if found else None

    def add(self, workload: Workload, found: dict[str, Figures]) -> None:
        """One more workload."""
        self.workloads.append(workload)
        self.figures[workload.name] = found

    def as_json(self, verdicts: list[dict[str, object]]) -> str:
        """Everything, for other programs.

        :param verdicts: of the targets.
        """
        measured = [
            {**asdict(workload), "figures": _plain(self.figures[workload.name])}
            for workload in self.workloads
        ]
        whole = {
            "options": self.options,
            "machine": self.machine,
            "absent": self.absent,
            "left_out": self.left_out,
            "floors": self.floors,
            "workloads": measured,
            "targets": verdicts,
        }
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _plain(found: dict[str, Figures]) -> dict[str, object]:
    """Figures as JSON has them, in six significant digits."""
    return {
        peer: {
            name: float(f"{value:.6g}") if isinstance(value, float) else value
            for name, value in asdict(figures).items()
        }
        for peer, figures in found.items()
    }
