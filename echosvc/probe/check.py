"""``echosvc check``: all probes of a path, one after the other."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, TypedDict

from OpenSSL import SSL
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint

from echosvc._text import format_bytes, format_duration
from echosvc.endpoints.client import ClientTarget, client_endpoint
from echosvc.net.errors import TLSError, describe_error
from echosvc.probe.checks.byte_mapping import blamed
from echosvc.probe.checks.registry import Probe, load_probes
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.result import CheckResult, ProbeResult, Result
from echosvc.probe.settings import FRAMINGS, Settings
from echosvc.tls.alerts import alert_advice
from echosvc.wire.template import Template

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11


#: All of them, in their order.
PROBES = load_probes()
NAMES = tuple(probe.name for probe in PROBES)
#: Bytes a second that a path must carry at least, or it is not slow but broken.
SLOWEST = 100
#: What the network, or TLS, ends a connection with.
BROKEN = (OSError, ConnectionClosed, TLSError, SSL.Error)


class SettingsError(ValueError):
    """Settings that make no sense; says which and why in one line."""


def validate(settings: Settings) -> None:
    """Look for what makes no sense.

    :raises SettingsError: there is something.
    """
    rules = itertools.chain(_kinds(settings), _rules(settings))
    fault = next((why for wrong, why in rules if wrong), "")
    if fault:
        raise SettingsError(fault)
    if settings.identity is not None:
        try:
            re.compile(settings.identity)
        except (re.error, OverflowError, RecursionError) as error:
            at = getattr(error, "pos", None)
            where = "" if at is None else f" (at character {at + 1})"
            why = f"is no regular expression{where}"
            raise SettingsError(f"identity: {settings.identity!r} {why}") from None


def _kinds(settings: Settings) -> Iterator[tuple[object, str]]:
    """The same, of values that are no numbers or names at all."""
    for name in ("only", "skip", "idle"):
        value, what = getattr(settings, name), "seconds" if name == "idle" else "probes"
        several = isinstance(value, (tuple, list, set, frozenset))
        yield not several, f"{name} must be a tuple of {what}, not {value!r}"
        right = all(map(_is_number if name == "idle" else _is_text, value))
        yield not right, f"{name} must be a tuple of {what}, not {value!r}"
    for name in ("timeout", "find_idle"):
        value = getattr(settings, name)
        yield not _is_number(value), f"{name} must be a number of seconds, not {value!r}"
    for name in ("connections", "max_size"):
        value, what = getattr(settings, name), "bytes" if name == "max_size" else name
        whole = _is_number(value) and isinstance(value, int)
        yield not whole, f"{name} must be a whole number of {what}, not {value!r}"
    for name in ("framing", "identity"):
        value = getattr(settings, name)
        right = _is_text(value) or (value is None and name == "identity")
        yield not right, f"{name} must be text, not {value!r}"
    given = settings.prefix
    yield not (given is None or isinstance(given, Template)), "prefix must be a template"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _rules(settings: Settings) -> Iterator[tuple[object, str]]:
    """What must not be true, and what is wrong where it is."""
    for name in (*settings.only, *settings.skip):
        yield name not in NAMES, f"there is no probe {name!r}; there are {', '.join(NAMES)}"
    needed = "find-idle" in settings.only and not settings.find_idle
    yield needed, "the probe find-idle needs --find-idle MAX"
    yield not _wanted(settings), "no probe is left"
    known = settings.framing in FRAMINGS
    yield not known, f"framing must be one of {', '.join(FRAMINGS)}"
    yield settings.connections < 1, "connections must be 1 or more"
    yield settings.max_size < 1, "max_size must be 1 byte or more"
    yield not 0 < settings.timeout < math.inf, "timeout must be more than 0 seconds"
    times = (*settings.idle, settings.find_idle or 1.0)
    yield not all(0 < each < math.inf for each in times), "idle times must be more than 0 seconds"


def _wanted(settings: Settings) -> list[Probe]:
    """The probes that are to be made."""
    return [
        probe
        for probe in PROBES
        if (not settings.only or probe.name in settings.only)
        and probe.name not in settings.skip
        and probe.enabled(settings)
    ]


class Check:
    """All probes of one path; what was found so far can be had at any time.

    :param reactor: what to run on.
    :param target: the server.
    :param endpoint: its name in the result.
    :param began: called with the name of each probe that begins.
    :param found: called with each result.
    """

    def __init__(
        self,
        reactor: Any,
        target: ClientTarget,
        settings: Settings,
        endpoint: str,
        began: Callable[[str], object] = lambda _: None,
        found: Callable[[ProbeResult], object] = lambda _: None,
    ) -> None:
        validate(settings)
        self._path = Path(reactor, target, settings)
        self._settings = settings
        self._endpoint = endpoint
        self._began, self._found = began, found
        self._results: list[ProbeResult] = []
        self._over = False

    def result(self) -> CheckResult:
        """What was found so far."""
        return CheckResult(self._endpoint, tuple(self._results), not self._over)

    async def run(self) -> CheckResult:
        """Make all probes that are wanted. What they rest on is asked first."""
        wanted = _wanted(self._settings)
        missing, failed = "", False
        for probe in [each for each in PROBES if each.requirement or each in wanted]:
            self._began(probe.name)
            await self._path.calm_down(failed)
            result = self._skipped(probe, missing) if missing else await self._made(probe)
            failed = result.result == "fail"
            if failed and not missing:
                missing = probe.requirement
            if probe in wanted or failed:
                self._results.append(result)
                self._found(result)
        self._over = True
        return self.result()

    def _skipped(self, probe: Probe, why: str) -> ProbeResult:
        return ProbeResult(probe.name, "skip", why, 0.0)

    async def _made(self, probe: Probe) -> ProbeResult:
        began = monotonic()
        self._path.begin()
        try:
            result = await self._asked(probe)
        finally:
            self._path.close()
        return replace(result, seconds=monotonic() - began)

    async def _asked(self, probe: Probe) -> ProbeResult:
        settings = self._settings
        limit = 6 * settings.timeout + probe.min_duration(settings)
        asking = Deferred.fromCoroutine(_coroutine(probe, self._path))
        asking.addTimeout(limit, self._path.reactor)
        try:
            finding: Finding = await asking
        except Failed as found:
            failed = await self._blamed(found)
            facts = {**_facts(failed), **failed.facts}
            return ProbeResult(probe.name, "fail", failed.finding, 0.0, failed.cause, facts)
        except Skipped as skipped:
            return ProbeResult(probe.name, "skip", str(skipped), 0.0)
        except defer.TimeoutError:
            return self._out_of_time(probe, limit)
        except CancelledError:
            raise
        except BROKEN as error:  # wherever a probe did not ask for its end
            name = describe_error(error)
            why = alert_advice(name) or "the peer, or something between"
            return ProbeResult(probe.name, "fail", f"the connection broke: {name}", 0.0, why)
        except NotImplementedError:
            return ProbeResult(probe.name, "skip", "this transport cannot do that", 0.0)
        result: Result = "info" if finding.info else "pass"
        return ProbeResult(probe.name, result, finding.text, 0.0, facts=finding.facts)

    async def _blamed(self, failed: Failed) -> Failed:
        """Look for a value that the path does not carry, but not for ever."""
        path = self._path
        path.close()
        asking = Deferred.fromCoroutine(blamed(path, failed))
        asking.addTimeout(path.settings.timeout + 2.0, path.reactor)  # it waits for quiet
        try:
            return await asking
        except (defer.TimeoutError, *BROKEN):
            return failed

    def _out_of_time(self, probe: Probe, limit: float) -> ProbeResult:
        came = self._path.context.verified_bytes()
        if came < limit * SLOWEST:
            words = f"not done within {format_duration(limit)}, though something came now and then"
            return ProbeResult(probe.name, "fail", words, 0.0, "the far end does not get on")
        words = (
            f"not done within {format_duration(limit)}; {format_bytes(came)} came back as they"
            f" went, {format_bytes(int(came / limit))} a second: more --timeout, or less --max-size"
        )
        return ProbeResult(probe.name, "info", words, 0.0, facts={"bytes": came})


async def _coroutine(probe: Probe, path: Path) -> Finding:
    return await probe.run(path)


def _facts(failed: Failed) -> dict[str, Any]:
    fault = failed.fault
    if fault is None:
        return {}
    return {
        "fault": fault.kind.value,
        "offset": fault.offset,
        "length": fault.length,
        "before": fault.before.hex(),
        "expected": fault.expected.hex(),
        "seen": fault.seen.hex(),
    }


class Asked(TypedDict, total=False):
    """The fields of :class:`~echosvc.probe.settings.Settings` but the prefix, by keyword."""

    framing: str
    only: tuple[str, ...]
    skip: tuple[str, ...]
    idle: tuple[float, ...]
    find_idle: float
    connections: int
    timeout: float
    max_size: int
    identity: str | None


async def check(
    endpoint: str | IStreamClientEndpoint,
    *,
    reactor: Any = None,
    prefix: str | bytes | None = None,
    **settings: Unpack[Asked],
) -> CheckResult:
    """Ask what a path does to bytes.

    :param endpoint: one of Twisted's, or its string, such as ``tcp:192.0.2.7:8107``.
    :param reactor: what to run on; ``None`` = the global one.
    :param prefix: the server's, a template or bytes; ``None``: it is learned.
    :param settings: the other fields of :class:`~echosvc.probe.settings.Settings`.
    :raises EndpointError: the endpoint cannot be understood.
    :raises SettingsError: settings that make no sense.
    :raises TemplateError: a prefix that is no template.
    :raises RuntimeError: asyncio runs, and no reactor: :func:`~echosvc.check_async` is for that.
    """
    if reactor is None:
        _refuse_asyncio()
        from twisted.internet import reactor
    template = Template.literal(prefix) if isinstance(prefix, bytes) else None
    if isinstance(prefix, str):
        template = Template.parse(prefix)
    elif prefix is not None and template is None:
        raise SettingsError(f"prefix must be text or bytes, not {prefix!r}")
    if unknown := set(settings) - set(Asked.__annotations__):
        known = ", ".join(Asked.__annotations__)
        raise SettingsError(f"there is no setting {min(unknown)!r}; there are {known}")
    asked = Settings(prefix=template, **settings)
    validate(asked)
    if isinstance(endpoint, str):
        target, name = client_endpoint(reactor, endpoint), endpoint
    else:
        name = _name_of(endpoint)
        target = ClientTarget(endpoint, name)
    return await Check(reactor, target, asked, name).run()


def _name_of(endpoint: object) -> str:
    """Its own name where it has one, else what kind it is."""
    kind = type(endpoint)
    return kind.__name__ if kind.__repr__ is object.__repr__ else repr(endpoint)


def _refuse_asyncio() -> None:
    """Fail where asyncio runs, and nobody runs the reactor.

    One on asyncio's own loop has to be run, too: its threads start with it.
    """
    asyncio, reactor = map(sys.modules.get, ("asyncio", "twisted.internet.reactor"))
    if asyncio is None or asyncio._get_running_loop() is None:
        return
    if not getattr(reactor, "running", False):
        raise RuntimeError("check() runs on Twisted's reactor; in asyncio it is check_async()")
