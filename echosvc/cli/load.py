"""The command line of ``echosvc load``: its options, its output, its live line."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from echosvc.cli import load_values as read
from echosvc.cli import values
from echosvc.cli.compare import add_compare_arguments, validate_compare
from echosvc.cli.load_reports import (
    add_result_arguments,
    prints_text,
    validate_result_arguments,
    write_result,
)
from echosvc.cli.settings import given_settings, read_settings
from echosvc.cli.status_line import StatusLine
from echosvc.cli.target import given_target_options
from echosvc.cli.terminal import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    OutputError,
    StandardOutput,
    write_text,
)
from echosvc.cli.times import HELP, positive_time_span, time_span
from echosvc.endpoints.client import ClientTarget
from echosvc.net.descriptors import describe_shortage
from echosvc.probe.settings import FRAMINGS

if TYPE_CHECKING:
    from echosvc.probe.load.generator import Load
    from echosvc.probe.load.options import LoadOptions
    from echosvc.probe.traffic.load_result import LoadResult
    from echosvc.probe.traffic.sweep import SweepResult, SweepStep

EPILOG = f"""\
Without --rate each connection sends its next message when one is answered: a closed loop. With it,
messages have intended times, and latency is measured from these: it contains what a stall costs.
{HELP}

examples:
  echosvc load lb.example:9000 --connections 50 --duration 30
  echosvc load lb.example:9000 --rate 5000 --duration 1m --warmup 5 --json > load.json
  echosvc load lb.example:9000 --sweep 1000-50000 --slo 'p99<5ms'
  echosvc load tls:lb.example:9443 --ca ca.pem --rate 200 --lifetime 10 --size 64-16k
  echosvc load --compare before.json after.json --fail-if 'p99>+10%'

exit status: 0 OK, 1 the path or the peer failed, 2 usage error, 3 INVALID: this generator was the
bottleneck, and the figures mean nothing, 130 interrupted
"""
#: How far ahead a start may be, seconds: thirty days.
_MOST_AHEAD = 30 * 86400.0

#: Options with values: name, placeholder, what reads the value, help. Their defaults are those of
#: ``LoadOptions``.
_LOAD: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("--connections", "N", read.whole(1, "connections"), "connections at once (default: 10)"),
    ("--size", "BYTES[-MAX]", read.size_range,
     "bytes of a message, or the shortest and the longest; k and M are understood (default: 64)"),
    ("--duration", "TIME", positive_time_span,
     "how long messages are sent (default: 10)"),
    ("--rate", "R", read.per_second("messages"),
     "messages a second over all connections (default: as many as are answered)"),
    ("--depth", "N", read.whole(1, "messages"),
     "messages in flight on each connection, at most; what is due beyond waits, and its wait is"
     " part of its latency (default: 1, with --rate 10000)"),
    ("--connect-rate", "N", read.per_second("connections"),
     "open at most N connections a second (default: 100 attempts at once)"),
    ("--lifetime", "TIME", positive_time_span,
     "replace each connection after this time, without loss (default: never)"),
    ("--warmup", "TIME", time_span,
     "the first part of the duration, of which no time is counted (default: 0)"),
    ("--grace", "TIME", time_span,
     "how long an answer may take, also at the end; 0: what is in flight then is abandoned"
     " (default: 5)"),
    ("--seed", "N", read.whole(0, "no unit"),
     "of messages and arrivals (default: another one each time)"),
    ("--shard", "I/N", read.shard,
     "do part I of N of a run on several machines, which all get the same options and --seed"),
    ("--start-at", "TIME", read.start_time,
     "send the first message at this time: UTC as 2026-12-01T08:00:00Z, or Unix time"),
    ("--timeout", "TIME", positive_time_span,
     "how long a connection may take to open (default: 10)"),
    ("--sweep", "LOW-HIGH", read.rate_range,
     "find the highest --rate that keeps --slo: double it, then bisect; each run has all other"
     " options"),
    ("--slo", "OBJECTIVE", read.objective,
     "with --sweep: such as 'p99<5ms', 'p99.9<20ms' or 'max<1s', and no loss"),
    ("--max-send-lag", "TIME", positive_time_span,
     "with --rate: INVALID if p99 of this generator's own lag is above it (default: 10ms)"),
    ("--max-cpu-wait", "PART", read.part,
     "INVALID if this generator waited for a processor for more of the time"
     " (default: 40%%)"),
)  # fmt: skip


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    add = command.add_argument_group("what to send").add_argument
    for name, metavar, reader, text in _LOAD:
        add(name, metavar=metavar, type=reader, help=text)
    add("--arrivals", choices=("fixed", "poisson"), help="with --rate: when (default: fixed)")
    _add_server_arguments(command.add_argument_group("about the server").add_argument)
    add_result_arguments(command.add_argument_group("what to write").add_argument)
    add_compare_arguments(command.add_argument_group("in place of a run").add_argument)


def _add_server_arguments(add: Callable[..., Any]) -> None:
    detected = "(default: it is detected on each connection by two short messages, a greeting, too)"
    add(
        "-p",
        "--prefix",
        metavar="TEMPLATE",
        type=values.template,
        help=f"the server's prefix, in its template language {detected}",
    )
    add("--framing", choices=FRAMINGS, help="framing of the server (default: chunk)")


def validate(args: argparse.Namespace) -> None:
    """Check the options, and that this process may do what they ask for.

    :raises ValueError: they make no sense together.
    """
    validate_result_arguments(args)
    _validate_sweep(args)
    validate_compare(
        args, [*_given(args), *(["sweep"] if args.sweep else []), *given_target_options(args)]
    )
    options = read_options(args)
    ahead = 1.0 if options.start_at is None else options.start_at - time.time()
    if not 0 < ahead <= _MOST_AHEAD:
        raise ValueError(f"--start-at: that time is {'past' if ahead <= 0 else 'too far ahead'}")
    if shortage := describe_shortage(len(options.share)):
        raise ValueError(f"--connections: {shortage}")


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the load that were given, by the names of the settings."""
    from echosvc.probe.load.options import LoadOptions

    return given_settings(LoadOptions, args)


