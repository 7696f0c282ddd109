"""The packages: which modules there are, and what each may import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import echosvc

HOME = Path(echosvc.__file__).parent


#: Which packages a package may import, besides itself and :data:`EVERYWHERE`.
ALLOWED: dict[str, set[str]] = {
    "wire": set(),
    "net": {"wire.proxy_header"},
    "config": {"wire"},
    "connection": {"net"},
    "faults": {"config", "connection", "net"},
    "tls": {"connection", "net"},
    "endpoints": {"net", "tls"},
    "client": {"config", "connection"},
    "server": {"wire", "config", "net", "connection", "faults"},
    "reports": {
        "probe.result",
        "probe.share.result",
        "probe.soak.events",
        "probe.soak.result",
        "probe.traffic",
    },
    "probe": {"wire", "net", "client", "connection.outcome", "endpoints", "tls"},
}


#: What every module may import.
EVERYWHERE = {"_version", "_lazy", "_log", "_text"}


#: What may import everything.
ABOVE_ALL = {"cli", "testing", "__init__", "__main__"}


def module_name(path: Path) -> str:
    parts = path.relative_to(HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


MODULES = {module_name(path): path for path in sorted(HOME.rglob("*.py"))}


def nodes_of(source: str) -> list[ast.AST]:
    """Return the nodes of a source as :func:`ast.walk` does, in a third of its time."""
    found: list[ast.AST] = [ast.parse(source)]
    for node in found:  # it grows meanwhile
        for value in vars(node).values():
            if isinstance(value, list):
                found += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


def named_modules(source: str) -> Iterator[str]:
    """The modules of the package that a source names in any import, wherever it stands."""
    for node in nodes_of(source):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"a relative import: {ast.unparse(node)}"
            yield from _from(str(node.module), [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            yield from (each.name[8:] for each in node.names if each.name.startswith("echosvc."))


def _from(module: str, names: list[str]) -> Iterator[str]:
    if module != "echosvc" and not module.startswith("echosvc."):
        return
    inside = module[8:]
    for name in names:
        full = f"{inside}.{name}" if inside else name
        yield full if full in MODULES else inside or "__init__"


def is_allowed(row: str, target: str) -> bool:
    """Return whether the table lets a package import a module."""
    if row in EVERYWHERE:
        return target in EVERYWHERE
    rows = ALLOWED[row] | EVERYWHERE | {row}
    return any(matches(target, each) for each in rows)


def matches(name: str, row: str) -> bool:
    return name == row or name.startswith(row + ".")
