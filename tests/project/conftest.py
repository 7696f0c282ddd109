"""Programs of the benchmarks, compiled once."""

from __future__ import annotations

import pytest

from benchmarks import lineup, programs
from benchmarks.process import serving
from tests.support.process import need


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The compiled programs."""
    need("cc")
    return programs.build(tmp_path_factory.mktemp("programs"))


@pytest.fixture(params=["tcp", "unix"])
def floor(request, built, tmp_path):
    """The C server, listening."""
    place = lineup.free_place(request.param, tmp_path / "floor", built.floor, ())
    with serving(lineup.BY_NAME["c"].command(place), place.address, place.directory) as server:
        yield server
