"""Whether the end of a process is a failure.

``twistd`` exits with status 0 whatever has ended its main loop, unless that was a signal.
And Twisted's main loop goes on after any error, also where its every turn fails: then it
serves nobody, and fills the log.
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

#: What Twisted's main loop says of an error (twisted.internet.base).
_FAILED = "Unexpected error in main loop"
#: So many within :data:`_PERIOD` seconds, and it does not go on.
_MOST, _PERIOD = 3, 1.0
#: Seconds until the process ends in any case, e.g. though a thread goes on.
_GRACE = 5.0


class Fate:
    """The exit status of a process, as far as its service knows.

    :ivar failed: the service could not go on.
    """

    def __init__(self) -> None:
        self.failed = False
        self._running = False
        self._errors: deque[float] = deque(maxlen=_MOST)

    @property
    def status(self) -> int:
        """0: it has ended as it should; 1: it could not go on, or its main loop just ended."""
        return int(self.failed or self._running)

    def decide(self, reactor: IReactorCore) -> None:
        """Decide the exit status of this process, whose main loop has not begun."""
        self._reactor: Any = reactor
        reactor.callWhenRunning(self._begun)
        reactor.addSystemEventTrigger("after", "shutdown", self._over)
        globalLogPublisher.addObserver(cast(ILogObserver, self._observe))
        atexit.register(self._leave)

    def _begun(self) -> None:
        self._running = True

    def _over(self) -> None:
        self._running = False

    def _leave(self) -> None:
        """End with the status of a failure: at this time only so."""
        if self.status:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            os._exit(self.status)

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_format") != _FAILED or self.failed:
            return
        self._errors.append(time.monotonic())
        if len(self._errors) == _MOST and self._errors[-1] - self._errors[0] < _PERIOD:
            self.failed = True
            end_main_loop(self._reactor, cast(Any, event["log_failure"]).getErrorMessage())
            last = threading.Timer(_GRACE, os._exit, (1,))
            last.daemon = True
            last.start()


def end_main_loop(reactor: Any, why: str) -> None:
    """Say that the main loop fails, and have it end now: nothing can be told of any more."""
    log.critical("Server Error: the main loop fails: {why}: it ends", why=why)
    reactor.crash()
