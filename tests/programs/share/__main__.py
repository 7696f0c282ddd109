"""Write the output in ``docs/share.md``: ``python -m tests.programs.share --write-docs``."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tests.programs.share.paths import HAPROXY, Split, later, share, split

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/share.md"
_NAME = "lb.example:9000"
_BLOCK = re.compile(r"(<!-- begin ([\w-]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
_POD = "^(v[0-9]+)-"


def _shown(path: Split, *options: str) -> str:
    """A command and what it prints, with a name in place of the address."""
    done = share(path.endpoint, *options)
    assert not done.stderr, done.stderr
    words = " ".join(f"'{each}'" if set(each) & set("^()[]") else each for each in options)
    printed = done.stdout.replace(path.endpoint, _NAME).replace(f"127.0.0.1:{path.port}", _NAME)
    return _indented(f"$ echosvc share {_NAME} {words}".rstrip() + f"\n{printed}")


def _indented(text: str) -> str:
    return "\n" + "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines()) + "\n"


def blocks() -> dict[str, str]:
    """Run everything; return what stands in each block."""
    found = {
        "configuration": _indented(
            HAPROXY.format(address="", v1="10.0.0.1:8107", v2="10.0.0.2:8107")
        )
    }
    with split() as path:
        found["shares"] = _shown(path)
        found["pass"] = _shown(path, "--expect", "v1=80±5,v2=20±5")
        found["fail"] = _shown(path, "--expect", "v1=70±5,v2=30±5")
        with later(10.0, lambda: path.set_weights(50, 50)):
            found["watch"] = _shown(path, "--watch", "25", "--expect", "v1=50±10,v2=50±10")
    with split(dead=True) as path:
        found["dead"] = _shown(path, "--expect", "v1=80±5,v2=20±5")
    with split("--dialect", "gateway-api", prefixes=False) as path:
        found["gateway-api"] = _shown(path, "--dialect", "gateway-api", "--identity", _POD)
    return found


def written(page: str, found: dict[str, str]) -> str:
    """Return the page with the output in its blocks."""
    return _BLOCK.sub(lambda block: block[1] + found[block[2]] + block[3], page)


def main() -> int:
    """Write the page; return the exit status."""
    parser = argparse.ArgumentParser("python -m tests.programs.share", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="write docs/share.md")
    if parser.parse_args().write_docs:
        DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8"), blocks()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
