"""How many inputs hypothesis tries.

A quick run tries a part of them, a slow one all. ``ECHOSVC_EXAMPLES=N`` says how many there are
where a test does not say; those of a test that does change in proportion.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: What is tried where neither the environment nor a test says how many.
_USUAL = 100
#: The part that a quick run tries.
_QUICK = 0.25
_CHOSEN = os.environ.get("ECHOSVC_EXAMPLES")


def register_profiles() -> None:
    """Make the profiles of hypothesis known, and use the one that tries all."""
    for name, part in (("all", 1.0), ("quick", _QUICK)):
        # How long an input takes says how busy the machine is, not whether the answer is right.
        settings.register_profile(
            name,
            max_examples=int(_CHOSEN or _USUAL * part),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
    settings.load_profile("all")


def try_few() -> None:
    """Let the tests that are imported from now on try a part of their inputs."""
    settings.load_profile("quick")


def examples(number: int) -> settings:
    """Return the settings of a test that tries ``number`` inputs in a slow run."""
    return settings(max_examples=max(1, number * settings.default.max_examples // _USUAL))
