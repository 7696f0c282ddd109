"""Whether the shares are as expected: sure of it, sure that not, or not yet sure. No I/O.

Every connection counts. One that failed is an answer of nobody: it is in the denominator of every
share, so that a server that does not answer cannot make the others' shares look right.

The probability of a wrong decision, whenever it is made, is at most the error that is stated. It is
divided by the number of expectations (Bonferroni), each of which has a confidence sequence of its
own. The shares pass once all intervals are inside what is tolerated. They fail once one interval is
outside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from echosvc.probe.share.confidence import excludes, interval
from echosvc.probe.share.expectation import Expectation

#: What is known of a share, or of all of them.
Verdict = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True)
class ExpectedShare:
    """One expectation, and what was seen of it.

    :ivar count: connections that were answered by that server.
    """

    expectation: Expectation
    count: int
    verdict: Verdict


@dataclass(frozen=True)
class Decision:
    """What is known of all expectations.

    :ivar shares: one for each expectation, in their order.
    :ivar unexpected: servers that answered though the expected shares leave nothing for others.
    """

    shares: tuple[ExpectedShare, ...]
    unexpected: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """What is known of all together."""
        verdicts = [each.verdict for each in self.shares]
        if self.unexpected or "fail" in verdicts:
            return "fail"
        return "undecided" if "undecided" in verdicts else "pass"


class Judge:
    """Judges counts by expectations.

    :param expected: they are checked already, and at least one.
    :param error: the probability of a wrong decision, over all expectations and all times.
    """

    def __init__(self, expected: Sequence[Expectation], error: float) -> None:
        self._expected = tuple(expected)
        self._error = error / len(expected)
        self._names = {each.name for each in expected}
        whole = sum(each.share for each in expected) == 1
        self._excludes_others = whole and None not in self._names

    def decide(self, counts: Mapping[str, int], total: int) -> Decision:
        """Return what is known.

        :param counts: of each name, how many connections it answered.
        :param total: all connections, those that failed included.
        """
        others = [name for name in counts if name not in self._names]
        shares = []
        for each in self._expected:
            of_others = sum(counts[name] for name in others) if each.name is None else 0
            count = of_others if each.name is None else counts.get(each.name, 0)
            shares.append(ExpectedShare(each, count, self._verdict(each, count, total)))
        return Decision(tuple(shares), tuple(others) if self._excludes_others else ())

    def _verdict(self, expected: Expectation, count: int, total: int) -> Verdict:
        if total == 0:
            return "undecided"
        share, low, high = count / total, expected.low, expected.high
        below, above = share < low, share > high
        if below or above:
            nearest = low if below else high
            failed = excludes(count, total, nearest, self._error)
            return "fail" if failed else "undecided"
        edges = [edge for edge in (low, high) if 0 < edge < 1]
        inside = all(excludes(count, total, edge, self._error) for edge in edges)
        return "pass" if inside else "undecided"


def intervals(
    counts: Mapping[str, int], total: int, error: float
) -> dict[str, tuple[float, float]]:
    """Return the interval of each share, which all contain the truth but with this error.

    :param total: all connections, those that failed included.
    """
    each_error = error / max(1, len(counts))
    return {name: interval(count, total, each_error) for name, count in counts.items()}
