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
