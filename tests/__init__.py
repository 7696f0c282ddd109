"""How many inputs hypothesis tries: see :mod:`tests.support.examples`."""

from __future__ import annotations

from tests.support.examples import register_profiles

# Done here and not in a conftest.py, since trial does not read that.
register_profiles()
