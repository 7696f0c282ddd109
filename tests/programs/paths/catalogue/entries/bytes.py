"""Paths that change, add or lose bytes, and backends of which one differs."""

from __future__ import annotations

from typing import Any

from tests.programs.paths.catalogue.builders.balancers import haproxy
from tests.programs.paths.catalogue.builders.relays import (
    faulty,
    microsocks,
    ncat,
    socat,
    through_pipe,
    through_socks,
    through_terminal,
)
from tests.programs.paths.catalogue.builders.relays import python as python_relay
from tests.programs.paths.catalogue.builders.scripts import TRIMMING_SERVER, changing
from tests.programs.paths.catalogue.builders.servers import command, echosvc, python
from tests.programs.paths.catalogue.entry import BASIC, FAST, Entry, Line, fails, passes

#: Only the values are accused.
_OTHERS = passes(*(name for name in BASIC if name not in ("bytes", "text")), "half-close")
#: Text cannot do without the values that change.
_TEXT = Line("text", "pass|skip")
_NOWHERE = "came before|another connection's|drops bytes|buffer is full|at the FIN"


def _mapped(name: str, title: str, *says: str, **more: object) -> Entry:
    """One finding says which values change; everything else is judged without them."""
    return Entry(
        name, title, echosvc(), expected=(*_OTHERS, _TEXT, fails("bytes", *says)), nowhere=_NOWHERE
    ).also(name, title, **more)


def _piped(name: str, title: str, shell: str, *says: str, **more: object) -> Entry:
    """A program that reads and writes a pipe stands before the server."""
    return _mapped(name, title, *says, via=(through_pipe(shell),), **more)


#: Each 100,000 bytes behind the beginning of what comes back; which words name it.
_DAMAGES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "lost": (("700 bytes lost",), {"drop": (100_000, 700)}),
    "repeated": (("700 bytes .* came again",), {"duplicate": (100_000, 700)}),
    "reordered": (("700 bytes .* came before",), {"swap": (100_000, 700)}),
    "one-bit": (("1 byte changed",), {"flip": 100_000}),
    "inserted": (("6 bytes not sent by the client",), {"insert": (100_000, b"<html>")}),
}


def _damaged(name: str, *says: str, **faults: Any) -> Entry:
    """One finding; what it explains is not accused again."""
    return Entry(
        f"damage-{name}",
        f"a relay: {faults}",
        echosvc(),
        via=(faulty(**faults),),
        expected=(*passes("connect", "echo", "text"), fails("sizes|order|stream", *says)),
        nowhere="at the FIN|another connection",
    )


