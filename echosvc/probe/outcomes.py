"""What becomes of a probe, as a result: it passes, fails, is skipped, or a cause is reported."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.registry import Cause
from echosvc.probe.engine.findings import Failed, Finding
from echosvc.probe.result import ProbeResult, Result


def success(name: str, finding: Finding, seconds: float = 0.0) -> ProbeResult:
    """Return that nothing is wrong."""
    result: Result = "info" if finding.info else "pass"
    return ProbeResult(name, result, finding.text, seconds, facts=finding.facts)


def skip(name: str, why: str, see: str = "") -> ProbeResult:
    """Return that a probe is skipped, why, and the name of the result that explains it."""
    return ProbeResult(name, "skip", why, 0.0, facts={"see": see} if see else {})


def failure(name: str, failed: Failed) -> ProbeResult:
    """Return that a probe has failed for its own subject."""
    return ProbeResult(name, "fail", failed.finding, 0.0, failed.cause, failure_facts(failed))


def cause_result(cause: Cause, seconds: float, passed: bool = False) -> ProbeResult:
    """Return a cause as a result.

    :param passed: the probe of that name has passed.
    """
    but = "; another connection had passed" if passed else ""
    finding = f"{cause.finding}{but}"
    result: Result = "info" if cause.info else "fail"
    return ProbeResult(cause.name, result, finding, seconds, cause.advice, cause.facts)


def failure_facts(failed: Failed) -> dict[str, Any]:
    """Return the figures of a failure, those of the damaged stream included."""
    fault = failed.fault
    if fault is None:
        return failed.facts
    return {
        "fault": fault.kind.value,
        "offset": fault.offset,
        "length": fault.length,
        "faults": fault.count,
        "explained": fault.explained,
        "before": fault.before.hex(),
        "expected": fault.expected.hex(),
        "seen": fault.seen.hex(),
        **failed.facts,
    }
