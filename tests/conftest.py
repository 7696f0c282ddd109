"""``ECHOSVC_EXAMPLES=N``: hypothesis tries N inputs where a test does not say how many."""

from __future__ import annotations

import os

from hypothesis import settings

if _examples := os.environ.get("ECHOSVC_EXAMPLES"):
    settings.register_profile("many", max_examples=int(_examples), deadline=None)
    settings.load_profile("many")
