"""Servers that return messages, but late, or not as a prefix and the message."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.odd_echoes import (
    IN_BLOCKS,
    IN_PAIRS,
    ONE_LATE,
    WITHOUT_FIRST,
    WITHOUT_REPETITIONS,
    answering,
)
from tests.programs.paths.catalogue.builders.relays import through_pipe
from tests.programs.paths.catalogue.builders.servers import echosvc, python
from tests.programs.paths.catalogue.entry import Entry, fails, passes

_NOWHERE = "came before|lost the prefix|does not answer|another framing|outage"


def _odd(name: str, title: str, server: str, *says: str) -> Entry:
    """The one failure says what comes back."""
    return Entry(
        name,
        title,
        python(server),
        expected=(*passes("connect"), fails("echo", *says)),
        nowhere=_NOWHERE,
        limit=25.0,
    )


ENTRIES = (
    _odd("twice", "a server that answers twice", answering("2 * data"), "comes back twice"),
    _odd("suffix", "a server with a suffix", answering("b'<' + data + b'>'"), "suffix, '>'"),
    _odd("line-feed", "a server that adds LF", answering("data + b'\\n'"), r"suffix, '\\n'"),
    _odd(
        "counted-behind",
        "a server that counts behind the message",
        answering("data + b' %d' % number"),
        "suffix, which changes",
    ),
    _odd("reversed", "a server that reverses", answering("data[::-1]"), "back reversed"),
    _odd("base64", "a server of base64", answering("base64.b64encode(data)"), "in base64"),
    _odd("hexadecimal", "a server of digits", answering("data.hex().encode()"), "hexadecimal"),
    _odd(
        "json",
        "a server of JSON",
        answering("json.dumps({'echo': data.decode('latin-1')}).encode()"),
        "inside JSON",
    ),
    _odd(
        "only-counted",
        "a server that answers how many bytes came",
        answering("b'received %d bytes' % len(data)"),
        "do not come back",
        "no echo server",
    ),
    _odd(
        "time-in-front",
        "a server with the time in front",
        answering("b'%.6f ' % time.time() + data"),
        "prefix changes",
        r"--prefix '\{message\}\.\{message\} '",
    ),
    _odd("in-pairs", "a server that answers each second read", IN_PAIRS, "after 2 messages"),
    _odd("one-late", "a server that is one message late", ONE_LATE, "after the next message"),
    _odd("login", "a server that swallows the first message", WITHOUT_FIRST, "first message"),
    _odd("in-blocks", "a server that writes blocks", IN_BLOCKS, "buffered output"),
    Entry(
        "no-repetitions",
        "a server that drops a read like the one before",
        python(WITHOUT_REPETITIONS),
        expected=(*passes("connect", "echo", "bytes", "sizes"), fails("order", "like the one")),
        nowhere=_NOWHERE,
    ),
    Entry(
        "stdio",
        "tr, whose output is buffered by stdio",
        echosvc(),
        via=(through_pipe("tr a a"),),
        expected=(*passes("connect"), fails("echo", "buffered output")),
        nowhere=_NOWHERE,
        limit=25.0,
    ),
    Entry(
        "rot13",
        "tr, which moves letters by 13 places",
        echosvc("-p", ""),
        via=(through_pipe("stdbuf -i0 -o0 tr A-Za-z N-ZA-Mn-za-m"),),
        expected=(*passes("connect", "echo", "sizes", "order"), fails("bytes", "ROT13")),
        nowhere=_NOWHERE,
    ),
)
