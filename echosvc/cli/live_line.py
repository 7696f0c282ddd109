"""A line on standard error that says what is going on, where that is a terminal."""

from __future__ import annotations

import sys
from typing import IO, Any, cast

from echosvc.cli.terminal import LossyStderr


class LiveLine:
    """What is going on, and for how long; nothing where ``rich`` is not installed.

    :param timed: show for how long.
    """

    def __init__(self, timed: bool = True) -> None:
        self._shown: Any = None
        self._timed = timed
        self._enabled = sys.stderr is not None and sys.stderr.isatty()

    @property
    def is_shown(self) -> bool:
        """Whether the line is there."""
        return self._shown is not None

    def show(self, text: str) -> None:
        """Show another line, whose time begins now."""
        self.hide()
        if not self._enabled:
            return
        try:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        except ImportError:
            return
        times = (TimeElapsedColumn(),) if self._timed else ()
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), *times
        console = Console(file=cast(IO[str], LossyStderr()))
        self._shown = Progress(*columns, console=console, transient=True)
        self._shown.add_task(text, total=None)
        self._shown.start()

    def change(self, text: str) -> None:
        """Change the text of the line; its time goes on."""
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], description=text)

    def hide(self) -> None:
        """Clear the line."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None
