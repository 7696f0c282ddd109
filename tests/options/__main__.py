"""Write the tables of settings and options: ``python -m tests.options --write-docs``."""

from __future__ import annotations

import argparse
import sys

from tests.options.tables import written


def main() -> int:
    """The exit status: 0."""
    parser = argparse.ArgumentParser("python -m tests.options", description=__doc__)
    words = "write docs/options.md and the tables of docs/embedding.md"
    parser.add_argument("--write-docs", action="store_true", required=True, help=words)
    parser.parse_args()
    for path, text in written().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
