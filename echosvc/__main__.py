"""The entry point of the console script: it handles Ctrl-C before the slow imports."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress

from echosvc.cli.standard_descriptors import reserve_descriptors

#: The same as ``echosvc.cli.terminal.EXIT_INTERRUPTED``, which is slow to import.
_INTERRUPTED = 130


def main() -> int:
    """Run the command line; return its exit status."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    with suppress(OSError):  # it runs without them
        reserve_descriptors()
    if not sys.warnoptions:  # warnings of libraries are for programmers
        warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["serve"]:  # imports no client
        from echosvc.cli import serve

        return serve.main(sys.argv[2:])
    from echosvc.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