def read_options(args: argparse.Namespace) -> LoadOptions:
    """Return the options of the load; of a sweep, those of its first run.

    :raises LoadOptionsError: they make no sense together.
    """
    from echosvc.probe.load.options import LoadOptions

    others: dict[str, Any] = {}
    if args.size is not None:
        shortest, longest = args.size
        others |= {"size": shortest, "max_size": longest if longest > shortest else 0}
    if args.sweep:
        others["rate"] = args.sweep[0]
    return read_settings(LoadOptions, args, **others)


def _validate_sweep(args: argparse.Namespace) -> None:
    if (args.sweep is None) != (args.slo is None):
        raise ValueError("--sweep and --slo: one needs the other")
    for name in ("rate", "depth", "start_at", "shard"):
        if args.sweep and getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')}: not with --sweep")
    if args.max_send_lag is not None and not (args.sweep or args.rate or args.compare):
        raise ValueError("--max-send-lag: only with --rate or --sweep: there is no lag without")


async def run(args: argparse.Namespace, reactor: Any, target: ClientTarget) -> int:
    """Run the load, or the sweep; return the exit status."""
    from echosvc.net.clock import use_monotonic_clock

    use_monotonic_clock(reactor)
    options = read_options(args)
    gc.collect()
    gc.freeze()  # what is there stays: to look through it again costs 5 % of the messages
    command = LoadCommand(args, reactor, target, options)
    reactor.addSystemEventTrigger("before", "shutdown", command.interrupt)
    return await (command.run_sweep() if args.sweep else command.run())


class LoadCommand:
    """One run of the command.

    :param options: of the load, or of the first run of a sweep.
    """

    def __init__(
        self, args: argparse.Namespace, reactor: Any, target: ClientTarget, options: LoadOptions
    ) -> None:
        self._args, self._reactor, self._target = args, reactor, target
        self._options, self._load = options, self._make(options)
        self._sweep: Callable[[], SweepResult] | None = None
        self._out, self._written = StandardOutput(), False
        self._line = StatusLine(reactor, lambda: _describe(self._load))

    def _make(self, options: LoadOptions) -> Load:
        from echosvc.probe.load.generator import Load

        self._load = Load(self._reactor, self._target, options, self._args.to)
        return self._load

    async def run(self) -> int:
        """Run the load; return the exit status."""
        with self._line:
            result = await self._load.run()
        return self._finish(result)

    async def run_sweep(self) -> int:
        """Run the sweep; return the exit status."""
        from echosvc.probe.load.sweep import Sweep

        args = self._args
        low, high = args.sweep
        sweep = Sweep(self._options, low, high, args.slo, self._make, self._step)
        self._sweep = sweep.result
        with self._line:
            result = await sweep.run()
        return self._finish_sweep(result)

    def _finish(self, result: LoadResult) -> int:
        """Write the result, the first time that this is called; return the exit status."""
        if self._written:
            return EXIT_INTERRUPTED
        self._written = True
        written = write_result(self._args, result, self._out)
        if result.interrupted:
            return EXIT_INTERRUPTED
        return result.verdict.exit_status or (EXIT_OK if written else EXIT_FAILURE)

    def _step(self, step: SweepStep) -> None:
        """Print a rate that was tried."""
        if prints_text(self._args):
            self._line.stop()
            write_text(self._out, f"{step.describe(self._args.slo)}\n")
            self._line.start()

    def _finish_sweep(self, sweep: SweepResult) -> int:
        """Write what a sweep found, as :meth:`_finish` does: the result at the highest rate."""
        if self._written or not sweep.steps:
            return EXIT_INTERRUPTED
        self._written = True
        result = (sweep.best or sweep.steps[-1]).result
        written = write_result(self._args, result, self._out, sweep)
        return sweep.exit_status or (EXIT_OK if written else EXIT_FAILURE)

    def interrupt(self) -> None:
        """Write after Ctrl-C what was found until then."""
        self._line.stop()
        self._load.interrupt()
        with suppress(OutputError):
            if self._sweep is None:
                self._finish(self._load.result())
            else:
                self._finish_sweep(self._sweep())


def _describe(load: Load) -> str:
    """Return what the live line says."""
    tally, seconds = load.tally, load.elapsed
    rate = tally.answered / seconds if seconds else 0.0
    wrong = sum(tally.errors.values())
    words = f"{seconds:.0f} of {load.options.duration:.0f} s, {tally.answered} answered"
    return f"{words}, {rate:.0f}/s, {load.open_connections} connections, {wrong} errors"
