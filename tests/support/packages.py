"""The packages: which modules there are, and what each may import."""

from __future__ import annotations

from pathlib import Path

import echosvc

HOME = Path(echosvc.__file__).parent


#: Which packages a package may import, besides itself and :data:`EVERYWHERE`.
ALLOWED: dict[str, set[str]] = {
    "wire": set(),
    "net": {"wire.proxy_header"},
    "config": {"wire"},
    "connection": {"net"},
    "faults": {"connection", "net"},
    "tls": {"connection", "net"},
    "endpoints": {"net", "tls"},
    "client": {"config", "connection", "net"},
    "server": {"wire", "config", "net", "connection", "faults"},
    "reports": {"probe.result"},
    "probe": {"wire", "config", "net", "client", "endpoints", "tls"},
}


#: What every module may import.
EVERYWHERE = {"_version", "_log", "_text"}


#: What may import everything.
ABOVE_ALL = {"cli", "testing", "__init__", "__main__"}


def module_name(path: Path) -> str:
    parts = path.relative_to(HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


MODULES = {module_name(path): path for path in sorted(HOME.rglob("*.py"))}
