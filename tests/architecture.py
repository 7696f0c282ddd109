"""Write the tables in ARCHITECTURE.md: ``python -m tests.architecture --write-docs``.

Without the option, say whether they are up to date.

They come from the table of allowed imports that ``test_imports.py`` asserts, from the first lines
of the docstrings and from the table of phases, so they cannot differ from the code.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from echosvc.connection.phase import TRANSITIONS, Phase
from tests.support.packages import ABOVE_ALL, ALLOWED, EVERYWHERE, MODULES

DOCUMENT = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
#: A written part of the document: its name, and what stands between the two marks.
_PART = re.compile(r"(<!-- begin (\w+) -->\n)(.*?)(<!-- end \2 -->)", re.DOTALL)
#: Names that are packages of the table but single modules or above every row.
_TOP = "imports anything"
_REMEDY = "python -m tests.architecture --write-docs writes it"


def summary(name: str) -> str:
    """Return the first line of a module's docstring, without its full stop."""
    doc = ast.get_docstring(ast.parse(MODULES[name].read_text("utf-8"))) or ""
    return doc.partition("\n")[0].removesuffix(".")


def levels() -> Iterator[list[str]]:
    """Return the packages in levels: each imports from levels before its own only."""
    placed: set[str] = set()
    while placed < ALLOWED.keys():
        level = [
            name
            for name, allowed in ALLOWED.items()
            if name not in placed and {each.partition(".")[0] for each in allowed} <= placed
        ]
        if not level:
            raise ValueError("the table of allowed imports has a circle")
        yield level
        placed.update(level)


def picture() -> str:
    """Return the levels, one a line, the lowest first."""
    rows = [sorted(EVERYWHERE), *levels(), sorted(ABOVE_ALL)]
    return "\n".join(["```text", *("  ".join(row) for row in rows), "```", ""])


def packages() -> str:
    """Return the table of packages and of the imports that each is allowed."""
    rows = ["| package | content | may import |", "| --- | --- | --- |"]
    for name, allowed in ALLOWED.items():
        imports = ", ".join(f"`{each}`" for each in sorted(allowed)) or "nothing"
        rows.append(f"| `{name}` | {summary(name)} | {imports} |")
    for name in [*sorted(ABOVE_ALL - {"__init__"}), "__init__"]:
        rows.append(f"| `{name}` | {summary(name)} | {_TOP} |")
    return "\n".join(rows) + "\n"


def _tree(name: str) -> Iterator[str]:
    depth = name.count(".")
    last = name.rpartition(".")[2]
    is_package = MODULES[name].name == "__init__.py"
    label = "  " * depth + last + ("/" if is_package else ".py")
    yield f"{label:<28}{summary(name)}"
    inner = [each for each in MODULES if each.rpartition(".")[0] == name]
    for each in sorted(inner, key=lambda each: (MODULES[each].name == "__init__.py", each)):
        yield from _tree(each)


def modules() -> str:
    """Return the tree of modules, each with its first line."""
    top = [*sorted(EVERYWHERE), *ALLOWED, *sorted(ABOVE_ALL - {"__init__"})]
    lines = [line for name in top for line in _tree(name)]
    return "\n".join(["```text", *lines, "```", ""])


def transitions() -> str:
    """Return the transitions between the phases of a connection, one phase a line."""
    rows = [
        f"{phase.name:<10}-> {', '.join(each.name for each in Phase if each in TRANSITIONS[phase])}"
        for phase in Phase
    ]
    return "\n".join(["```text", *rows, "```", ""])


def blocks() -> str:
    """Return what may keep a connection from reading: the comments of the bits."""
    text = MODULES["connection.blocks"].read_text("utf-8")
    found = re.findall(r"((?:^#: .*\n)+)^([A-Z_]+) = \d+$", text, re.MULTILINE)
    rows = ["| bit | set while |", "| --- | --- |"]
    for comment, name in found:
        words = " ".join(line.removeprefix("#: ") for line in comment.splitlines())
        rows.append(f"| {name} | {words.removesuffix('.')} |")
    return "\n".join(rows) + "\n"


WRITTEN = {
    "picture": picture,
    "packages": packages,
    "modules": modules,
    "transitions": transitions,
    "blocks": blocks,
}


def written(text: str) -> str:
    """Return a document with its written parts as they must be now."""
    return _PART.sub(lambda part: part[1] + WRITTEN[part[2]]() + part[4], text)


def parts(text: str) -> list[str]:
    """Return the names of a document's written parts."""
    return [part[2] for part in _PART.finditer(text)]


def main() -> int:
    """Write the document, or say whether it is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="write ARCHITECTURE.md")
    options = parser.parse_args()
    before = DOCUMENT.read_text("utf-8")
    after = written(before)
    if options.write_docs:
        DOCUMENT.write_text(after, "utf-8")
    elif after != before:
        print(f"ARCHITECTURE.md is not up to date: {_REMEDY}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
