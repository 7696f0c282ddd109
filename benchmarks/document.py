"""``docs/performance.md``: made from the results of one run, never typed."""

from __future__ import annotations

from benchmarks.profiling import IDLE, IDLE_SECONDS, Profile, Shares
from benchmarks.quiet import DISTURBED
from benchmarks.results import Results
from benchmarks.table import HEAD, VERDICTS, as_markdown, as_text, notes, number, rows, verdict_rows
from benchmarks.targets import Verdict
from benchmarks.workloads import BY_NAME

_PROFILE = ["function", "share", "µs/message"]
_LINES = ["the same by line", "share", "µs/message"]
_MEMORY = ["line", "bytes a connection"]
_INTRODUCTION = """\
# Performance

This file, `performance.json` and `performance.svg` are written by

    {command}

which took {minutes} min. Do not edit them.

![Costs of echo servers, workload by workload](performance.svg)

## What is compared

All servers do the same: they echo with the prefix `Sending: `, in their usual form, on loopback,
in one process each.

- The lowest possible cost: a server in C, and a loop in Python without any feature (for 64 B x 64
  and for streams). The C server has several loops and read sizes. Each workload is tried with all
  of them, and the cheapest takes part. None reads more than 64 KiB at once, as none of the other
  servers does: the reply to a longer read would have fewer prefixes.
- This service on its lean reactor and on Twisted's default one, with `--log quiet`.
- The same with no option and the log in a file ("all defaults"), as people run it.
- The same with idle connections closed, keep-alive, lifetimes, networks and a limit for each
  client ("guarded"). The limits that are on by default are on in all rows.
- asyncio and uvloop; Node's `net` and `tls`, also with a log line for every message; Twisted's own
  `Echo`.

The servers run at the same time and are measured in turn, in several rounds. The cost is the
lowest of the rounds; all other figures are their median. The reason: the machine has a temporary
state in which the kernel needs a quarter more for every message of every server. A median would
compare one server in one state with another server in the other state. The JSON file has the
medians of the cost too.

A stream has {rounds} short rounds, each with a new connection to every server, one right after the
other. Its cost is their median, and a ratio is the median of the ratios within a round. The reason:
what the kernel needs for a stream changes by half from one connection to the next, for as long as
the connection lasts. It depends on the congestion control (with BBR, which paces what it sends,
some connections on loopback cost half as much again; with cubic and reno none) and on what other
programs leave in the caches.

A measurement is repeated, while there is time, if others used more than {disturbed:.0%} of the
processor meanwhile. Others are programs and other virtual machines; short loops of known speed
beside server and client detect them. The least disturbed of all rounds count, whatever their
result.

**Cost** is the processor time of the server's process, in user space and in the kernel, divided by
the number of messages. The ranking is by cost, because a rate depends on the client too. The
client is a program in C that compares every byte that comes back with the byte that it sent. A run
with one wrong, missing or additional byte is rejected. The client runs on one processor and the
servers on the others.

- *64 B x 64*: 64 connections, each of which sends 64 bytes and waits for the reply.
- *stream*: one connection; 256 MiB are sent as fast as possible, and read and compared at the same
  time. Twisted's own `Echo` gets its FIN after the last byte is back, because it would lose bytes
  on their way.
- *stream, two threads*: one connection with blocking calls; one thread sends 64 KiB at a time, the
  other one receives up to 1 MiB and compares. 256 MiB, as fast as possible.
- *one-message connections*: connect, one message of 64 B, half-close, wait for the end; 32 at once.
- *beside 10,000 idle*: 10,000 connections have sent one message each and then nothing for a
  second, which is longer than the idle time-out of the servers that have one. The cost of
  detecting once that a connection has become idle is earlier, and not in the figure.
- *idle connections*: resident memory with all connections open less that with none, after one
  message on each. A few other connections have exchanged messages before, for a tenth of a second;
  the connections reuse the memory that these left. *Nothing before*: only a few connections with
  one message each were there before. With some settings a connection stores more: "limits" has
  keep-alive, a limit for each client and a time-out that closes idle connections.
- *start to listening*: from the start of the process until it accepts.
"""

