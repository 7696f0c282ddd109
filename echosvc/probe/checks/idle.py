"""Probe of idle connections: whether they survive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter

from echosvc._text import format_duration
from echosvc.probe.causes.lifetime import IDLE_ADVICE, EndedTogether
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.endings import Ending, tolerance
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path, gather
from echosvc.probe.engine.watch import BusyConnection, open_beside, rest, use_again, watch_lives
from echosvc.probe.settings import CheckSettings

#: Only this part of a known limit of life is asked for.
_PART_OF_LIFETIME = 0.9
#: So many connections are left to other probes, at least, if this one is asked beside them.
_ROOM = 4
#: A busy connection must live so much longer than those that rested: seconds at least; a part of
#: their age, as limits of life may vary at random; seconds at most.
_AFTERWARDS, _MORE_PART, _MORE_SECONDS = 0.3, 0.5, 5.0
#: Up to this age, seconds, several are watched then, for so many times as long.
_MOST_AGAIN, _LIVES = 10.0, 2.0


async def idle_beside(path: Path) -> Finding:
    """Check the same beside other probes, if the times are short.

    :raises Failed: something is wrong with the connections, or with the path at this time.
    :raises Skipped: it would take too long, or too many connections.
    """
    settings = path.settings
    many = len(settings.idle) > settings.connections - _ROOM
    if many or max(settings.idle, default=0.0) > settings.timeout:
        raise Skipped("it is asked in its turn")
    trial = _Trial()
    connections = await gather([open_beside(path) for _ in settings.idle])
    await trial.run_all(path, connections, settings.idle)
    if trial.died:
        raise trial.failure()
    survived = max(trial.survived, default=0.0)
    path.context.knowledge.idle_end = "silence", survived  # other probes need not wait for it
    return trial.success(settings)


@probe(
    "idle",
    order=150,
    summary="idle connections survive --idle seconds",
    min_duration=lambda settings: 2 * sum(settings.idle),
    duration=lambda settings: max(settings.idle, default=0.0),
    beside=idle_beside,
)
async def idle(path: Path) -> Finding:
    """Check that connections survive the idle times that were asked for."""
    times = _possible_times(path)
    trial = _Trial()
    all_at_once = path.allowed(len(times) + 1) > len(times)
    if not all_at_once or not await _try_at_once(path, times, trial):
        path.close()  # a limit of connections may be the reason: with one it can be asked, too
        await _try_one_by_one(path, times, trial)
    if trial.died:
        await _ask_again(path, trial)
        raise trial.failure()
    return trial.success(path.settings)


async def _ask_again(path: Path, trial: _Trial) -> None:
    """Watch several busy connections, where one outlived those that rested: it may be by chance.

    Limits of life may vary from connection to connection.
    """
    age = max((each.age for each in trial.endings), default=0.0)
    if 0 < age <= _MOST_AGAIN and path.is_unlimited and not trial.busy_ended:
        path.close()
        with suppress(Failed):  # what was found before holds
            trial.endings += await watch_lives(path, _LIVES * age)


def _possible_times(path: Path) -> tuple[float, ...]:
    """Return the idle times that were asked for, without those that no connection reaches.

    :raises Skipped: none is left.
    """
    lifetime = path.context.knowledge.lifetime
    times = path.settings.idle
    if lifetime:
        times = tuple(each for each in times if each < _PART_OF_LIFETIME * lifetime)
        if not times:
            why = f"see lifetime: connections live {format_duration(lifetime)} at most"
            raise Skipped(why, see="lifetime")
    return times


def _describe_survival(settings: CheckSettings, survived: Sequence[float]) -> str:
    words = f"survived {_list_times(survived)}"
    left = [each for each in settings.idle if each not in survived]
    if left:
        return f"{words}; not {_list_times(left)}: see lifetime"
    if settings.idle == CheckSettings.idle:
        return f"{words}; longer times: --idle 30,300, or --find-idle 600"
    return words


def _list_times(times: Sequence[float]) -> str:
    return ", ".join(f"{seconds:g} s" for seconds in times) or "none"


class _Trial:
    """What became of the connections that rested.

    :ivar survived: the idle times that were survived.
    :ivar died: the others, and how the connection ended.
    :ivar endings: of the connections whose end was seen when it came, the busy one among them.
    """

    def __init__(self) -> None:
        self.survived: list[float] = []
        self.died: dict[float, str] = {}
        self.endings: list[Ending] = []

    async def run(self, path: Path, connection: ProbeConnection, seconds: float) -> None:
        """Let one connection rest, then use it; note what happens."""
        ending = await rest(connection, seconds)
        if ending is not None:
            self.endings.append(ending)
            self.died[seconds] = f"{ending.reason} after {format_duration(ending.idle)}"
            return
        reason = await use_again(path, connection)
        if not reason:
            self.survived.append(seconds)
        elif reason == "silence":
            self.died[seconds] = "silence: what was sent then was not answered"
        else:
            self.died[seconds] = f"{reason} when it was used again"

    async def run_all(
        self, path: Path, connections: Sequence[ProbeConnection], times: Sequence[float]
    ) -> None:
        """Let one connection rest for each time."""
        pairs = zip(connections, times, strict=True)
        await gather([self.run(path, connection, seconds) for connection, seconds in pairs])
        self.survived.sort()

    @property
    def busy_ended(self) -> bool:
        """Whether a busy connection ended, too."""
        return any(each.busy for each in self.endings)

    async def compare(self, busy: BusyConnection) -> None:
        """Note how the busy connection ended, if it did not outlive the others."""
        if not self.died:
            return
        moment = max((each.ended for each in self.endings), default=perf_counter())
        age = max((each.age for each in self.endings), default=0.0)
        longer = max(_AFTERWARDS, min(_MORE_PART * age, _MORE_SECONDS))
        if not await busy.outlives(moment + longer) and busy.ending is not None:
            self.endings.append(busy.ending)

    def success(self, settings: CheckSettings) -> Finding:
        """Return what was survived."""
        return Finding(
            _describe_survival(settings, self.survived), facts={"survived": self.survived}
        )

    def failure(self) -> Failed:
        """Return what is wrong."""
        died = "; ".join(f"{seconds:g} s: {self.died[seconds]}" for seconds in sorted(self.died))
        finding = f"survived {_list_times(self.survived)}; not {died}"
        facts = {"survived": self.survived}
        busy = next((each for each in self.endings if each.busy), None)
        if busy is not None:
            age = format_duration(busy.age)
            finding += f"; a busy connection ended, too: {busy.reason} after {age}"
            return EndedTogether(finding, self.endings, facts)
        failed = Failed(finding, IDLE_ADVICE, facts=facts)
        failed.age = 0.0  # a busy one has outlived it
        return failed


async def _try_at_once(path: Path, times: Sequence[float], trial: _Trial) -> bool:
    """Let one connection rest for each time, beside a busy one that was opened before.

    :return: whether so many connections could be opened.
    """
    busy = BusyConnection(path, await path.open())
    try:
        try:
            connections = await gather([open_beside(path) for _ in times])
        except Failed:
            return False
        await trial.run_all(path, connections, times)
        await trial.compare(busy)
    finally:
        busy.close()
    return True


async def _try_one_by_one(path: Path, times: Sequence[float], trial: _Trial) -> None:
    """Do the same with one connection at a time, the longest time first."""
    for seconds in sorted(times, reverse=True):
        await trial.run(path, await path.open(), seconds)
        path.close()
        if trial.survived:
            break
    trial.survived = sorted(each for each in times if each not in trial.died)
    if trial.died:
        await _compare_alone(path, trial)


async def _compare_alone(path: Path, trial: _Trial) -> None:
    """Note how a busy connection ends that is opened now."""
    age = max((each.age for each in trial.endings), default=max(trial.died))
    busy = BusyConnection(path, await path.open())
    try:
        ending = await busy.watch(age + tolerance(age))
    finally:
        busy.close()
    if ending is not None:
        trial.endings.append(ending)
