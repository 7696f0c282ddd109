"""Paths and errors of files."""

from __future__ import annotations

import os

from echosvc.net.errors import describe_error


def describe_file_error(error: OSError) -> str:
    """Return the file's name, the system error's name and its text."""
    return f"{error.filename}: {describe_error(error)} ({error.strerror})"


def absolute(path: str) -> str:
    """Return an absolute path.

    :raises OSError: it is relative, and the working directory was removed; names the path.
    """
    try:
        return os.path.abspath(path)
    except OSError as error:
        why = f"{error.strerror}: the working directory"
        raise OSError(error.errno, why, path) from None
