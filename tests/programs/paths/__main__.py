"""Write ``docs/check.md``, or run the catalogue: ``python -m tests.programs.paths --help``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from echosvc.probe.validation import PROBES
from tests.programs.paths.catalogue import commands
from tests.programs.paths.catalogue.registry import load
from tests.programs.paths.catalogue.runner import reached
from tests.programs.paths.document import (
    EXAMPLES,
    HELP,
    OUTPUTS,
    PARTS,
    Part,
    head,
    questions,
)
from tests.programs.paths.programs import (
    HAPROXY,
    TIME_OUT,
    check,
    through_haproxy,
    through_nginx,
    through_relay,
    through_socat,
)
from tests.programs.paths.remedies import written_remedies
from tests.support.process import environment, running
from tests.support.waiting import LIMIT

_DOCUMENT = Path(__file__).resolve().parents[3] / "docs/check.md"
#: The same names whatever ports were free.
_NAMES = {
    "haproxy": "lb.example:9000",
    "nginx": "nginx.example:9000",
    "relay": "relay.example:9000",
}


def _path(part: Part, port: int, others: tuple[int, ...]) -> AbstractContextManager[int]:
    if part.path == "haproxy":
        return through_haproxy(port)
    if part.path == "nginx":
        return through_nginx(port)
    if part.path == "socat":
        return through_socat(port)
    return through_relay(port, *others, **part.faults)


def _run(part: Part) -> str:
    """Make one part's check; give the command and what it printed, as a user has it."""
    if part.entry:
        return _run_entry(part)
    with running("--log", "quiet", *part.server) as one, running("-p", "blue: ") as two:
        others = (two.port,) if part.two else ()
        with _path(part, one.port, others) as port:
            done = check(port, *part.options)
    name = _NAMES.get(part.path, "relay.example:9000")
    return _shown(part, done.stdout, f"127.0.0.1:{port}", name)


def _run_entry(part: Part) -> str:
    """The same through a path of the catalogue.

    :raises Absent: a program that it needs is not there.
    """
    with reached(load()[part.entry]) as (sides, place):
        endpoint = f"tcp:{place}"
        command = [*sides.client, sys.executable, "-m", "echosvc", "check", endpoint]
        done = subprocess.run(
            [*command, *part.options],
            capture_output=True,
            text=True,
            timeout=4 * LIMIT,
            env=environment(),
            check=False,
        )
    return _shown(part, done.stdout, str(place), f"{part.path}.example:9000")


def _shown(part: Part, printed: str, address: str, name: str) -> str:
    """The command and what it printed, with a name in place of the address."""
    options = " ".join(_quoted(word) for word in part.options)
    command = f"$ echosvc check tcp:{name} {options}".rstrip()
    text = f"{command}\n{printed.replace(address, name)}".rstrip().replace("\n", "\n    ")
    return f"    {text}\n"


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(" {}()<>") else word


def _words() -> Iterator[str]:
    """What needs no program: the questions and the remedies."""
    yield head()
    yield questions((probe.name, probe.summary) for probe in PROBES)
    yield from written_remedies()


def _with_new_words(page: str) -> str:
    """The page as it is, with its words written anew."""
    return "".join(_words()) + page[page.index(EXAMPLES) :]


def _written() -> Iterator[str]:
    yield from _words()
    yield EXAMPLES
    yield f"With this configuration of HAProxy:\n\n{_indented(HAPROXY, TIME_OUT)}\n"
    for part in PARTS:
        print(part.title, file=sys.stderr, flush=True)
        text = textwrap.fill(part.text, 100, break_on_hyphens=False)
        yield f"{part.heading}{text}\n\n{_run(part)}\n"
    yield OUTPUTS
    yield HELP


def _indented(config: str, seconds: int) -> str:
    lines = config.format(port=9000, target=8107, seconds=seconds).splitlines()
    return "".join(f"    {line}\n" for line in lines)


def main() -> int:
    """The exit status: 0 if each run said what is true."""
    parser = argparse.ArgumentParser("python -m tests.programs.paths", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write-docs", action="store_true", help="write docs/check.md")
    what.add_argument(
        "--write-words",
        action="store_true",
        help="write what docs/check.md says of probes, causes and remedies, and run nothing",
    )
    commands.add_arguments(what, parser)
    options = parser.parse_args()
    if options.write_words:
        _DOCUMENT.write_text(_with_new_words(_DOCUMENT.read_text("utf-8")), "utf-8")
        return 0
    if not options.write_docs:
        return commands.run(parser, options)
    _DOCUMENT.write_text("".join(_written()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
