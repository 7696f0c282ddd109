"""Values of a result that was read: each is checked before it is used. No I/O"""

from __future__ import annotations

from typing import Any

#: No count reaches it; a number in JSON is exact below it.
LARGEST = 1 << 53
#: Characters of a text, at most.
LONGEST = 10_000


def checked_count(value: Any) -> int:
    """Return a number that is no less than 0.

    :raises ValueError: it is none.
    """
    if type(value) is not int or not 0 <= value < LARGEST:
        raise ValueError(f"no count: {_shown(value)}")
    return value


def checked_whole(value: Any) -> int:
    """Return a whole number.

    :raises ValueError: it is none.
    """
    if type(value) is not int or not -LARGEST < value < LARGEST:
        raise ValueError(f"no whole number: {_shown(value)}")
    return value


def checked_seed(value: Any) -> int:
    """Return the seed of a run: a whole number from 0 to 2**63 - 1.

    :raises ValueError: it is none.
    """
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"no seed: {_shown(value)}")
    return value


def checked_number(value: Any) -> float:
    """Return a finite number.

    :raises ValueError: it is none.
    """
    if type(value) not in (int, float) or not -LARGEST < value < LARGEST:
        raise ValueError(f"no number: {_shown(value)}")
    return float(value)


def checked_amount(value: Any) -> float:
    """Return a finite number that is no less than 0.

    :raises ValueError: it is none.
    """
    if checked_number(value) < 0:
        raise ValueError(f"no number from 0 on: {_shown(value)}")
    return float(value)


def checked_flag(value: Any) -> bool:
    """Return whether something is so.

    :raises ValueError: it does not say.
    """
    if not isinstance(value, bool):
        raise ValueError(f"neither true nor false: {_shown(value)}")
    return value


def checked_text(value: Any) -> str:
    """Return a text.

    :raises ValueError: it is none, or too long.
    """
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ValueError(f"no text: {_shown(value)}")
    return value


def checked_list(value: Any, longest: int) -> list[Any]:
    """Return a list.

    :param longest: it has no more items than that.
    :raises ValueError: it is none, or too long.
    """
    if not isinstance(value, list) or len(value) > longest:
        raise ValueError(f"no list of at most {longest}: {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """Return how a value begins. A long number is not written out: that takes long."""
    if isinstance(value, int) and not -LARGEST < value < LARGEST:
        return "too large"
    return ascii(value)[:40]
