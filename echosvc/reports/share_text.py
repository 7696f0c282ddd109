"""The shares of servers as text: a line for each server, and one for all. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from echosvc._text import escaped, format_duration, plural, printable
from echosvc.probe.share.result import (
    OTHERS,
    FailureCount,
    ServerShare,
    ShareChange,
    ShareResult,
    ShareVerdict,
    ShareWindow,
)

#: Longest name that is shown, characters.
_LONGEST = 40
#: Servers, and changes, that have a line.
_LINES = 40
#: Servers of a window, and of a change, that are shown.
_SHOWN = 6
#: What stands for a server whose answers have no name.
_NAMELESS = "(no name)"
_WORDS: dict[ShareVerdict, str] = {
    "pass": "PASS",
    "fail": "FAIL",
    "undecided": "UNDECIDED",
    "none": "",
}
_ADVICE = (
    "the answers have no prefix, so they do not say who answers: give each server one, or --dialect"
)


def share_lines(result: ShareResult) -> str:
    """Return everything that was found."""
    return "".join(f"{line}\n" for line in _lines(result))


def _lines(result: ShareResult) -> Iterator[str]:
    yield from _windows(result.windows)
    yield from (_change_line(change) for change in result.changes[:_LINES])
    if len(result.changes) > _LINES:
        yield f"and {len(result.changes) - _LINES} more changes"
    width = max([6, *(len(_name(each.name)) for each in result.shares[:_LINES])])
    failures = list(_failure_lines(result.failures, result.connections, width))
    if result.basis < result.connections:
        yield from failures
        yield _since_last_change(result)
    yield from (_share_line(each, width) for each in result.shares[:_LINES])
    if len(result.shares) > _LINES:
        yield f"and {len(result.shares) - _LINES} more"
    if result.basis == result.connections:
        yield from failures
    if any(not each.name and each.count for each in result.shares):
        yield f"({_ADVICE})"
    yield summary(result)


def _since_last_change(result: ShareResult) -> str:
    """Return the line above shares that are not of all connections."""
    answered = sum(each.count for each in result.shares if each.name != OTHERS)
    count, failed = plural(result.basis, "connection"), result.basis - answered
    more = f", of which {failed} failed" if failed else ""
    return f"since the last change, {count}{more}:"


def _name(name: str) -> str:
    """Return a name as it is shown."""
    shown = printable(name) or _NAMELESS
    return shown if len(shown) <= _LONGEST else escaped(name, _LONGEST)


def _share_line(share: ServerShare, width: int) -> str:
    numbers = f"{share.count:>8}  {_percent(share.share):>7}"
    interval = f"{100 * share.low:.1f} to {100 * share.high:.1f} %"
    line = f"{_name(share.name):<{width}}{numbers}  {interval:<16}"
    if share.expected:
        line += f"  expected {share.expected}: {share.verdict}"
    return line.rstrip()


def _failure_lines(failures: Sequence[FailureCount], connections: int, width: int) -> Iterator[str]:
    """Yield how many connections failed, and each cause with an example."""
    count = sum(each.count for each in failures)
    if not count:
        return
    yield f"{'failed':<{width}}{count:>8}  {_percent(count / connections):>7}"
    for each in failures:
        yield f"  {each.cause} {each.count}: {printable(each.example)}"


def _windows(windows: Sequence[ShareWindow]) -> Iterator[str]:
    for each in windows:
        end = each.start + each.seconds
        where = f"{each.start:.1f} to {end:.1f} s"
        yield f"{where:<18}{plural(each.total, 'connection'):>18}  {split(each)}"


def _change_line(change: ShareChange) -> str:
    day, _, time = change.at.partition("T")
    earliest, latest = change.earliest.partition("T")[2], change.latest.partition("T")[2]
    when = f"{day} {time} (between {earliest} and {latest}, {change.seconds:.1f} s)"
    return f"change at {when}: from {split(change.before)} to {split(change.after)}"


def split(window: ShareWindow) -> str:
    """Return the shares in a window, the largest first; failures are one, too."""
    counts = sorted(window.counts.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{_name(name)} {_percent(n / window.total)}" for name, n in counts[:_SHOWN]]
    if len(counts) > _SHOWN:
        shown.append(f"{len(counts) - _SHOWN} more")
    if window.failed:
        shown.append(f"failed {_percent(window.failed / window.total)}")
    return ", ".join(shown) or "nothing"


def summary(result: ShareResult) -> str:
    """Return the last line: the endpoint, the verdict, and how sure it is."""
    word = _WORDS[result.verdict]
    count, took = plural(result.connections, "connection"), format_duration(result.seconds)
    parts = [f"{word}: {printable(result.why)}"] if word else []
    if result.interrupted:
        parts.insert(0, "interrupted" if word else f"interrupted after {count}")
    servers = plural(sum(each.count > 0 for each in result.shares), "server")
    if not parts:
        parts.append(count)
    parts.append(f"{took}, {servers}, {result.failed} failed")
    return f"{printable(result.endpoint)}: {'; '.join(parts)}; error {result.error:g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
