"""Files of results, read whole and named in errors; ``-`` is standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from echosvc.net.files import describe_file_error

if TYPE_CHECKING:
    from echosvc.probe.traffic.load_result import LoadResult

#: The name that means standard input.
STANDARD_INPUT = "-"
#: Bytes of a file, at most. A day of seconds takes about 50 MB.
MAX_SIZE = 256 * 1024 * 1024


class ResultFileError(ValueError):
    """A file cannot be read, or has no results; names it, and says why in one line."""


def read_results(paths: Sequence[str]) -> Iterator[tuple[str, LoadResult]]:
    """Yield each result of some files with its name: that of the file, and which of several.

    :raises ResultFileError: a file cannot be read, or is no document of results.
    """
    for path in paths:
        found = _read(path)
        for number, result in enumerate(found, 1):
            yield (f"{_shown(path)}:{number}" if len(found) > 1 else _shown(path)), result


def _read(path: str) -> list[LoadResult]:
    from echosvc.reports.load_document import DocumentError, read_loads

    try:
        text = _read_bytes(path).decode("utf-8")
        return list(read_loads(text))
    except OSError as error:
        raise ResultFileError(describe_file_error(error)) from None
    except UnicodeDecodeError as error:
        raise ResultFileError(f"{_shown(path)}: no UTF-8 at byte {error.start}") from None
    except DocumentError as error:
        raise ResultFileError(f"{_shown(path)}: {error}") from None


def _read_bytes(path: str) -> bytes:
    """Return all of a file.

    :raises OSError: it cannot be read; names the path.
    :raises ResultFileError: it is too long.
    """
    try:
        with open(
            0 if path == STANDARD_INPUT else path, "rb", closefd=path != STANDARD_INPUT
        ) as it:
            data = it.read(MAX_SIZE + 1)
    except OSError as error:
        raise OSError(error.errno, error.strerror, _shown(path)) from None
    if len(data) > MAX_SIZE:
        raise ResultFileError(f"{_shown(path)}: more than {MAX_SIZE >> 20} MiB: no results")
    return data


def _shown(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else os.fsdecode(path)
