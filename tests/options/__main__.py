"""Write the tables of settings and options: ``python -m tests.options --write-docs``.

Without the option, say whether they are up to date.
"""

from __future__ import annotations

import argparse
import sys

from tests.options.tables import written

_REMEDY = "python -m tests.options --write-docs writes it"


def main() -> int:
    """Write the documents, or say whether they are up to date; return the exit status."""
    parser = argparse.ArgumentParser("python -m tests.options", description=__doc__)
    words = "write docs/options.md, and the tables of docs/embedding.md and docs/configuration.md"
    parser.add_argument("--write-docs", action="store_true", help=words)
    options = parser.parse_args()
    stale = {
        path: text
        for path, text in written().items()
        if not path.exists() or path.read_text("utf-8") != text
    }
    if options.write_docs:
        for path, text in stale.items():
            path.write_text(text, "utf-8")
        return 0
    for path in stale:
        print(f"{path.name} is not up to date: {_REMEDY}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