ENTRIES = (
    _mapped("utf-8", "a server that decodes UTF-8", "UTF-8", server=echosvc("--encoding", "utf-8")),
    _mapped(
        "crlf",
        "socat, which makes LF to CR LF",
        "line ends",
        via=(socat("", ",crlf", "-t", "30"),),
    ),
    _mapped(
        "crlf-left",
        "socat, which makes CR LF to LF on the way to the server, and back",
        "line ends",
        via=(socat(",crlf", "", "-t", "30"),),
    ),
    _mapped(
        "cr",
        "socat, which makes CR to LF and back",
        "line ends",
        via=(socat("", ",cr", "-t", "30"),),
    ),
    _mapped(
        "doubled-ff",
        "a relay that doubles 0xff, as Telnet does",
        "0xff|Telnet",
        via=(python_relay(changing(r"return data.replace(b'\xff', b'\xff\xff')")),),
    ),
    _mapped(
        "seven-bits",
        "a relay that clears the eighth bit",
        "eighth bit",
        via=(python_relay(changing("return bytes(each & 127 for each in data)")),),
    ),
    _mapped(
        "no-nul",
        "a relay that removes NUL",
        "NUL",
        via=(python_relay(changing(r"return data.replace(b'\0', b'')")),),
    ),
    _mapped(
        "xon-xoff",
        "a relay that removes XON and XOFF",
        "XON",
        via=(python_relay(changing(r"return data.translate(None, b'\x11\x13')")),),
    ),
    _mapped(
        "latin-1",
        "a relay that makes UTF-8 of Latin-1 on the way back",
        "Latin-1",
        via=(python_relay(changing("return data.decode('latin-1').encode()", False, True)),),
    ),
    _mapped(
        "upper-case",
        "a relay that makes capitals",
        "upper|case",
        via=(python_relay(changing("return data.upper()", True, False)),),
        expected=(fails("bytes|echo", "upper|case"),),
    ),
    _piped("no-cr", "tr -d, which removes CR", "stdbuf -i0 -o0 tr -d '\\r'", "line ends"),
    Entry(
        "trimmed-lines",
        "a server that trims lines",
        python(TRIMMING_SERVER),
        options=(*FAST, "--framing", "line"),
        expected=(fails("bytes", "trim|blank|white ?space"),),
        nowhere=_NOWHERE,
    ),
    Entry(
        "dead-backend",
        "HAProxy before two servers of which one is dead",
        echosvc(),
        via=(haproxy(dead=1, listen="    balance roundrobin\n    retries 0"),),
        expected=(
            *passes("connect"),
            fails("identity", r"[456] of 10", "dead|no answer|not answered|RST|FIN"),
        ),
        nowhere=f"{_NOWHERE}|no server listens",
    ),
    Entry(
        "one-decodes",
        "HAProxy before two servers of which one decodes UTF-8",
        echosvc("-p", "green: "),
        via=(haproxy(others=(echosvc("-p", "blue: ", "--encoding", "utf-8"),)),),
        expected=(*passes("connect", "echo", "half-close"), fails("bytes", "UTF-8")),
        nowhere=_NOWHERE,
    ),
    *(_damaged(name, *says, **faults) for name, (says, faults) in _DAMAGES.items()),
    Entry(
        "unbounded",
        "a relay that buffers without bound",
        echosvc(),
        via=(faulty(unbounded=True),),
        expected=(
            *passes("connect", "echo", "bytes", "sizes", "order", "half-close"),
            fails("back-pressure", "without bound"),
        ),
    ),
    Entry(
        "deadlock",
        "ncat -e /bin/cat, which hangs at times while both directions are full",
        command("ncat", "-l", "-k", "-m", "100", "-e", "/bin/cat", "{host}", "{port}"),
        options=("--skip", "idle,reset,half-close,late-answers", "--max-size", "1M"),
        expected=(
            *passes("connect", "echo", "bytes", "order", "text"),
            Line("sizes", "pass|skip"),  # it may meet the deadlock itself
            fails("deadlock|back-pressure", "both directions|neither"),
        ),
        limit=120.0,
    ),
    Entry(
        "tty-raw",
        "socat before a pseudo-terminal that passes bytes on, whose buffers are small",
        echosvc(),
        via=(through_terminal(),),
        expected=(
            *passes("connect", "echo", "bytes", "text"),
            fails("deadlock", "both directions|neither"),
        ),
        limit=180.0,
    ),
    Entry(
        "microsocks",
        "SOCKS by microsocks, which waits for one direction while it reads nothing of the other",
        echosvc(),
        via=(through_socks(microsocks()),),
        expected=(
            *passes("connect", "echo", "bytes", "sizes", "order", "text", "connections"),
            fails("deadlock|back-pressure", "both directions|neither"),
            fails("half-close", "FIN"),
        ),
        limit=120.0,
    ),
    Entry(
        "ncat-relay",
        "ncat --sh-exec ncat, which hangs likewise, and closes both directions at FIN",
        echosvc(),
        via=(ncat(),),
        expected=(
            *passes("connect", "echo", "bytes", "text"),
            fails("deadlock|sizes|back-pressure", "both directions|neither"),
            fails("half-close", "FIN"),
        ),
        limit=120.0,
    ),
)
