"""``docs/performance.md``: made from the results of one run, never typed."""

from __future__ import annotations

from benchmarks.profiling import IDLE, IDLE_SECONDS, Profile, Shares
from benchmarks.quiet import DISTURBED
from benchmarks.results import Results
from benchmarks.table import HEAD, VERDICTS, as_markdown, as_text, notes, number, rows, verdict_rows
from benchmarks.targets import Verdict

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

The same echo with the prefix `Sending: `, by servers in their usual form, on loopback, one process
each: the least that it costs in C, and in Python (a loop without any feature, for one workload);
this service on its lean reactor and on Twisted's default one with `--log quiet`, and as people run
it, with no option at all and the log in a file ("all defaults"); also with idle connections closed,
keep-alive, lifetimes, networks and a limit for each client ("guarded"; the limits that are on by
default are so in all rows); asyncio and uvloop; Node's `net` and `tls`, also logging every message;
and Twisted's own `Echo`. The C server has several loops and read sizes: each workload is tried
with all of them, and the cheapest takes part. They run at the same time and are
measured in turn, several rounds. The cost is the least of the rounds, everything else their median:
the machine has a state that comes and goes, in which the kernel takes a quarter more for every
message of every server, so that a median would compare one server in one state with one in the
other. The JSON file has the medians, too. A measurement during which
others had more than {disturbed:.0%} of the processor is repeated, while there is time: other
programs, or other virtual machines, which are seen by short loops beside server and client whose
speed is known. Of all the rounds the least disturbed count, whatever they say.

**Cost** is the processor time that the server's process used, in user space and in the kernel,
divided by the messages. It is what the ranking is by: a rate depends on the client too. The client
is a program in C that compares every byte that comes back with what it sent; a run with one wrong,
missing or additional byte is refused. It runs on one processor and the servers on the others.

- *64 B x 64*: 64 connections, each sending 64 bytes and waiting for the reply.
- *stream*: one connection; 1 GiB sent as fast as it goes, read and compared meanwhile. Twisted's
  own `Echo` is sent its FIN after the last byte is back, since it would lose what is on its way.
- *stream, two threads*: one connection of blocking calls; one thread sends 64 KiB at a time, the
  other one receives up to 1 MiB and compares. 1 GiB, as fast as it goes.
- *one-message connections*: connect, one message of 64 B, half-close, wait for the end; 32 at once.
- *beside 10,000 idle*: those have sent one message each, and nothing more for a second, which is
  longer than the time-out of those servers that have one. What it costs to note that a connection
  has become idle, once, is before that, and not in the figure.
- *idle connections*: resident memory with all connections open less that with none, each after one
  message. A few others have exchanged messages before, for a tenth of a second; where these left
  garbage, the connections fill its room. *Nothing before*: but for a few with one message each.
  Some settings have a connection remember more: "limits" has keep-alive, a limit for each client
  and a time-out that closes idle ones.
- *start to listening*: from the start of the process until it accepts.
"""

_TRIED = """\
## What was tried, and what the targets run into

Where a target is not met, most of the cost is the kernel's, which every server pays: the profile
above says how much. "Python (floor)" is a loop of epoll, recv_into and send in Python with no
feature at all, not even back-pressure; a server in Python cannot cost less.

What made it short:

- Sending at once in place of the transport's queue, which costs two epoll_ctl and one more
  dispatch a message: most of the difference between plain Twisted and echosvc.
- All connections of a listener are one descriptor to the reactor (an epoll descriptor can be
  watched by another), so that its main loop and its log context are paid once for all that are
  ready: 7.7 -> 5.7 µs a message of 64 B at 64 connections on the default reactor. With one
  connection there is nobody to share with, and one more system call.
- One read is one message, with a constant prefix, so no framer and no batch: 1.3 µs. A stream
  that has nothing to wait for reads, answers and sends in one function, not three: 0.1 µs.
- All connections read to one buffer, behind the prefix, and the reply is a view of it: nothing is
  allocated for the most that may come and given back, and nothing is joined: 0.2 µs.
- That bytes came is seen by the count of them, at the next look at the clock's deadlines; no
  message asks for the time: 0.07 µs.
- Stream: reads of 120 KiB, whose replies fit two segments of the loopback device with the prefix;
  those of 64 KiB left a few bytes over, which went alone, at the price of a whole segment: 0.6 of
  the cost.
- Stream: a turn of Twisted's main loop costs 8 µs. The descriptor that all connections are behind
  asks them again, up to 16 times a turn, after a read that was full: 0.8 of the cost. The slower a
  server is, the more it pays for the kernel, too: its peers sleep, and its calls wake them.
- Connections: a transport that composes no strings for a log, asks for no interface twice and
  closes in one call of the kernel; at the client's FIN an answered connection closes in the same
  turn: 47 -> 37 µs. Python's own kind of socket is left out, and every step is there once: 0.95 of
  the cost before that.
- Memory: a connection is in two registers, not in four, and knows itself which events it waits for;
  the text of an address is kept once for all who come from there; its socket is the C part of
  Python's: 1,411 -> 1,096 bytes.
- Idle connections are looked at ten times in their time-out, not every second: to look at one that
  was not used for a while takes 0.5 to 3 µs, since it is in no cache: 3 -> 0.1 % of a processor.

What did not help: smaller reads for small messages (no difference from 512 bytes on); os.read,
os.readv, os.write and io.FileIO in place of recv_into and send (what CPython saves with their
arguments the kernel needs for read and write on a socket); edge-triggered events (5.35 for 5.30
µs); all reads of a turn before all of its writes (4 % more); a clock read once for a batch (0.05
µs, at the price of idle reports that may be early); to read from a new connection before it is
registered for events, which would save that where its message and its end are there (no gain).

What is left: some percent between "Python (floor)" and echosvc: one call a message, two counters,
and the looks at whether anything waits. Three quarters of a message are the kernel's send, which on
loopback delivers to the client's socket and wakes the client; the ratio to other servers changes by
some percent from run to run. Of a connection of one message, C needs all but 6 or 7 µs; these are
Python's, for some 90 calls, the reactor's own included.

- TLS: pyOpenSSL's conversions take about 5 µs a message, more than OpenSSL itself. Of its calls,
  the second one that only learns that there is nothing more is left out, and the buffer for the
  ciphertext is no larger than needed (together 4 µs).
"""


_MEMORY_WORDS = """\
What Python was asked for, by the line that asked, with 10,000 idle connections (tracemalloc).
Resident memory is more: blocks are rounded up to 16 bytes and the tables of sets and
dictionaries grow in leaps.

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
        _INTRODUCTION.format(command=command, minutes=minutes, disturbed=DISTURBED),
        f"## The machine\n\n{_machine(results)}",
        f"## Results\n\n{as_markdown(HEAD, rows(results))}",
        "".join(f"- {note}\n" for note in notes(results)),
        f"## Targets\n\n{as_markdown(VERDICTS, verdict_rows(verdicts), (0, 3))}",
    ]
    if profile is not None:
        parts += [_profile_part(profile), _TRIED]
    return "\n".join(part for part in parts if part)
