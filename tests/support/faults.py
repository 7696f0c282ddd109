"""Faults of every kind, as hypothesis draws them, and a direction that a test drives."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from echosvc.faults import values as kinds
from echosvc.faults.kind import REQUIRED, FaultKind
from echosvc.faults.spec import FaultSpec, FaultSpecError
from echosvc.faults.values import ValueKind, Word
from echosvc.faults.vocabulary import KINDS

_NETWORKS = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1")


def values_of(kind: ValueKind) -> st.SearchStrategy[Any]:
    """The valid values of a kind of values."""
    if isinstance(kind, Word):
        return st.sampled_from(kind.words)
    if isinstance(kind, kinds.Time):
        times = st.floats(0, kinds.LONGEST_TIME) | st.sampled_from((0.1, 0.3, 1.5, 60.0, math.inf))
        return times.filter(kind.is_valid)
    if isinstance(kind, kinds.Size):
        return (st.integers(0, 1 << 26) | st.sampled_from((1024, 1 << 20))).filter(kind.is_valid)
    if isinstance(kind, kinds.Share):
        return st.floats(0, 1, exclude_min=True)
    if isinstance(kind, kinds.Data):
        return st.binary(min_size=1, max_size=20)
    assert isinstance(kind, kinds.Peers)
    return st.lists(st.sampled_from(_NETWORKS), min_size=1, max_size=3).map(tuple)


@st.composite
def specs(draw: st.DrawFn, only: tuple[str, ...] = tuple(KINDS)) -> FaultSpec:
    """Any fault of these kinds."""
    kind = KINDS[draw(st.sampled_from(only))]
    return draw(_given(kind).map(lambda given: made(kind, given)).filter(bool_or_none))


def bool_or_none(spec: FaultSpec | None) -> bool:
    """Whether there is a fault: the values made sense together."""
    return spec is not None


def made(kind: FaultKind, given: dict[str, Any]) -> FaultSpec | None:
    """The fault; ``None``: the values make no sense together."""
    try:
        return FaultSpec(kind.name, **given)
    except FaultSpecError:
        return None


def _given(kind: FaultKind) -> st.SearchStrategy[dict[str, Any]]:
    required = {each.name for each in kind.parameters if each.default is REQUIRED}
    drawn = {each.name: values_of(each.kind) for each in kind.all_parameters}
    return st.fixed_dictionaries(
        {name: value for name, value in drawn.items() if name in required},
        optional={name: value for name, value in drawn.items() if name not in required},
    )
