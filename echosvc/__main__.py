"""The way in of the console script: ready for Ctrl-C before the slow imports."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress

from echosvc.cli.standard_descriptors import hold_standard

_INTERRUPTED = 130


def main() -> int:
    """Run the command line; give its exit status."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    with suppress(OSError):  # then it does without
        hold_standard()
    if not sys.warnoptions:  # what libraries tell programmers is not for users
        warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["serve"]:  # without the client
        from echosvc.cli import serve

        return serve.main(sys.argv[2:])
    from echosvc.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
