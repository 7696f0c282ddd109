"""The way in of the console script: ready for Ctrl-C before the slow imports."""

from __future__ import annotations

import os
import signal
import sys

_INTERRUPTED = 130


def main() -> int:
    """Run the command line; give its exit status."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from echosvc import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
