"""Write ``docs/load.md``: ``python -m tests.programs.load --help``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.programs.load.document import PICTURE, write
from tests.programs.load.runs import RUNS
from tests.support.chromium import take_picture
from tests.support.process import ROOT

DOCUMENT = ROOT / "docs/load.md"
#: Of the picture, points.
_SIZE = (1000, 1290)


def run(names: list[str]) -> dict[str, str]:
    """What these runs printed; that of the stall is the picture, too."""
    printed = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for each in names:
            print(each, file=sys.stderr, flush=True)
            printed[each] = RUNS[each](directory)
        page = directory / "stall.html"
        if page.exists():
            take_picture(page, DOCUMENT.with_name(PICTURE), _SIZE)
    return printed


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser("python -m tests.programs.load", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write-docs", action="store_true", help="run everything, and write all")
    what.add_argument("--write-words", action="store_true", help="write the words, and run nothing")
    what.add_argument("--run", nargs="+", choices=sorted(RUNS), help="run these alone, and write")
    options = parser.parse_args()
    names = [*RUNS] if options.write_docs else options.run or []
    page = DOCUMENT.read_text("utf-8") if DOCUMENT.exists() else ""
    DOCUMENT.write_text(write(page, run(names)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
