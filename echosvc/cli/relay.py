"""The command line of ``echosvc relay``: a relay that misbehaves exactly as told."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

from echosvc._text import escaped
from echosvc.cli import values
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_OK,
    OutputError,
    StandardOutput,
    print_error,
)
from echosvc.endpoints.client import ClientTarget
from echosvc.endpoints.server import server_endpoint
from echosvc.endpoints.strings import EndpointError
from echosvc.faults.engine import FaultEvent
from echosvc.faults.observer import RelayObserver
from echosvc.faults.relay import Relay
from echosvc.faults.spec import FaultSpecError
from echosvc.faults.vocabulary import KINDS
from echosvc.net.addresses import format_address
from echosvc.net.errors import describe_error

#: The levels of ``--log``, each with all that the one before it writes.
LEVELS = ("quiet", "faults", "connections", "messages")


def _fault_lines() -> str:
    width = max(map(len, KINDS)) + 2
    shown = [kind for name, kind in KINDS.items() if name != "none"]
    return "\n".join(f"  {kind.name:<{width}}{kind.summary}" for kind in shown)


EPILOG = f"""\
SPEC is a fault, the value of its main parameter, and other parameters:
  latency=100ms,jitter=20ms,direction=up   drop=1,at=1000,first=3   reset,after=5s,share=25%

faults:
{_fault_lines()}

every fault has connection=K, first=N, share=S, peers=NETWORK, start=TIME, stop=TIME: whom it
concerns, and when. Offsets count the bytes of their direction, from 0.

examples:
  echosvc relay 9000 lb.example:8107 --fault latency=80ms --fault rate=64k
  echosvc relay 9000 8107 --fault close,messages=3,reply=middle --log messages
  echosvc relay ssl:9443:privateKey=server.pem 8107 --fault reset,at=1M --seed 7

exit status: 0 stopped by a signal, 1 it cannot listen, 2 usage error
"""


class RelayCommandError(ValueError):
    """An option makes no sense; says which and why in one line."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    listen = (
        "where to listen: PORT, HOST:PORT, [IPV6]:PORT, unix:PATH, ssl:PORT:privateKey=FILE ..."
    )
    command.add_argument("listen", metavar="LISTEN", type=values.nonempty, help=listen)
    add = command.add_argument_group("faults").add_argument
    spec = "inject this fault; may be given several times, and they are applied in this order"
    add("--fault", metavar="SPEC", type=values.fault, action="append", default=[], help=spec)
    seed = "what all draws depend on: the same seed makes the same run (default: it is drawn)"
    add("--seed", metavar="SEED", type=values.nonempty, help=seed)
    log = "write these events to standard output (default: %(default)s)"
    add("--log", choices=LEVELS, default=LEVELS[1], help=log)


def validate(args: argparse.Namespace) -> None:
    """Check where to listen.

    :raises RelayCommandError: it cannot be understood, or a file cannot be read.
    """
    try:
        server_endpoint(None, args.listen)
    except EndpointError as error:
        raise RelayCommandError(f"LISTEN {args.listen!r}: {error}") from None


class EventWriter(RelayObserver):
    """Writes events, one a line, with the seconds since the start.

    :param reactor: the clock.
    :param level: one of :data:`LEVELS`.
    """

    def __init__(self, reactor: Any, level: str) -> None:
        self._reactor, self._level = reactor, LEVELS.index(level)
        self._begin = reactor.seconds()
        self._out = StandardOutput()

    def write(self, line: str, level: int = 0) -> None:
        """Write a line, if its level is written. An output that is closed is ignored."""
        if level > self._level:
            return
        seconds = self._reactor.seconds() - self._begin
        try:
            self._out.write(f"{seconds:.3f} {line}\n".encode())
        except OutputError:
            self._level = -1

    def accepted(self, connection: int, client: str) -> None:
        """Write a new connection."""
        self.write(f"#{connection} accepted {client}".rstrip(), 2)

    def received(self, connection: int, direction: str, data: bytes) -> None:
        """Write bytes that came."""
        if self._level >= 3:
            self.write(f"#{connection} {direction} {len(data)} {escaped(data)}", 3)

    def finished(self, connection: int, direction: str) -> None:
        """Write a FIN that came."""
        self.write(f"#{connection} {direction} FIN", 2)

    def broke(self, connection: int, direction: str) -> None:
        """Write a reset that came."""
        self.write(f"#{connection} {direction} RST", 2)

    def failed(self, connection: int, why: str) -> None:
        """Write that the server cannot be reached."""
        self.write(f"#{connection} no connection to the server: {why}", 1)

    def ended(self, connection: int) -> None:
        """Write the end of both connections."""
        self.write(f"#{connection} ended", 2)

    def happened(self, event: FaultEvent) -> None:
        """Write a fault that has happened."""
        where = f" {event.direction} at {event.offset}" if event.direction else ""
        whom = f"#{event.connection}" if event.connection else "listener"
        self.write(f"{whom} fault {event.fault.spec}{where}", 1)


async def run(args: argparse.Namespace, reactor: Any, target: ClientTarget) -> int:
    """Relay until a signal comes; return the exit status."""
    seed = args.seed or secrets.token_hex(4)
    writer = EventWriter(reactor, args.log)
    relay = Relay(reactor, [target.endpoint], args.fault, seed, writer)
    try:
        port = await relay.listen_on(server_endpoint(reactor, args.listen))
    except (OSError, CannotListenError, FaultSpecError) as error:
        why = str(error) if isinstance(error, FaultSpecError) else describe_error(error)
        print_error(f"echosvc: {args.listen}: {why}")
        return EXIT_FAILURE
    where = format_address(port.getHost())
    writer.write(f"relay listening on {where}, to {target.name}, seed {seed}")
    stopping, ended = Deferred[None](), Deferred[None]()

    def stop() -> Deferred[None]:
        stopping.callback(None)
        return ended

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    await stopping
    await relay.stop()
    reactor.callLater(0, ended.callback, None)  # once this has returned its status
    return EXIT_OK
