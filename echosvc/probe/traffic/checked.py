"""Values of a result that was read: each is checked before it is used. No I/O"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Read = TypeVar("Read")

#: No count reaches it; a number in JSON is exact below it.
LARGEST = 1 << 53
#: Characters of a text, at most.
LONGEST = 10_000


class DamagedError(ValueError):
    """A value is not what it must be; its text names the value by its path, such as ``run.tally``.

    :param why: what is wrong with it.
    :param path: the names that lead to it, the outer ones first.
    """

    def __init__(self, why: str, *path: str) -> None:
        super().__init__(f"{'.'.join(path)}: {why}" if path else why)
        self.why, self.path = why, path


def checked_member(value: Any, name: str, read: Callable[[Any], Read]) -> Read:
    """Return what ``read`` makes of a member of an object.

    :raises DamagedError: there is no such member, or ``read`` refuses it; names the member.
    """
    if name not in checked_object(value):
        raise DamagedError("it is missing", name)
    return _read_named(name, read, value[name])


def checked_each(value: Any, longest: int, read: Callable[[Any], Read]) -> list[Read]:
    """Return what ``read`` makes of each item of a list.

    :param longest: it has no more items than that.
    :raises DamagedError: it is no list, or ``read`` refuses an item; names the item by its number.
    """
    items = enumerate(checked_list(value, longest), 1)
    return [_read_named(str(number), read, each) for number, each in items]


def _read_named(name: str, read: Callable[[Any], Read], value: Any) -> Read:
    try:
        return read(value)
    except DamagedError as error:
        raise DamagedError(error.why, name, *error.path) from None
    except ValueError as error:
        raise DamagedError(str(error), name) from None


def checked_object(value: Any) -> dict[str, Any]:
    """Return an object of JSON.

    :raises ValueError: it is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"no object: {_shown(value)}")
    return value


def checked_items(value: Any, count: int) -> list[Any]:
    """Return a list of so many items.

    :raises ValueError: it is none, or has another number.
    """
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise ValueError(f"no list of {count} items: {_shown(value)}")
    return list(value)


def checked_bytes(value: Any) -> bytes:
    """Return the bytes that hexadecimal digits write.

    :raises ValueError: they write none.
    """
    try:
        return bytes.fromhex(checked_text(value))
    except ValueError:
        raise ValueError(f"no hexadecimal digits: {_shown(value)}") from None


def check_format(value: Any, format_: int) -> None:
    """Check that an object is of a version of a format.

    :raises ValueError: it is of another one, or does not say.
    """
    found = checked_object(value).get("schema")
    if found is None:
        raise ValueError("it does not say of which format it is")
    if type(found) is not int:
        raise ValueError(f"its format is no number: {_shown(found)}")
    if found != format_:
        raise ValueError(f"a result of format {_shown(found)}, not {format_}")


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
