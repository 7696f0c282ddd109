"""The exit status of a process whose main loop fails or ends.

``twistd`` exits with status 0 whatever ended its main loop, unless that was a signal. And
Twisted's main loop continues after any error, even if every turn fails: then it serves no
connection and fills the log.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, cast

from twisted.internet.interfaces import IReactorCore
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from echosvc._log import log

#: The log format of an error in Twisted's main loop (twisted.internet.base).
_ERROR_FORMAT = "Unexpected error in main loop"
#: This many errors within :data:`_PERIOD` seconds end the main loop.
_MAX_ERRORS, _PERIOD = 3, 1.0
#: Seconds until the process ends in any case, for instance while a thread still runs.
_EXIT_TIMEOUT = 5.0


class ExitStatus:
    """The exit status of a process.

    :ivar failed: the service could not continue; set by the service, or here when the main loop
        fails.
    """

    def __init__(self) -> None:
        self.failed = False
        self._running = False
        self._errors: deque[float] = deque(maxlen=_MAX_ERRORS)

    @property
    def status(self) -> int:
        """Return 1 if the service failed or the main loop ended without a shutdown, else 0."""
        return int(self.failed or self._running)

    def watch(self, reactor: IReactorCore) -> None:
        """Watch a main loop that has not started, and set this process's exit status."""
        self._reactor: Any = reactor
        reactor.callWhenRunning(self._main_loop_started)
        reactor.addSystemEventTrigger("after", "shutdown", self._shut_down)
        globalLogPublisher.addObserver(cast(ILogObserver, self._count_errors))
        atexit.register(self._exit)

    def _main_loop_started(self) -> None:
        self._running = True

    def _shut_down(self) -> None:
        self._running = False

    def _exit(self) -> None:
        """Exit with the status of a failure; an exit handler can do so only by ``_exit``."""
        if self.status:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            os._exit(self.status)

    def _count_errors(self, event: LogEvent) -> None:
        if event.get("log_format") != _ERROR_FORMAT or self.failed:
            return
        self._errors.append(time.monotonic())
        if len(self._errors) == _MAX_ERRORS and self._errors[-1] - self._errors[0] < _PERIOD:
            self.failed = True
            crash_main_loop(self._reactor, cast(Any, event["log_failure"]).getErrorMessage())
            last = threading.Timer(_EXIT_TIMEOUT, os._exit, (1,))
            last.daemon = True
            last.start()


def crash_main_loop(reactor: Any, why: str) -> None:
    """Log that the main loop fails, and stop it without a shutdown: no event would be served."""
    log.critical("Server Error: the main loop fails: {why}: it ends", why=why)
    reactor.crash()
