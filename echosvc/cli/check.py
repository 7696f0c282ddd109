"""The command line of ``echosvc check``: its options, its output, its progress."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, cast

from echosvc.cli.output import Lossy, OutputError, Sink, StandardOutput
from echosvc.cli.target import duration
from echosvc.endpoints.client import Target
from echosvc.probe.settings import FRAMINGS

if TYPE_CHECKING:
    from echosvc.probe.check import Check
    from echosvc.probe.result import CheckResult, ProbeResult

SUMMARY = "say what a path does to bytes: a table of probes"
_EPILOG = """\
probes, in this order:
{probes}

Each is PASS, FAIL, INFO (a finding, neither good nor bad) or SKIP (it does not apply).

examples:
  echosvc check tcp:192.0.2.7:8107
  echosvc check tcp:lb.example:9000 --only half-close,back-pressure
  echosvc check tcp:lb.example:9000 --only find-idle --find-idle 600
  echosvc check tcp:localhost:9000 --prefix '{hostname} {connection}/{message}: '
  echosvc check tls:lb.example:9443 --ca ca.pem --json

exit status: 0 nothing failed, 1 something did, 2 usage error, 130 interrupted
"""
_WORDS = {"pass": "passed", "fail": "failed", "info": "for information", "skip": "skipped"}
_LONGEST = 7 * 86400.0
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def epilog() -> str:
    """Return what the help says behind the options. It loads all probes."""
    from echosvc.probe.check import PROBES

    return _EPILOG.replace(
        "{probes}", "\n".join(f"  {probe.name:<13}  {probe.summary}" for probe in PROBES)
    )


def describe(add: Callable[..., Any], template: Callable[[str], Any]) -> None:
    """Add the command's own options.

    :param template: reads a prefix.
    """
    help_of_prefix = "the server's prefix, in its template language (default: it is learned)"
    add("-p", "--prefix", metavar="TEMPLATE", type=template, help=help_of_prefix)
    add("--framing", choices=FRAMINGS, default=FRAMINGS[0], help="the server's (default: chunk)")
    add("--only", metavar="PROBE,...", type=_names, default=(), help="only these probes")
    add("--skip", metavar="PROBE,...", type=_names, default=(), help="not these")
    for name, metavar, kind, default, words in _NUMBERS:
        add(name, metavar=metavar, type=kind, default=default, help=words)
    add("--identity", metavar="REGEX", help=_IDENTITY)
    add("--json", action="store_true", help="write one JSON object to standard output, no more")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _time(text: str) -> float:
    seconds = duration(text)
    if not 0 < seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"must be more than 0, at most a week, not {text!r}")
    return seconds


def _times(text: str) -> tuple[float, ...]:
    return tuple(_time(part) for part in text.split(","))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 10000, not {text!r}")
    return int(text)


def _size(text: str) -> int:
    number, unit = text.rstrip("kKmMgG"), text[len(text.rstrip("kKmMgG")) :].lower()
    whole = number.isascii() and number.isdecimal() and unit in _UNITS
    if not whole or not 0 < int(number) * _UNITS[unit] <= 1 << 40:
        raise argparse.ArgumentTypeError(f"must be a number of bytes such as 64M, not {text!r}")
    return int(number) * _UNITS[unit]


_IDENTITY = (
    "what in the prefix says who answers; its first group, if it has one"
    " (default: the prefix without the numbers that stand alone)"
)
_NUMBERS: tuple[tuple[str, str, Callable[[str], Any], object, str], ...] = (
    ("--idle", "SECONDS,...", _times, (1.0, 5.0, 30.0),
     "idle times that a connection must survive (default: 1,5,30)"),
    ("--find-idle", "SECONDS", _time, 0.0,
     "find after how long an idle connection is cut; search so far"),
    ("--connections", "N", _count, 10, "so many at once (default: %(default)s)"),
    ("--timeout", "SECONDS", _time, 10.0,
     "a probe has failed after so long without progress (default: %(default)g)"),
    ("--max-size", "BYTES", _size, 64 << 20,
     "of the longest stream; k, M and G are understood (default: 64M)"),
)  # fmt: skip


class Output:
    """Where findings go: lines as they come, or one JSON object at the end.

    :param out: standard output.
    :param as_json: write JSON.
    :raises OutputError: from every method, where it takes no more.
    """

    def __init__(self, out: Sink, as_json: bool) -> None:
        self._out, self._json = out, as_json
        self._progress = _Progress()
        self._written = False

    def began(self, name: str) -> None:
        """A probe begins."""
        self._progress.show(name)

    def found(self, probe: ProbeResult) -> None:
        """Say what one probe found."""
        self._progress.hide()
        if not self._json and not self._written:  # what a Ctrl-C breaks is no finding
            text = f"{probe.result.upper():<4}  {probe.name:<13}  {probe.finding}"
            cause = f"\n{'':21}likely: {probe.cause}" if probe.cause else ""
            self._write(f"{text} ({probe.seconds:.2f} s){cause}\n")

    def over(self, result: CheckResult) -> None:
        """Say what was found in all, once."""
        self._progress.hide()
        if self._written:
            return
        self._written = True
        if self._json:
            self._write(json.dumps(result.as_dict(), indent=2) + "\n")
        else:
            self._write(_sum(result) + "\n")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise OutputError.of(error) from None


def _sum(result: CheckResult) -> str:
    counts = [
        f"{sum(probe.result == kind for probe in result.probes)} {word}"
        for kind, word in _WORDS.items()
        if kind in ("pass", "fail") or any(probe.result == kind for probe in result.probes)
    ]
    state = "interrupted" if result.interrupted else "ok" if result.ok else "NOT OK"
    return f"{result.endpoint}: {state}: {', '.join(counts)}"


class _Progress:
    """What goes on, on the terminal where somebody looks, and only there."""

    def __init__(self) -> None:
        self._shown: Any = None
        self._looked_at = sys.stderr is not None and sys.stderr.isatty()

    def show(self, name: str) -> None:
        """Show which probe is under way, and for how long."""
        self.hide()
        if not self._looked_at:
            return
        try:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        except ImportError:
            return
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        self._shown = Progress(
            *columns, console=Console(file=cast(IO[str], Lossy())), transient=True
        )
        self._shown.add_task(name, total=None)
        self._shown.start()

    def hide(self) -> None:
        """Leave the line to others."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


async def run(words: argparse.Namespace, reactor: Any, target: Target) -> int:
    """Make the probes; give the exit status."""
    from echosvc.net.clock import use_monotonic_clock
    from echosvc.probe.check import Check

    use_monotonic_clock(reactor)
    output = Output(StandardOutput(), words.json)
    check = Check(
        reactor, target, settings(words), words.to, began=output.began, found=output.found
    )
    reactor.addSystemEventTrigger("before", "shutdown", _say_the_rest, output, check)
    result = await check.run()
    output.over(result)
    return 0 if result.ok else 1


def _say_the_rest(output: Output, check: Check) -> None:
    """After Ctrl-C: what was found so far, if somebody takes it."""
    with suppress(OutputError):
        output.over(check.result())


def settings(words: argparse.Namespace) -> Any:
    """Read the options.

    :raises SettingsError: they make no sense together.
    """
    from echosvc.probe.check import validate
    from echosvc.probe.settings import Settings

    asked = Settings(
        prefix=words.prefix,
        framing=words.framing,
        only=words.only,
        skip=words.skip,
        idle=words.idle,
        find_idle=words.find_idle,
        connections=words.connections,
        timeout=words.timeout,
        max_size=words.max_size,
        identity=words.identity,
    )
    validate(asked)
    return asked
