"""Facts on the machine and the versions: no names, no paths."""

from __future__ import annotations

import os
import platform
import re
import ssl
from importlib import metadata
from pathlib import Path

from benchmarks.process import BenchmarkError, run


def _processor() -> str:
    """The model of the processor."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _says(*command: str) -> str:
    """The first line that a program says, or "absent"."""
    try:
        said = run(list(command), 10).stdout
    except (OSError, BenchmarkError):
        return "absent"
    return said.partition("\n")[0].strip()


def _installed(name: str) -> str:
    """The version of a Python package, or "absent"."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def facts() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Twisted": _installed("Twisted"),
        "uvloop": _installed("uvloop"),
        "Node": _says("node", "--version"),
        "OpenSSL": ssl.OPENSSL_VERSION,
        "C compiler": _says("cc", "--version"),
    }
