"""Runs the coroutines of a command on the reactor, until they end or a signal ends them."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from echosvc.cli.send_session import SendError
from echosvc.cli.standard_input import InputError
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    OutputError,
    print_error,
)

#: Returns the exit status, or ``None`` for success.
CommandCoroutine = Coroutine[Deferred[Any], Any, int | None]


def run_coroutines(reactor: Any, start: Callable[[], list[CommandCoroutine]]) -> int:
    """Run the coroutines on the reactor until all have ended; return the exit status."""
    statuses: list[int] = []
    stopping = False

    def interrupted() -> None:
        nonlocal stopping
        stopping = True

    def ended(results: list[tuple[bool, int | None]]) -> None:
        # After Ctrl-C a command may end in its own way. Once the reactor runs no more, it cuts the
        # connections, and what fails by that is no failure.
        if not stopping or reactor.running:
            statuses.append(exit_status([result for _, result in results]))
            _stop(reactor)

    def begin() -> None:
        reactor.addSystemEventTrigger("before", "shutdown", interrupted)
        running = [Deferred.fromCoroutine(each) for each in start()]
        DeferredList(running, consumeErrors=True).addCallback(ended)

    reactor.callWhenRunning(begin)
    reactor.callWhenRunning(_install_exit_handlers, reactor)
    reactor.run()
    return statuses[0] if statuses else EXIT_INTERRUPTED


def _stop(reactor: Any) -> None:
    """Stop the reactor, if it does not stop already."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def _install_exit_handlers(reactor: Any) -> None:
    """Stop on SIGINT and SIGTERM; exit one second later in any case.

    The reactor cannot stop while a write to standard output blocks it. Python's own shutdown
    removes the handler of SIGALRM, so the alarm must not outlive :mod:`atexit`.
    """
    atexit.register(signal.alarm, 0)

    def leave(*_: object) -> None:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(EXIT_INTERRUPTED))
        signal.alarm(1)
        reactor.callFromThread(_stop, reactor)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def exit_status(results: Sequence[object]) -> int:
    """Print each error of the coroutines once; return the exit status."""
    failures = [result for result in results if isinstance(result, Failure)]
    for line in dict.fromkeys(_error_line(failure) for failure in failures):
        print_error(line)
    own = max((result for result in results if isinstance(result, int)), default=EXIT_OK)
    return EXIT_FAILURE if failures else own


def _error_line(failure: Failure) -> str:
    message = failure.getErrorMessage()
    if failure.check(SendError):
        return message
    known = failure.check(OutputError, InputError)
    if known:
        return f"echosvc: {message}"
    return f"echosvc: internal error: {type(failure.value).__name__}: {message}"