_TRIED = """\
## What was tried, and what limits the targets

Where a target is not met, most of the cost is that of the kernel, which every server has: the
profile above says how much. "Python (floor)" is a loop of epoll, recv_into and send in Python with
no feature at all, not even back-pressure, and with chunks of 60 KiB as echosvc. A server in Python
cannot cost less.

What reduced the cost:

- Sending at once in place of the transport's queue, which costs two epoll_ctl and one more
  dispatch for each message: most of the difference between plain Twisted and echosvc.
- All connections of a listener are one descriptor for the reactor (nested epoll), so its main loop
  and its log context run once for all connections with events: 7.7 -> 5.7 µs for a message of 64 B
  at 64 connections on the default reactor. With one connection nothing is shared, and there is one
  more system call.
- The fast path: one read is one message with a constant prefix, so no framer and no batch: 1.3 µs.
  A stream with nothing queued reads, answers and sends in one function, not in three: 0.1 µs.
- All connections read into one buffer, behind the prefix, and the reply is a view of it. Nothing
  is allocated and freed for the longest possible read, and nothing is joined: 0.2 µs.
- Activity is detected by the byte count, at the next check of the deadlines. No message reads the
  clock: 0.07 µs.
- Stream: reads of 60 KiB, whose replies fit a segment of the loopback device with the prefix.
  Reads of 64 KiB left a few bytes over, which were sent alone, at the price of a whole segment:
  0.6 of the cost.
- Stream: after a full read the next one follows without an event, up to 16 times, and each is
  answered by a call of its own. An event costs 5 µs, since its code and objects are no longer in
  the processor's caches. Two replies in one call cost the same for one stream, and 1.1 as much with
  two threads.
- Stream: what is read is stored in mid-page. Where the kernel copies to an address that is 1 to 15
  bytes behind that of the source, counted in a page, this processor needs 18 in place of 1.6 µs for
  60 KiB. A stream begins at the start of a page, and so may a buffer that begins with a prefix of 9
  bytes: up to 3.3 of the cost, in C too. The C server avoids it as well.
- Stream: a turn of Twisted's main loop costs 8 µs. The epoll group polls its connections again,
  up to 4 times a turn, after full reads: 0.8 of the cost. A slower server also pays more for the
  kernel: its peers sleep, and its calls wake them.
- Connections: a transport that composes no strings for a log, looks up no interface twice and
  closes with one system call; at the client's FIN an answered connection closes in the same turn:
  47 -> 37 µs. Python's own `socket` class is left out, and every step is there once: 0.95 of the
  cost before that.
- Memory: a connection is in two registers, not in four, and stores which events it waits for; the
  text of an address is stored once for all its clients; its socket is the C class under Python's
  `socket`: 1,411 -> 1,096 bytes. Four attributes that Twisted has in each transport belong to the
  class: 1,082 -> 1,025 bytes.
- Idle connections are checked ten times in their time-out, not every second. To check one that was
  not used for a while takes 0.5 to 3 µs, because it is in no cache: 3 -> 0.1 % of a processor.

What did not help:

- Smaller reads for small messages: no difference from 512 bytes on.
- os.read, os.readv, os.write and io.FileIO in place of recv_into and send: what CPython saves with
  their arguments the kernel needs for read and write on a socket.
- Edge-triggered events: 5.35 in place of 5.30 µs.
- All reads of a turn before all of its writes: 4 % more.
- A clock that is read once for a batch: 0.05 µs, at the price of idle reports that may be early.
- To read from a new connection before it is registered for events, which would save that where its
  message and its end are there: no gain.
- Stream: reads and replies of 240 KiB behind four prefixes: no gain, and with BBR 1.5 of the cost.
- Stream: reads of 48, 56 and 63.9 KiB: no gain that stands out from the scatter. A poll of the
  epoll group also after reads that are large but not full: no gain on the default reactor.

What is left between "Python (floor)" and echosvc is some percent: one call for each message, two
counters, and the tests whether anything is queued. Three quarters of a message are the kernel's
send, which on loopback delivers to the client's socket and wakes the client. The ratio to other
servers changes by some percent from run to run. Of a connection with one message, C needs all but
6 or 7 µs; these are Python's, for some 90 calls, the reactor's own included.

Of a stream, a MiB takes 300 to 400 µs in C, nearly all of them in the kernel: two copies, and
waking the client. It is 18 reads and 18 replies, with two threads 24, since many reads are not
full. Python adds 0.7 to 1.0 µs to each of these calls, so the Python loop without any feature costs
1.1 to 1.2 of the cheapest C loop: a target of 1.1 leaves 0.75 µs for a call. Under `lean`, echosvc
costs 1.0 to 1.1 of the Python loop. On the default reactor, each time that the server has nothing
to read costs a turn of Twisted's main loop more, 8 µs; with two threads that happens 8 times for
each MiB. Reads of 120 KiB would need fewer calls (0.85 to 0.95 of the cost, in C, too), but a
client would see chunks above 64 KiB. While other programs use the processor, Python's part grows:
it is more code, and has to be loaded into the caches again.

On TLS the conversions of pyOpenSSL take about 5 µs a message, more than OpenSSL itself. The second
call that only finds out that there is nothing more is left out, and the buffer for the ciphertext
is no larger than needed (together 4 µs).
"""


