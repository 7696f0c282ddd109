"""The words of ``docs/load.md``; what a command printed is put in between by a run of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from echosvc.probe.traffic.verdict import MAX_CPU_WAIT, MAX_SEND_LAG
from echosvc.reports.load_figures import DISTRIBUTIONS

#: A place for what a command printed, by the name of its run.
_OUTPUT = re.compile(r"^<!-- run (\w+) -->\n(.*?)^<!-- end -->\n", re.MULTILINE | re.DOTALL)

_WORDS = """\
# `echosvc load`: how fast, and did every byte come back?

    $ echosvc serve                                       # behind the path: port 8107
    $ echosvc load lb.example:9000 --rate 200             # from the clients' side

`load` opens connections, sends messages, and compares every reply to the byte with what was due. No
two messages are equal, on any connection, process or machine: a reply that belongs to another
message is found. It works with any echo server, whatever its prefix, and with several behind one
address that have different ones: each connection finds out [who answers](#who-answers). Where
something in a prefix changes from reply to reply, such as a number, `--prefix` says what.
`--framing` says how messages are told apart. `echosvc load --help` and [options.md](options.md)
have all options.

<!-- run rate -->
<!-- end -->

The first line is the verdict. Its reasons are below it, and then what limits the figures.

## The verdicts

| verdict | exit status | what it means |
| --- | --- | --- |
{verdicts}

A usage error is 2, and Ctrl-C 130; after Ctrl-C what was found until then is written.

What was lost is proved, however slow the generator was: so FAIL comes before INVALID, and the
reasons say if the figures mean nothing besides. A run is INVALID if

- at a rate, the p99 of the generator's own lag is above `--max-send-lag` ({max_send_lag}). The lag
  is how long after its intended time, or after its connection took data again, a message was sent;
- at a rate, the generator used a whole core and was late by more than 1 ms;
- messages were due on a connection that took data, and were never sent;
- messages were due and could not be sent, since as many as `--depth` were in flight, though the
  peer answered;
- the generator waited for a processor for more than `--max-cpu-wait`
  ({max_cpu_wait}) of the time, as Linux counts it, and at a rate was late by more than 1 ms: it
  measured the other programs of its machine;
- the generator itself stood still for a second or more: it was stopped, or got no processor. What
  was answered meanwhile is neither late nor lost;
- local ports, or file descriptors, were used up.

This one shares its processor with two busy programs:

<!-- run starved -->
<!-- end -->

The remedy is another machine, fewer connections on this one, a lower rate, or several machines:
[see below](#several-machines). A peer that takes no data makes no run INVALID: that is the peer's.

## The figures

| figure | what it is |
| --- | --- |
{distributions}
{counts}

Percentiles are those of HdrHistogram, with three digits from 1 µs to one hour; p99.9 is the time
that 999 of 1,000 messages did not exceed. One that is given for fewer values than it needs is the
maximum: for p99.99, that is less than 10,000 values.

## Who answers

Without `--prefix` two short messages are sent on each connection, one after the other, before it
counts as open. What comes before the replies is the greeting and the prefix of its server. So a
server may be replaced by one with another prefix while the load runs, and with `--lifetime` each
new connection may have another server. The result says how many connections each one answered;
`echosvc share` says whether that is the share it should have. A prefix that is not the same in both
replies is damaged, or changes: that is a `mismatch`. Where the first connection of all cannot be
verified, the run ends.

These messages are not in `sent`, `received` or the latencies, and `connect` ends before them.
`first byte` is measured on the first of them: so the time is in it that a server, or a proxy before
it, needs until a new connection is served. They cost each connection two round trips before its
load begins, also where it replaces another: what is due meanwhile waits. With `--prefix` they are
not sent, and `first byte` is that of the first message of the load.

A server greets every client or none. Where it did not, what comes before the first reply of another
connection is no greeting, and counts as bytes that were not due: it may be the reply to another
client.

## Corrected and uncorrected

Without `--rate` each connection sends its next message when one is answered. Such a closed loop
finds out how much a server answers, and hides how long it makes others wait: while the server
stands still, nothing is sent, and so nothing is late but one message a connection. With `--rate`
messages have intended times, whether those before are answered or not, and the corrected latency is
measured from these. It is what a user waits who does not know that the server is busy.

Here the server was stopped for one second:

<!-- run stall -->
<!-- end -->

{picture}

The uncorrected latency is that of most load generators, which wait for a reply before they send the
next message of a connection: it is counted for those messages alone that were sent while no other
was in flight on their connection. Of the messages of the stall these are one a connection, and
`values` says how many are left out. So the p99 of the corrected latency shows the second, and that
of the uncorrected latency does not.

## How not to fool oneself

- Begin with a rate that you expect, and look at the verdict. Then ask for more: `--sweep` does it.
- Compare corrected latencies, at the same rate. A p99 at 5,000/s says nothing of one at 6,000/s.
- `--warmup` leaves out the first seconds: caches, and congestion windows, are cold. Losses in them
  count.
- Have enough messages: for p99.9 at least 10,000, ten times as many as the percentile needs.
- A short run has seen no garbage collection, no scrub, no reload. Run it longer than their period.
- Fixed arrivals are the kindest. `--arrivals poisson` sends as independent users do, in bursts.
- Sizes matter: `--size 64-16k` spreads them evenly.
- Without `--rate` a note says that the generator used a whole core: the server may be faster.
- A generator on the server's own machine takes its processor away, and measures no path.
- `send lag` says how late messages left. What of it is the generator's own is in the verdict; the
  rest is a peer that took no data, and belongs into the latency.
- Messages are sent once each connection was tried. Where no more could be opened for the time of
  `--timeout`, they are sent on those that are open, and the others are tried meanwhile.
- A connection that was closed and opened again is an error with a cause, and is counted. Where
  connections are to be short, `--lifetime` replaces them without loss. Without `--rate`,
  one that is not answered for twice the `--grace` is an error, too, and is replaced.

A path that changes a byte of each connection looks like this:

<!-- run damaged -->
<!-- end -->

`echosvc check` says what such a path does, and why: [check.md](check.md).

## The highest rate

`--sweep LOW-HIGH --slo 'p99<50ms'` doubles the rate until the objective is broken or anything is
lost, and then bisects between the two rates. It stops at the first run that is INVALID, and says
so. The result is that of the highest rate that kept the objective.

<!-- run sweep -->
<!-- end -->

## Several machines

Each machine gets the same options and `--seed`, and its part of the run by `--shard`. `--start-at`
makes them begin at the same time. `echosvc merge` adds the results exactly: counters and histograms
are added, and seconds are aligned by Unix time. So a percentile is the one of all messages, and no
mean of percentiles.

<!-- run merge -->
<!-- end -->

`merge` refuses results of different endpoints, options or versions, and shards that overlap, and
says which file it is. One part that is INVALID makes all of it INVALID. It reads JSON, JSON lines,
and standard input (`-`); what it writes can be merged again.

## Two runs side by side

`--compare A.json B.json` runs nothing. `--fail-if` makes the exit status 1 where a condition holds;
it may be repeated. It is 3 where one of the runs is INVALID.

<!-- run compare -->
<!-- end -->

A condition is a figure, `>` or `<`, and a bound: `p99>+10%` and `rate<-5%` are changes from A to B,
`p99>+2ms` is a change, too, and `p99>5ms` or `lost>0` is about B alone. Figures are `p50`, `p90`,
`p99`, `p99.9`, `p99.99` and `max` of the corrected latency; the same of `uncorrected`, `send-lag`,
`connect` and `first-byte`, as in `connect.p99`; `rate`, `bytes-rate`, `errors`, and the counts of
messages.

## What is written

- `--json`: one object of JSON in one line and nothing else, so that several are JSON lines.
- `--report FILE`: one HTML page with the figures and pictures. It loads nothing, needs no
  JavaScript, and has at most 100 KiB: a long run is thinned. Each picture has its table.
- `--hdr FILE`: the log of HdrHistogram, version 1.2: one interval for the whole run with the tag
  `corrected`, and one with `uncorrected`.
  Values are in µs; the tools of HdrHistogram read and plot it.
- `--junit FILE`: JUnit XML for CI systems. FAIL is a failure; INVALID is an error, since it was not
  found out whether the path is good.

| key of the JSON | what it is |
| --- | --- |
{keys}

## From Python

```python
from echosvc import load

result = await load("tcp:lb.example:9000", rate=200, duration=10)
print(result.verdict, result.tally.corrected.summary())
```

`load_async` does the same in a coroutine of asyncio.
"""

#: The verdicts: each with its exit status and what it means.
VERDICTS = {
    "OK": "0 | every message was answered: once, intact, in order, within `--grace`",
    "FAIL": "1 | the path or the peer failed: a message was lost, doubled, out of order, damaged or"
    " not answered in time, a connection was refused, broken or ended early, or messages were due"
    " while the peer took or answered nothing",
    "INVALID": "3 | this generator was the bottleneck: what it measured is itself. Its figures mean"
    " nothing",
}
#: The other figures of the text.
COUNTS = {
    "rate": "messages that were answered a second, without the warm-up; a backlog that is answered "
    "after the last message was sent takes its time, too",
    "received": "bytes that came a second, with prefixes and framing, over the whole run",
    "sent": "messages that were sent; each is answered, lost, damaged or given up",
    "answered": "the whole reply came, intact",
    "lost": "the reply did not come, though a later one did, or the connection ended",
    "duplicated": "replies, or pieces of them, that came once more",
    "reordered": "answered after a later message",
    "damaged": "what came was not the reply that was due",
    "late": "answered later than `--grace` after it was sent",
    "given up": "in flight when this side ended the run, by Ctrl-C or `--grace 0`",
    "errors": "connections that failed or could not be opened, by cause: refused, reset, fin (the"
    " peer ended it before its time), timeout, mismatch (a wrong byte came on it) …",
}
#: The keys of the document, each with what it is.
KEYS = {
    "schema": "the version of the format: 1",
    "endpoint": "the server, as it was given",
    "options": "what else was asked for, without seed and shard",
    "verdict": "`OK`, `FAIL` or `INVALID`",
    "why": "its reasons, in one line",
    "seconds": "how long messages were sent",
    "messages": "`sent`, `answered`, `lost`, `duplicated`, `reordered`, `damaged`, `late`",
    "messages_per_second": "the rate",
    "bytes_per_second": "received",
    "latency_us": "`corrected` and `uncorrected`, each with `p50`, `p90`, `p99`, `p999`, `p9999`"
    " and `max`, µs",
    "connect_us": "the same of the time that connections took to open",
    "first_byte_us": "the same of the time to the first byte",
    "send_lag_us": "the same of the send lag",
    "errors": "connections that failed: `refused`, `reset`, `fin`, `timeout`, `mismatch`, and"
    " others where they occurred",
    "servers": "how many connections each server answered, by its prefix without the numbers that"
    " stand alone: where it was detected, or given with fields",
    "series": "each second: `time` (Unix), `sent`, `answered`, `wrong` messages, `failed`"
    " connections, `p50_us`, `p99_us` and `max_us` of the corrected latency",
    "ok": "whether the verdict is OK, and the run was not interrupted",
    "result": "everything that an exact merge needs",
    "sweep": "of a sweep only: `objective`, `why`, `best_rate`, `complete`, and its `steps`,"
    " each with `rate`, `latency_us`, `kept`, `verdict` and `why`",
}
#: The picture of the page, beside the document.
PICTURE = "load.png"
_PICTURE = (
    f"![The report of this run: its verdict, throughput, latency and errors over time]({PICTURE})"
)


def words() -> str:
    """The document without what commands printed."""
    parts = {
        "verdicts": _rows(VERDICTS.items()),
        "distributions": _rows((name.replace("-", " "), text) for name, _, text in DISTRIBUTIONS),
        "counts": _rows(COUNTS.items()),
        "keys": _rows((f"`{name}`", text) for name, text in KEYS.items()),
        "picture": _PICTURE,
        "max_send_lag": f"{MAX_SEND_LAG * 1e3:g} ms",
        "max_cpu_wait": f"{MAX_CPU_WAIT:.0%}",
    }
    return re.sub(r"\{(\w+)\}", lambda part: parts[part[1]], _WORDS)


def _rows(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"| {name} | {text} |" for name, text in pairs)


def outputs(page: str) -> dict[str, str]:
    """What commands printed, by the name of the run."""
    return dict(_OUTPUT.findall(page))


def with_outputs(page: str, find: Callable[[str], str]) -> str:
    """The page with what each run printed."""
    return _OUTPUT.sub(lambda part: f"<!-- run {part[1]} -->\n{find(part[1])}<!-- end -->\n", page)


def write(page: str, printed: Mapping[str, str]) -> str:
    """The document: the words anew, and of each run what it printed now or before."""
    before = outputs(page)
    return with_outputs(words(), lambda name: printed.get(name) or before.get(name, ""))
