"""``echosvc check`` says the truth about each path of the catalogue."""

from __future__ import annotations

import os

import pytest

from tests.programs.faults.registry import Absent
from tests.programs.paths.catalogue.entry import Entry
from tests.programs.paths.catalogue.places import Unsupported
from tests.programs.paths.catalogue.registry import load
from tests.programs.paths.catalogue.runner import run

pytestmark = pytest.mark.programs


#: Set it to run the entries that are left to the command, too.
_WHOLE = "ECHOSVC_WHOLE_CATALOGUE"
_ENTRIES = [entry for entry in load().values() if entry.tested or os.environ.get(_WHOLE)]


@pytest.mark.parametrize("entry", _ENTRIES, ids=lambda entry: entry.name)
def test_the_check_says_what_is_true_of_the_path(entry: Entry) -> None:
    try:
        done = run(entry)
    except Unsupported as absent:
        pytest.skip(str(absent))
    except Absent as absent:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(absent))
    assert not done.faults, "\n".join((*done.faults, *done.lines))
