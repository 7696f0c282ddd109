"""Checks to make documents of."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies

from echosvc.probe.result import CheckResult, ProbeResult
from echosvc.reports.check_run import CheckRun

STARTED = datetime(2026, 3, 1, 0, 30, 5, tzinfo=timezone(timedelta(hours=1)))
CONNECTED = ProbeResult("connect", "pass", "to it", 0.25, facts={"connect_seconds": 0.0012})
LOST = ProbeResult("order", "fail", "7 bytes lost", 1.5, "a full queue", {"fault": "lost"})
BYTES = ProbeResult("bytes", "fail", "1 of 256 values changes", 0.5, "a filter")
NEAR = ProbeResult("rtt", "info", "near", 0.1, facts={"servers": {"'a': ": 3}})
NO_TLS = ProbeResult("tls", "skip", "no TLS", 0.0)
#: Any text, such as the repr of bytes never is: control characters and lone surrogates too.
TEXTS = strategies.text(strategies.characters(), max_size=40)
_FACTS = strategies.dictionaries(TEXTS, TEXTS | strategies.integers() | strategies.floats())


def unjudged(name: str, cause: str) -> ProbeResult:
    return ProbeResult(name, "skip", f"see {cause}: 1 byte changed", 0.0, facts={"see": cause})


def run(*probes: ProbeResult, interrupted: bool = False, **values: Any) -> CheckRun:
    """A check with these results."""
    result = CheckResult(values.pop("endpoint", "tcp:lb.example:9000"), probes, interrupted)
    asked = {
        "settings": (("timeout", "10"),),
        "command": "echosvc check lb.example:9000",
        "started": STARTED,
        "seconds": 3723.25,
        "host": "here",
        **values,
    }
    return CheckRun(result, **asked)


def probe_results() -> strategies.SearchStrategy[ProbeResult]:
    """Any result of a probe."""
    return strategies.builds(
        ProbeResult,
        strategies.sampled_from(("bytes", "order", "half-close")),
        strategies.sampled_from(("pass", "fail", "info", "skip")),
        TEXTS,
        strategies.floats(0, 1e6),
        TEXTS,
        _FACTS,
    )
