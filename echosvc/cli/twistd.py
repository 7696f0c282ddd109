"""The options and the service of ``twistd echosvc`` and ``twist echosvc``."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.selectreactor import SelectReactor

from echosvc.cli.serve_options import Options
from echosvc.cli.standard_descriptors import (
    execute_again,
    reserve_descriptors,
    reused_descriptors,
)
from echosvc.cli.terminal import exit_with_error
from echosvc.net.clock import use_monotonic_clock
from echosvc.net.epoll import HAS_EPOLL
from echosvc.net.errors import ListenError
from echosvc.net.files import describe_file_error
from echosvc.net.systemd import start_environment, unclaimed_sockets
from echosvc.server.admission import raise_descriptor_limit
from echosvc.server.factory import EchoFactory
from echosvc.server.service import EchoService

__all__ = ["Options", "makeService"]

#: Descriptors that select(2) can watch.
_FD_SETSIZE = 1024


def makeService(options: Options) -> EchoService:
    """Build the service that the options describe, with open listeners.

    They are opened here, before twistd becomes a daemon, so that a failure is one line on
    standard error.
    """
    from twisted.internet import reactor

    running: Any = reactor
    if not running.running:  # else the process is another application's
        _secure_descriptors()
    use_monotonic_clock(reactor)
    watches_each = not HAS_EPOLL and isinstance(reactor, SelectReactor)
    raise_descriptor_limit(_FD_SETSIZE if watches_each else None)
    factory = EchoFactory(config=options.config)
    service = EchoService(factory, options.endpoints(reactor), owns_process=True)
    try:
        service.bind()
    except ListenError as error:
        exit_with_error(str(error))
    options.inject(reactor, service)
    # Before a daemon gets another process ID.
    service.unserved = list(unclaimed_sockets(service.ports))
    if not running.running:
        service.exit_status.watch(running)
    return service


def _secure_descriptors() -> None:
    """Move the reactor away from the descriptors 0, 1 and 2, which a daemon replaces.

    ``--reactor=NAME`` makes the reactor before the plugin can reserve them.
    """
    try:
        reserve_descriptors()
        if reused_descriptors():
            given = {k: v for k, v in start_environment().items() if k.startswith("LISTEN_")}
            execute_again({**os.environ, **given})  # Twisted has removed those
    except OSError as error:
        why = describe_file_error(error)
        exit_with_error(f"standard input, output or error is closed and cannot be opened: {why}")
