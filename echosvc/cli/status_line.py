"""A line on a terminal that says how a run goes, written anew each second."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import IO, Any, cast

from echosvc.cli.terminal import LossyStderr

#: Seconds between two lines.
INTERVAL = 1.0


class StatusLine:
    """The line. Without a terminal, or without ``rich``, there is none.

    It has no thread of its own: that would take the interpreter from what is measured.

    :param describe: returns what the line says.
    """

    def __init__(self, reactor: Any, describe: Callable[[], str]) -> None:
        self._reactor, self._describe = reactor, describe
        self._status: Any = None
        self._call: Any = None

    def start(self) -> None:
        """Show the line from now on."""
        if sys.stderr is None or not sys.stderr.isatty():
            return
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError:
            return
        console = Console(file=cast(IO[str], LossyStderr()))
        self._status = Live(console=console, transient=True, auto_refresh=False)
        self._status.start()
        self._show()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _show(self) -> None:
        from rich.text import Text

        text = Text(self._describe(), no_wrap=True, overflow="ellipsis")
        self._status.update(text, refresh=True)
        self._call = self._reactor.callLater(INTERVAL, self._show)

    def stop(self) -> None:
        """Remove the line."""
        status, self._status = self._status, None
        if status is not None:
            status.stop()
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
