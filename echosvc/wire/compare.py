"""Comparison of byte strings."""

from __future__ import annotations


def common_prefix_length(one: bytes, other: bytes) -> int:
    """Return how many bytes at the beginning of both are the same.

    Slices are compared, not bytes: the cost per byte is that of ``memcmp``.
    """
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    low, high = 0, size  # the first `low` bytes are equal, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


#: Bytes of the first comparison of a run; each further one has four times as many.
_FIRST_STEP = 64


def common_run(one: bytes, start: int, other: bytes, at: int, limit: int | None = None) -> int:
    """Return how many bytes are the same from ``start`` in one and from ``at`` in the other on.

    The cost is in proportion to the bytes that are the same, not to the length of both.

    :param limit: no more are compared.
    """
    most = min(len(one) - start, len(other) - at)
    if limit is not None:
        most = min(most, limit)
    run, step = 0, _FIRST_STEP
    while run < most:
        size = min(step, most - run)
        piece = one[start + run : start + run + size]
        equal = common_prefix_length(piece, other[at + run : at + run + size])
        run, step = run + equal, 4 * step
        if equal < size:
            break
    return max(0, run)