_MEMORY_WORDS = """\
The memory that Python requested, by the line that requested it, with 10,000 idle connections
(tracemalloc). Resident memory is more: blocks are rounded up to 16 bytes, and the tables of sets
and dictionaries grow in steps.

"""


def _machine(results: Results) -> str:
    """The machine, a line each."""
    return "".join(f"- {name}: {value}\n" for name, value in results.machine.items())


def _profile_words(profile: Profile) -> str:
    """How a profile was made."""
    return (
        f"{profile.server}, 64 B x 64, by the innermost Python function: what the kernel does in\n"
        "a system call counts for the function that makes it, as do functions of C.\n"
        f"{profile.seconds:.1f} s of processor time; {number(profile.cost)} µs a message"
        f" while it was watched, {profile.kernel:.0%} of it in the kernel.\n\n"
    )


def _profile_cells(profile: Profile, shares: Shares, mark: str) -> list[list[str]]:
    """A row for each function, or line, its name between two marks."""
    return [
        [f"{mark}{name.replace('|', '/')}{mark}", f"{share:.1%}", number(share * profile.cost)]
        for name, share in shares
    ]


def describe(profile: Profile) -> str:
    """A profile in plain text."""
    functions = as_text(_PROFILE, _profile_cells(profile, profile.functions, ""), (0,))
    lines = as_text(_LINES, _profile_cells(profile, profile.lines, ""), (0,))
    memory = as_text(_MEMORY, _memory_cells(profile, ""), (0,))
    return f"{_profile_words(profile)}{functions}\n{lines}\n{memory}\n{_idle_words(profile)}"


def _memory_cells(profile: Profile, mark: str) -> list[list[str]]:
    """A row for each line of source that holds memory, and one for all of them."""
    named = [(f"{mark}{name.replace('|', '/')}{mark}", size) for name, size in profile.memory]
    total = sum(size for _, size in named)
    return [[name, f"{size:.0f}"] for name, size in (*named, ("together", total))]


def _idle_words(profile: Profile) -> str:
    """What idle connections cost."""
    return (
        f"While an idle time-out of {IDLE} s runs for all of them, they cost {profile.idle:.2%} of"
        f" a processor\n(over {IDLE_SECONDS:g} s).\n"
    )


def _profile_part(profile: Profile) -> str:
    """A profile in Markdown, with its heading."""
    functions = as_markdown(_PROFILE, _profile_cells(profile, profile.functions, "`"), (0,))
    lines = as_markdown(_LINES, _profile_cells(profile, profile.lines, "`"), (0,))
    heading = "## Where the remaining microseconds go"
    memory = as_markdown(_MEMORY, _memory_cells(profile, "`"), (0,))
    return (
        f"{heading}\n\n{_profile_words(profile)}{functions}\n{lines}\n"
        f"## What an idle connection holds\n\n{_MEMORY_WORDS}{memory}\n{_idle_words(profile)}"
    )


def write(
    results: Results, verdicts: list[Verdict], profile: Profile | None, seconds: float
) -> str:
    """The whole document.

    :param seconds: how long the run took.
    """
    command = f"python -m benchmarks {results.options}".strip()
    minutes = max(1, round(seconds / 60))
    parts = [
        _INTRODUCTION.format(
            command=command, minutes=minutes, disturbed=DISTURBED, rounds=BY_NAME["bulk"].rounds
        ),
        f"## The machine\n\n{_machine(results)}",
        f"## Results\n\n{as_markdown(HEAD, rows(results))}",
        "".join(f"- {note}\n" for note in notes(results)),
        f"## Targets\n\n{as_markdown(VERDICTS, verdict_rows(verdicts), (0, 3))}",
    ]
    if profile is not None:
        parts += [_profile_part(profile), _TRIED]
    return "\n".join(part for part in parts if part)
