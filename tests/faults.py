"""Write the reference in docs/faults.md: ``python -m tests.faults --write-docs``.

Without the option, say whether it is up to date. It comes from the kinds of faults in the code.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator

from echosvc.faults.kind import REQUIRED, SCOPE, FaultKind, Parameter
from echosvc.faults.spec import FaultSpec
from echosvc.faults.vocabulary import KINDS
from tests.support.process import ROOT

DOCUMENT = ROOT / "docs" / "faults.md"
_PART = re.compile(r"(<!-- begin reference -->\n).*?(<!-- end reference -->)", re.DOTALL)
_REMEDY = "python -m tests.faults --write-docs writes it"
#: Who does so in the world, and one line that provokes it.
WORLD: dict[str, tuple[str, str]] = {
    "latency": (
        "every path: 30 to 150 ms across a continent or an ocean, more by radio",
        "latency=80ms,jitter=20ms",
    ),
    "rate": ("narrow links, traffic shapers, quotas of clouds", "rate=64k,direction=down"),
    "stall": (
        "a server in garbage collection, a link that fails over, a dead one (`forever`)",
        "stall=5s,at=1000",
    ),
    "greeting": (
        "servers that look up the client's name before they greet, proxies that connect late",
        "greeting=3s",
    ),
    "segments": (
        "senders that write byte by byte, tunnels with a small MTU, proxies with small buffers",
        "segments=7",
    ),
    "buffer": (
        "proxies and TLS inspectors that read on while the receiver does not",
        "buffer=64M",
    ),
    "close": (
        "limits of life or of bytes, restarts, servers that fail at a request",
        "close,messages=3,reply=middle",
    ),
    "reset": (
        "crashed servers, firewalls that reject, restarts without a drain",
        "reset,at=1000",
    ),
    "idle": (
        "load balancers (FIN or RST after 60 to 350 s), NAT and stateful firewalls (`silence`)",
        "idle=60s,end=silence",
    ),
    "fin": (
        "proxies without half-close (`close`), middleboxes that lose a FIN (`drop`), proxies with "
        "a half-close time-out (`late`)",
        "fin=close",
    ),
    "rst": ("proxies that end the other side with FIN, or not at all", "rst=fin"),
    "accept": (
        "balancers without a server (`close`, `reset`, `silence`), servers that hang (`never`), "
        "servers that do not run (`refuse`)",
        "accept=never,start=10s,stop=20s",
    ),
    "drop": ("faulty proxies and inspectors; TCP itself never", "drop=1,at=1000"),
    "repeat": ("proxies that send a buffer again after an error", "repeat=700,at=1000"),
    "swap": ("faulty buffers of proxies, multipath tunnels", "swap=700,at=1000"),
    "change": (
        "faulty memory of a middlebox, which makes a right checksum of wrong bytes",
        "change=1,at=1000",
    ),
    "insert": ("captive portals, error pages of proxies", "insert=<html>,at=0"),
}


def shown_default(parameter: Parameter) -> str:
    """How a document names the value where none is given."""
    if parameter.default is REQUIRED:
        return "required"
    if parameter.default in (None, ()):
        return ""
    return f"`{parameter.kind.write(parameter.default)}`"


def rows(parameters: tuple[Parameter, ...]) -> Iterator[str]:
    """The lines of a table of parameters."""
    yield "| parameter | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for each in parameters:
        value = each.kind.placeholder.replace("|", "\\|")
        yield f"| `{each.name}` | {value} | {shown_default(each)} | {each.summary} |"


def section(kind: FaultKind) -> str:
    """What a document says of a kind."""
    world, example = WORLD[kind.name]
    harmless = " It is harmless: every byte comes, in its order." if kind.harmless else ""
    lines = [
        f"### {kind.name}", "",
        f"{kind.summary[0].upper()}{kind.summary[1:]}.{harmless}", "",
        f"In the world: {world}.", "",
        f"    echosvc relay 9000 8107 --fault '{FaultSpec.parse(example)}'", "",
        *rows(kind.parameters), "",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The written part of the document."""
    scope = "\n".join(["### Whom, and when", "", "Parameters of every fault:", "", *rows(SCOPE)])
    kinds = "".join(section(KINDS[name]) for name in WORLD)
    return f"{kinds}{scope}\n"


def written(text: str) -> str:
    """A document with its written part as it must be now."""
    return _PART.sub(lambda part: part[1] + reference() + part[2], text)


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="write the document")
    text = DOCUMENT.read_text("utf-8")
    if parser.parse_args().write_docs:
        DOCUMENT.write_text(written(text), "utf-8")
    elif written(text) != text:
        print(f"docs/faults.md is out of date: {_REMEDY}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
