"""All probes of a path, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, TypedDict

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from echosvc._text import format_bytes, format_duration
from echosvc.endpoints.client import ClientTarget
from echosvc.net.errors import describe_error
from echosvc.probe import outcomes
from echosvc.probe.arguments import global_reactor, read_endpoint, read_prefix
from echosvc.probe.background import BackgroundProbes
from echosvc.probe.causes.damage import NAME as STREAM
from echosvc.probe.causes.damage import stall_of
from echosvc.probe.causes.registry import Cause, CauseTable, internal_error, load_causes
from echosvc.probe.checks.registry import Probe
from echosvc.probe.engine.damage import Damage
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import CONNECTION_ERRORS, Path
from echosvc.probe.result import CheckResult, ProbeResult, Result
from echosvc.probe.settings import CheckSettings
from echosvc.probe.validation import PROBES, SettingsError, selected, validate
from echosvc.tls.alerts import alert_advice

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11


#: What makes several probes fail.
CAUSES = load_causes()
#: A path that carries fewer bytes a second is broken, not slow.
MIN_RATE = 100
#: What has found out already that streams are not carried whole.
_STREAM_PROBES = ("bytes", "sizes", "order", "text", "back-pressure")
#: As many connections a probe opens at most, but for those that --connections asks for.
MANY_CONNECTIONS = 100
#: How often a probe is run at most where each time another cause makes it fail.
MAX_RUNS = 3


class Check:
    """Runs all probes of one path; the results so far can be read at any time.

    :param reactor: what to run on.
    :param target: the server.
    :param endpoint: its name in the result.
    :param on_start: called with the name of each probe when it begins.
    :param on_result: called with each result.
    :param probes: in their order.
    :param causes: that are looked for where a probe fails.
    """

    def __init__(
        self,
        reactor: Any,
        target: ClientTarget,
        settings: CheckSettings,
        endpoint: str,
        on_start: Callable[[str], object] = lambda _: None,
        on_result: Callable[[ProbeResult], object] = lambda _: None,
        *,
        probes: Sequence[Probe] = PROBES,
        causes: CauseTable = CAUSES,
    ) -> None:
        validate(settings)
        self._path = Path(reactor, target, settings)
        self._settings = settings
        self._endpoint = endpoint
        self._probes, self._causes = probes, causes
        self._on_start, self._on_result = on_start, on_result
        self._background = BackgroundProbes(self._path)
        self._results: list[ProbeResult] = []
        self._reported: set[str] = set()
        self._kinds: set[tuple[str, str]] = set()  # of the causes that were reported
        self._renamed: dict[str, str] = {}  # causes that were reported as the subject of a probe
        self._failed = False  # the last probe
        self._skip_reason = ""  # why all else is skipped
        self._see = ""  # the result that explains why all else is skipped
        self._complete = False

    def result(self) -> CheckResult:
        """Return the results so far."""
        return CheckResult(self._endpoint, tuple(self._results), not self._complete)

    async def run(self) -> CheckResult:
        """Run all selected probes, and before them those that the others require."""
        wanted = selected(self._settings, self._probes)
        needed = {name for each in wanted for name in (each.name, *each.needs)}
        try:
            for probe in [each for each in self._probes if each.requirement or each.name in needed]:
                if probe.name not in self._reported:
                    self._begin_beside(probe, wanted)
                    await self._judge(probe, probe in wanted)
        finally:
            self._background.stop()
        self._complete = True
        return self.result()

    def _begin_beside(self, probe: Probe, wanted: Sequence[Probe]) -> None:
        """Begin what can be asked beside ``probe`` and those that follow it.

        Only once several connections were open at once, and nothing was wrong with them.
        """
        asked = any(each.name == "identity" and each.result != "fail" for each in self._results)
        if asked and not self._skip_reason and probe.beside is None and self._path.is_unlimited:
            self._background.start([each for each in wanted if each.order > probe.order])

    async def _judge(self, probe: Probe, wanted: bool) -> None:
        """Run a probe, or skip it, and report its result.

        One that was not asked for is reported only if others require it, and it has failed.
        """
        self._on_start(probe.name)
        await self._path.wait_for_backlog(self._failed)
        reason = self._skip_reason
        result = (
            outcomes.skip(probe.name, reason, self._see) if reason else await self._run_probe(probe)
        )
        self._failed = result.result == "fail"
        if self._failed and not self._skip_reason:
            self._skip_reason, self._see = probe.requirement, probe.name
        if wanted or (self._failed and probe.requirement):
            self._report(result)

    def _results_of(self, name: str) -> set[Result]:
        return {each.result for each in self._results if each.name == name}

    def _report(self, result: ProbeResult) -> None:
        self._reported.add(result.name)
        self._results.append(result)
        self._on_result(result)

    async def _run_probe(self, probe: Probe) -> ProbeResult:
        """Run a probe; report a cause that is not its subject, and run it again without that."""
        early = await self._background.finding(probe.name)
        if early is not None:
            return outcomes.success(probe.name, early.finding, early.seconds)
        began = monotonic()
        for _ in range(MAX_RUNS):
            self._path.begin_probe()
            try:
                outcome, cause = await self._outcome(probe)
            finally:
                self._path.close()
            result, again = self._conclude(probe, outcome, cause, monotonic() - began)
            if not again:
                break
        lost = self._path.retransmits
        facts = {"retransmits": lost, **result.facts} if lost else result.facts
        return replace(result, seconds=monotonic() - began, facts=facts)

    def _conclude(
        self, probe: Probe, outcome: ProbeResult | Failed, cause: Cause | None, seconds: float
    ) -> tuple[ProbeResult, bool]:
        """Return the result of a probe, and whether it is to be run again."""
        if isinstance(outcome, ProbeResult):
            return outcome, False
        if cause is None:
            self._note_damage(probe.name, outcome)
            return outcomes.failure(probe.name, outcome), False
        cause = self._rename(probe, cause)
        if cause.final:
            self._skip_reason, self._see = f"see {cause.name}", cause.name
        if cause.name == probe.name:
            return outcomes.cause_result(cause, 0.0), False
        if not self._is_known(cause):
            self._kinds.add((cause.name, cause.kind))
            passed = "pass" in self._results_of(cause.name)
            self._report(outcomes.cause_result(cause, seconds, passed))
        why = f"see {cause.name}: {outcome.finding}"
        return outcomes.skip(probe.name, why, cause.name), cause.avoidable

    def _is_known(self, cause: Cause) -> bool:
        """Return whether a cause, or a failure of the probe of its name, is reported already."""
        if cause.kind:
            return (cause.name, cause.kind) in self._kinds
        return "fail" in self._results_of(cause.name)

    def _rename(self, probe: Probe, cause: Cause) -> Cause:
        """Return a cause under the name of the probe whose own subject it was found to be."""
        if cause.name in probe.subjects and "fail" not in self._results_of(cause.name):
            self._renamed[cause.name] = probe.name
        return replace(cause, name=self._renamed.get(cause.name, cause.name))

    async def _outcome(self, probe: Probe) -> tuple[ProbeResult | Failed, Cause | None]:
        """Do the same as ``_ask_and_judge``. An error of echosvc ends this probe, not the check."""
        try:
            return await self._ask_and_judge(probe)
        except CancelledError:
            raise
        except Exception as error:
            cause = internal_error(f"the probe {probe.name}", error)
            return Failed("not found out"), cause

    async def _ask_and_judge(self, probe: Probe) -> tuple[ProbeResult | Failed, Cause | None]:
        """Return the outcome of a probe, and the cause of a failure that is not its own.

        Where no cause is known, the control of the failure tells what the failure is about.
        """
        outcome = await self._ask(probe, _run(probe, self._path))
        cause = await self._find_cause(outcome)
        if cause is None and isinstance(outcome, Failed) and outcome.control is not None:
            self._path.close()
            first, outcome = outcome, await self._ask(probe, _compare(outcome.control))
            cause = None if outcome is first else await self._find_cause(outcome)
        return outcome, cause

    async def _ask(
        self, probe: Probe, question: Coroutine[Any, Any, Finding]
    ) -> ProbeResult | Failed:
        limit = self._time_limit(probe)
        asking = Deferred.fromCoroutine(question)
        asking.addTimeout(limit, self._path.reactor)
        try:
            finding: Finding = await asking
        except Failed as failed:
            if failed.age is None:
                self._path.note_end(failed)
            return failed
        except Skipped as skipped:
            return outcomes.skip(probe.name, str(skipped), skipped.see)
        except defer.TimeoutError:
            return self._timed_out(probe, limit)
        except CancelledError:
            raise
        except CONNECTION_ERRORS as error:  # where a probe does not handle it
            name = describe_error(error)
            why = alert_advice(name) or "the server, or a middlebox, ended it"
            return Failed(f"the connection broke: {name}", why)
        except NotImplementedError:
            return outcomes.skip(probe.name, "this transport cannot do that")
        return outcomes.success(probe.name, finding)

    def _time_limit(self, probe: Probe) -> float:
        """Return how long a probe may take, seconds."""
        limit = 6 * self._settings.timeout + probe.min_duration(self._settings)
        return limit + MANY_CONNECTIONS / self._path.pace if self._path.pace else limit

    async def _find_cause(self, outcome: ProbeResult | Failed) -> Cause | None:
        if not isinstance(outcome, Failed):
            return None
        found = await self._causes.find(self._path, outcome)
        return found or (self._other_subject(outcome) if outcome.subject else None)

    def _other_subject(self, failed: Failed) -> Cause:
        """Return the cause of a failure that is not about the probe's own subject.

        It has the name of the result that reports such a failure, if there is one.
        """
        name = self._name_of_alike(failed)
        if not name:
            name = STREAM if failed.subject in self._reported else failed.subject
            self._note_damage(name, failed)
        return Cause(name, failed.finding, failed.cause, outcomes.failure_facts(failed))

    def _name_of_alike(self, failed: Failed) -> str:
        """Return the result that reports a failure of plain streams like this one, or ""."""
        if failed.fault is None:
            names = {probe.name for probe in self._results if probe.result == "fail"}
            return next((each for each in _STREAM_PROBES if each in names), "")
        known = self._path.context.knowledge.damages
        alike = (each.name for each in known if each.is_alike(failed.fault, failed.end))
        return next(alike, "")

    def _note_damage(self, name: str, failed: Failed) -> None:
        """Note the fault of a stream that is reported, unless its bytes are known to be changed."""
        if failed.fault is not None and "changed" not in failed.facts:
            damage = Damage(name, failed.fault, failed.end, stall_of(failed))
            self._path.context.knowledge.damages.append(damage)

    def _timed_out(self, probe: Probe, limit: float) -> ProbeResult:
        came = self._path.context.verified_bytes()
        if came < limit * MIN_RATE:
            now = "though something came now and then" if self._path.came else "nothing came"
            words = f"not done within {format_duration(limit)}, {now}"
            return ProbeResult(probe.name, "fail", words, 0.0, "the peer makes no progress")
        if self._path.silent_for < self._settings.timeout / 2:  # it is slow, and has not stopped
            self._path.limit_sizes(max(1, int(came / limit * self._settings.timeout)))
        rate = format_bytes(int(came / limit))
        words = (
            f"not done within {format_duration(limit)}; {format_bytes(came)} came back as they"
            f" were sent, {rate} a second: more --timeout, or less --max-size"
        )
        return ProbeResult(probe.name, "info", words, 0.0, facts={"bytes": came})


async def _run(probe: Probe, path: Path) -> Finding:
    return await probe.run(path)


async def _compare(control: Callable[[], Awaitable[Failed]]) -> Finding:
    raise await control()


class CheckOptions(TypedDict, total=False):
    """The fields of :class:`~echosvc.probe.settings.CheckSettings` but the prefix, by keyword."""

    framing: str
    only: tuple[str, ...]
    skip: tuple[str, ...]
    idle: tuple[float, ...]
    find_idle: float
    lifetime: float
    connections: int
    pace: float
    timeout: float
    max_size: int
    identity: str | None


async def check(
    endpoint: str | IStreamClientEndpoint,
    *,
    reactor: Any = None,
    prefix: str | bytes | None = None,
    **settings: Unpack[CheckOptions],
) -> CheckResult:
    """Check what a path does to bytes.

    :param endpoint: one of Twisted's, or its string, such as ``tcp:192.0.2.7:8107``.
    :param reactor: what to run on; ``None`` = the global one.
    :param prefix: the server's, a template or bytes; ``None``: it is detected.
    :param settings: the other fields of :class:`~echosvc.probe.settings.CheckSettings`.
    :raises EndpointError: the endpoint cannot be understood.
    :raises SettingsError: settings that make no sense.
    :raises TemplateError: a prefix that is no template.
    :raises RuntimeError: asyncio runs, and no reactor: :func:`~echosvc.check_async` is for that.
    """
    reactor = reactor or global_reactor("check", "check_async")
    template = read_prefix(prefix, SettingsError)
    if unknown := set(settings) - set(CheckOptions.__annotations__):
        known = ", ".join(CheckOptions.__annotations__)
        raise SettingsError(f"there is no setting {min(unknown)!r}; there are {known}")
    asked = CheckSettings(prefix=template, **settings)
    validate(asked)
    target, name = read_endpoint(reactor, endpoint)
    return await Check(reactor, target, asked, name).run()
