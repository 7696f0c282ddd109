"""What happened to a stream, found from what was due and what came.

Theory of operation. First each fault is tried that alone explains all that came
(:mod:`~echosvc.probe.engine.hypotheses`). If none does, there are several. Then what came is
aligned with what was due, and the kind of fault is looked for that explains every difference
(:mod:`~echosvc.probe.engine.several_faults`). If there is none either, the first difference is
described, and the fault says that it does not explain everything. One long change can stand for
any faults close together, since it copies what came. It is not taken where a few faults of one
kind explain the same.
"""

from __future__ import annotations

from echosvc.probe.engine.fault import SAMPLE_SIZE, Explanation, Fault, FaultKind, Window
from echosvc.probe.engine.hypotheses import explain_by_one_fault
from echosvc.probe.engine.several_faults import explain_by_several_faults

#: A fault is as unlikely as the change of so many bytes to just those that came.
_COST = 8


def diagnose(before: bytes, due: bytes, seen: bytes, offset: int, final: bool) -> Fault:
    """Return the fault at the first wrong byte.

    :param before: what was sent right before it, and came.
    :param due: what was sent from there on; all of it, if ``final``.
    :param seen: what came instead; it differs in its first byte or is the shorter one.
    :param offset: of that byte.
    :param final: nothing else will come.
    """
    window = Window(before, due, seen, final)
    return _make_fault(window, offset, _explain(window))


def _explain(window: Window) -> Explanation:
    if window.final and not window.seen:
        return Explanation(FaultKind.CUT, length=len(window.due))
    one = explain_by_one_fault(window)
    if one is not None and not _is_long_change(one):
        return one
    several = explain_by_several_faults(window)
    if one is None:
        return several or Explanation(FaultKind.GARBLED, explained=False)
    if several is not None and several.explained and several.count * _COST < one.length:
        return several
    return one


def _is_long_change(one: Explanation) -> bool:
    """Return whether an explanation copies what came, which several faults may explain."""
    return one.kind is FaultKind.CHANGED and one.length > _COST


def _make_fault(window: Window, offset: int, found: Explanation) -> Fault:
    """Return the fault with what was due and what came at the place where it begins."""
    begun = window.before[len(window.before) + found.at :] if found.at else b""
    moved = found.kind in (FaultKind.REPEATED, FaultKind.REORDERED)
    return Fault(
        found.kind,
        offset + found.at,
        found.length,
        offset + found.origin if moved else 0,
        found.early,
        expected=(begun + window.due[:SAMPLE_SIZE])[:SAMPLE_SIZE],
        seen=(begun + window.seen[:SAMPLE_SIZE])[:SAMPLE_SIZE],
        explained=found.explained,
        count=found.count,
    )
