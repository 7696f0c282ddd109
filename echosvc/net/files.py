"""Paths and errors of files."""

from __future__ import annotations

import os

from echosvc.net.errors import error_name


def file_fault(error: OSError) -> str:
    """Name the file and what is wrong with it."""
    return f"{error.filename}: {error_name(error)} ({error.strerror})"


def absolute(path: str) -> str:
    """Return an absolute path.

    :raises OSError: it is relative, and the working directory is gone; names the path.
    """
    try:
        return os.path.abspath(path)
    except OSError as error:
        why = f"{error.strerror}: the working directory"
        raise OSError(error.errno, why, path) from None
