"""The words of ``docs/check.md``; what the command printed is put in between by the run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.programs.paths.remedies import TITLE

HEAD = """\
# `echosvc check`: what does this path do to my bytes?

## In an incident

Start an echo server behind the path, and run the check from where the clients are:

    $ echosvc serve                         # behind the path: port 8107
    $ echosvc check lb.example:9000         # from the clients' side

`check` asks one question after the other, and says first which ones take long. It works with any
echo server, whatever its prefix. Each line is

- **PASS**: the path does what it should;
- **FAIL**: it does not; the line below has the likeliest cause;
- **INFO**: a finding that is neither good nor bad;
- **SKIP**: it does not apply here, or something else explains it, and the line says what.

Then:

1. Begin with a failure to which skipped lines refer (`see path-mtu`), then take the others from the
   top. `--report check.html` writes a page that has them in this order.
2. Run the same check beside the server (`echosvc check SERVER:8107`). What fails there as well is
   not the path's doing.
3. Halve the path: check each device from its other side, until the failure is gone.
4. Look up [what to change](#{anchor}),
   change one thing, and ask this question again: `--only NAME`.

| what the users see | what to ask |
| --- | --- |
{symptoms}"""

#: What users see, and the options that ask for it.
SYMPTOMS = (
    ("connections die after a pause", "--only find-idle --find-idle 900"),
    ("connections die at some age, or now and then", "--only lifetime --lifetime 3600"),
    ("short messages pass, long ones hang", "--only path,sizes,order"),
    ("the last answers are missing", "--only half-close,late-answers"),
    ("bytes are missing, doubled or changed", "--only bytes,text,sizes,order"),
    ("some connections fail, others work", "--only identity,connections --connections 50"),
    ("it works, and a moment later it does not", "--pace 5"),
    ("the first answer is slow", "--only connect,greeting,first-answer"),
    ("all answers are slow", "--only rtt,path"),
    ("memory grows at a proxy, or a slow client stops others", "--only back-pressure"),
    ("the log has the wrong client address", "--only proxy --prefix '{peer}: '"),
    ("a cut-off answer looks complete", "--only reset"),
)
#: What is reported under a name that is no probe's.
CAUSES = (
    ("path-mtu", "large packets are lost, and no message says so"),
    ("message-size", "messages above some size are not answered, whatever the packets"),
    ("first-bytes", "a first message is held back: until it is longer, or for how it begins"),
    ("terminal", "a terminal (tty) in the path echoes and edits what is sent"),
    ("limit", "so many connections at once, or a second, and no more"),
    ("outage", "nothing answers any more, or has not for a while"),
    ("lifetime", "connections end at some age, busy or not"),
    ("restart", "all connections ended at the same moment"),
    ("volume", "connections end after so many bytes"),
    ("messages", "connections end after so many messages, short or long"),
    ("stream", "streams are damaged, though `sizes` has passed: longer ones, or now and then"),
    ("reuse", "bytes of an earlier connection came"),
    ("internal-error", "an error of echosvc itself kept a probe from its result"),
    ("deadlock", "the path stops while both directions are full"),
)
#: What each probe asks is in its table; this is around it.
QUESTIONS = """\
## The questions

In this order; `--only` and `--skip` take their names:

{probes}
What has nothing to do with the question of a probe is reported once, under a name of its own. The
check then goes on without it where it can; else the probes that it keeps from a verdict refer to
it.

{causes}
Every probe is bounded in time: it fails once nothing has come on any of its connections for
`--timeout` seconds (10), and after six times that in all, besides the time that it needs by its
nature. On a fast path a check takes less than ten seconds; what takes longer, as `--idle 30` or
`--find-idle` do, is named on standard error at the beginning. A slow path that carried everything
right so far gets INFO then, and what it carried a second. What such a probe leaves in queues is
waited for before the next one, at most thirty time-outs.

The **prefix** is detected by a first exchange on every connection, so that each backend may have
its own. One that changes from reply to reply is given with `--prefix`, in the server's template
syntax. What is sent never contains it. With `--framing line` or `length`, for servers that are set
so, messages are lines, or have their length in front. Where the first message is not answered,
other framings are tried, and one is named only if the server has answered in it.

"""
#: Headings of other parts of the page.
EXAMPLES = "## What it prints\n\n"


@dataclass(frozen=True)
class Part:
    """One example.

    :ivar title: its heading, or "" to go on under the one before.
    :ivar text: what it shows.
    :ivar options: of the command.
    :ivar path: haproxy, nginx, socat or relay; of an entry, the name that is shown.
    :ivar server: options of the server.
    :ivar faults: of a relay.
    :ivar two: there is another server, which calls itself blue.
    :ivar entry: of the catalogue, which makes the path instead.
    """

    title: str
    text: str
    options: tuple[str, ...] = ()
    path: str = "relay"
    server: tuple[str, ...] = ()
    faults: dict[str, Any] = field(default_factory=dict)
    two: bool = False
    entry: str = ""

    @property
    def heading(self) -> str:
        """The heading, in Markdown."""
        return f"### {self.title}\n\n" if self.title else ""


PARTS = (
    Part(
        "A whole check",
        "Everything is carried right, but idle connections are cut. (Without `--idle` they need to "
        "survive 1 and 5 seconds only, so that the check does not take long.)",
        ("--idle", "1,5,30"),
        "haproxy",
    ),
    Part(
        "After how long is an idle connection cut?",
        "`--find-idle MAX` keeps many connections idle at once, each for another time, counted "
        "from its own last byte. A FIN or RST is seen when it comes. Silence (a firewall that "
        "forgot the connection) is found by those that are not answered any more when they are "
        "used again. Another round of connections, between the longest time that was survived and "
        "the shortest that was not, narrows that to 2 % or 20 ms.",
        ("--only", "find-idle", "--find-idle", "60"),
        "haproxy",
    ),
    Part(
        "",
        "Through a path that drops connections silently after 2 seconds:",
        ("--only", "find-idle", "--find-idle", "60", "--timeout", "2"),
        faults={"idle_timeout": 2.0, "on_idle": "silence"},
    ),
    Part(
        "",
        "Connections that end at a certain age look the same to somebody who only waits. A busy "
        "connection beside the idle ones tells them apart. This is Envoy with "
        "`max_downstream_connection_duration: 3s`:",
        ("--only", "find-idle", "--find-idle", "8"),
        "envoy",
        entry="envoy-lifetime",
    ),
    Part(
        "",
        "`--lifetime TIME` demands that busy connections live that long:",
        ("--only", "lifetime", "--lifetime", "10"),
        "envoy",
        entry="envoy-lifetime",
    ),
    Part(
        "Do large packets arrive?",
        "A router whose next link is narrower must say so by ICMP. Where a firewall drops that "
        "message, short messages pass and long ones hang. The sizes between which the limit lies "
        "are found, and the rest of the check keeps below it:",
        ("--only", "sizes,order", "--max-size", "1M"),
        "vpn",
        entry="mtu-link",
    ),
    Part(
        "Does half-close survive?",
        "A client that has sent everything sends FIN, and still waits for replies. nginx's "
        "`stream` closes both directions then, unless it has `proxy_half_close on`:",
        ("--only", "half-close"),
        "nginx",
    ),
    Part(
        "",
        "If the FIN never reaches the server, the replies come, and then nothing:",
        ("--only", "half-close", "--timeout", "2"),
        faults={"on_fin": "drop"},
    ),
    Part(
        "",
        "What comes late after the FIN is lost where a device waits for a time only. socat waits "
        "for half a second:",
        ("--only", "half-close,late-answers"),
        "socat",
        entry="socat",
    ),
    Part(
        "Is anything lost, repeated, reordered, changed?",
        "`order` sends 4 MiB of numbered pieces, `sizes` streams of all sizes up to "
        "`--max-size`, those around the sizes of segments, TLS records and reads among them. "
        "A fault is reported with the offset where it begins, with what was due and what came "
        'there. "The first of at least 12 such faults" means that faults of this kind alone '
        'explain everything that was compared; "and more is wrong behind it", that they do not. '
        "Bytes that were sent on an earlier connection are recognised, and called that. Lost:",
        ("--only", "order"),
        faults={"drop": (100_000, 700)},
    ),
    Part("", "Sent twice:", ("--only", "order"), faults={"duplicate": (100_000, 700)}),
    Part("", "In the wrong order:", ("--only", "order"), faults={"swap": (100_000, 700)}),
    Part("", "One bit changed:", ("--only", "order"), faults={"flip": 100_000}),
    Part("", "Inserted:", ("--only", "order"), faults={"insert": (100_000, b"<html>")}),
    Part("", "Cut off:", ("--only", "sizes"), faults={"cut": 65536}),
    Part(
        "Are the bytes treated as text?",
        "A server, or a middlebox, that decodes what it carries leaves text as it is and "
        "nothing else. Which values change to what is found by an experiment, with each value, "
        "with CR LF, and with white space at the ends of messages. It is one failure of `bytes`; "
        "the other probes avoid these values, and are judged by their own subject. This is a "
        "server with `--encoding utf-8`:",
        ("--only", "bytes,text"),
        server=("--encoding", "utf-8"),
    ),
    Part(
        "Is there back-pressure?",
        "The probe sends and reads nothing. Once all buffers on the path are full it must be "
        "stopped; the bytes that they hold are reported. A path that takes 256 MiB has no bound, "
        "and one slow client can fill its memory:",
        ("--only", "back-pressure"),
        faults={"unbounded": True},
    ),
    Part(
        "How many connections are let through?",
        "A limit is found by opening connections until some are not answered; from then on the "
        "check keeps below it. This is nginx with `limit_conn each 5`:",
        ("--only", "identity,connections"),
        "nginx",
        entry="nginx-limit-conn",
    ),
    Part(
        "Who looks at the first bytes?",
        "A proxy that chooses the server by the first bytes waits until it has enough of them. "
        "This is nginx with `ssl_preread on`:",
        ("--only", "connect,echo"),
        "nginx",
        entry="ssl-preread",
    ),
    Part(
        "Which servers answer?",
        "`identity` opens `--connections` (10) and counts the servers that answered, by the "
        "prefix without the numbers that stand alone; `--identity REGEX` finds the name in it, and "
        "the probe fails if a prefix does not match. Give each backend its name: `-p '{env:NODE}: "
        "'` or `-p '{hostname}: '`.",
        ("--only", "identity"),
        server=("-p", "green: "),
        two=True,
    ),
    Part(
        "Does the server see my address?",
        "Give the server a prefix with `{peer}`. A path that connects from its own address and "
        "sends no PROXY header is found:",
        ("--only", "proxy", "--prefix", "{peer}: "),
        "haproxy",
        ("-p", "{peer}: "),
    ),
    Part(
        "How does a reset arrive?",
        "A server with `--idle-timeout 1 --idle-action reset` aborts idle connections. If "
        "a middlebox turns it into a FIN, what was cut off looks whole. Ask for it by "
        "name:",
        ("--only", "reset"),
        server=("--idle-timeout", "1", "--idle-action", "reset"),
        faults={"on_reset": "fin"},
    ),
)

OUTPUTS = """\
## For programs, CI and people

The exit status is 0 if nothing failed, 1 if something did, 2 for a usage error, 130 after Ctrl-C,
which still prints and writes what was found.

`--json` writes one object to standard output and nothing else:

    {"endpoint": ..., "ok": true, "probes": [{"name": ..., "result": "pass"|"fail"|"info"|"skip",
     "finding": ..., "cause": ..., "seconds": ..., ...}]}

with the figures of each finding beside it: `offset`, `length`, `expected` and `seen` (hexadecimal),
`faults` (how many) and `explained` of a damaged stream, `idle_seconds`, `servers`, round-trip times
in µs. `see` names the result that explains why a probe was skipped.

`--junit check.xml` writes JUnit XML: each result is a test case, what was asked and the figures are
properties of the suite. An interrupted check has a test case `interrupted` that failed. CI systems
read it by

| CI system | setting |
| --- | --- |
| GitLab | `artifacts: reports: junit: check.xml` |
| Jenkins | `junit 'check.xml'` |
| Azure Pipelines | the task PublishTestResults@2, with the format JUnit |

`--report check.html` writes a page for people: what was asked, what was found, in which order to
look. It loads nothing and runs no script, so it can be mailed and printed.

Either is written whole at the end, also after Ctrl-C; `-` is standard output, in place of the
lines. A path that cannot be written is refused before anything is asked.

`pip install rich`, or the extra `probe`, adds, on a terminal, a line with the probe that runs;
everything else works without it.

"""

HELP = """\
## From Python

```python
import asyncio
from echosvc import check_async

result = asyncio.run(check_async("tcp:lb.example:9000", only=("half-close", "order")))
for probe in result.probes:
    print(probe.name, probe.result, probe.finding, probe.cause, probe.facts)
```

In a coroutine of asyncio's it is `await check_async(...)`; in one on Twisted's reactor,
`await check(...)`.

For tests of your own client, `pytest_plugins = ["echosvc.testing"]` in `conftest.py` gives the
fixtures `echo_server` and `misbehaving_relay`, for tests of any kind
([embedding.md](embedding.md#tests-of-your-own-client) has the rest):

```python
def test_my_client_notices_loss(misbehaving_relay):
    port = misbehaving_relay("drop=1,at=1000")
    with pytest.raises(MyLossError):
        my_client("127.0.0.1", port)
```

The relay makes any fault of [faults.md](faults.md): it loses, repeats, swaps, changes or inserts
bytes, closes or resets at an exact byte, breaks the half-close, drops idle connections, is late.

## What it cannot know

- A fault in the first bytes of every connection, while the prefix is detected, looks like another
  prefix. `--prefix` says what is due there, too.
- A reply that lost its whole prefix is two reads that were answered as one: no fault.
- Where two faults are closer together than 24 right bytes, what each of them was.
- Whether the path or the server caused a fault. Check the server without the path to know.
- `half-close`: whether a FIN that comes each time after the same while is that of a server which
  waits. With `--framing line` at both ends it is known.
- `late-answers`: what becomes of answers that the server itself sends long after the FIN. An echo
  server answers at once, so only the client can be late. HAProxy's `timeout server-fin`, for
  example, ends a connection only where the server is.
- `reset`, `server-fin`: whether the end was the server's, unless it has `--idle-action reset` or
  `--idle-action close`.

## How this page is made

    python -m tests.programs.paths --write-docs

writes it, with what the command printed through real programs, and through relays that break one
thing each. Do not edit it.
"""


def head() -> str:
    """The beginning of the page."""
    rows = "".join(f"| {what} | `{options}` |\n" for what, options in SYMPTOMS)
    anchor = re.sub(r"[^a-z0-9-]", "", TITLE.lower().replace(" ", "-"))
    return HEAD.replace("{anchor}", anchor).replace("{symptoms}", f"{rows}\n")


def questions(probes: Iterable[tuple[str, str]]) -> str:
    """The table of the probes, and what holds for all.

    :param probes: their names and their summaries.
    """
    tables = {
        "{probes}": _table("probe", "what it asks", probes),
        "{causes}": _table("finding", "what it means", CAUSES),
    }
    text = QUESTIONS
    for place, table in tables.items():
        text = text.replace(place, table)
    return text


def _table(name: str, meaning: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in rows)
    return f"| {name} | {meaning} |\n| --- | --- |\n{lines}"
