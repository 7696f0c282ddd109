"""``ECHOSVC_EXAMPLES=N``: hypothesis tries N inputs where a test does not say how many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_EXAMPLES = os.environ.get("ECHOSVC_EXAMPLES") or settings.default.max_examples
# How long an input takes says how busy the machine is, not whether the answer is right. Said
# here and not in a conftest.py, since trial does not read that.
settings.register_profile(
    "any machine",
    max_examples=int(_EXAMPLES),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")
