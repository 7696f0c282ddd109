"""Probes register themselves."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from echosvc.probe.checks.registry import probe
from echosvc.probe.settings import CheckSettings
from echosvc.probe.validation import NAMES, PROBES
from tests.support.process import ROOT, environment
from tests.support.waiting import LIMIT

_MODULE = """
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Finding

@probe("invented", order=25, summary="what nobody has asked before")
async def invented(path):
    return Finding("well")
"""
_PROGRAM = """
import sys
from echosvc.probe import checks
checks.__path__.append(sys.argv[1])
from echosvc.cli.check import epilog
from echosvc.probe.validation import NAMES, SettingsError, validate
from echosvc.probe.settings import CheckSettings
validate(CheckSettings(only=("invented",)))
print(" ".join(NAMES))
print(epilog())
"""


def test_a_new_module_is_a_probe_of_the_command_and_of_its_help(tmp_path: Path) -> None:
    (tmp_path / "invention.py").write_text(_MODULE, "utf-8")
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.stderr == ""
    names, _, described = done.stdout.partition("\n")
    assert names.split() == ["connect", "echo", "invented", *NAMES[2:]]
    assert "  invented       what nobody has asked before\n" in described


def test_probes_are_in_their_order_with_the_required_ones_first() -> None:
    assert all(one.order < other.order for one, other in pairwise(PROBES))
    required = [bool(each.requirement) for each in PROBES]
    assert required == sorted(required, reverse=True)
    assert NAMES[:2] == ("connect", "echo")


@pytest.mark.parametrize(("name", "order"), [("echo", 1_000_001), ("other", 20)])
def test_a_name_or_an_order_is_taken_once(name: str, order: int) -> None:
    with pytest.raises(ValueError, match="is taken by another probe"):
        probe(name, order=order, summary="")(PROBES[0].run)
    assert len({each.name for each in PROBES}) == len(PROBES)


def test_probes_that_send_long_streams_need_to_know_whether_long_packets_pass() -> None:
    needing = {each.name for each in PROBES if "path" in each.needs}
    assert needing == {
        "bytes", "sizes", "order", "half-close", "late-answers", "back-pressure", "connections"
    }  # fmt: skip
    orders = {each.name: each.order for each in PROBES}
    assert all(orders[name] < each.order for each in PROBES for name in each.needs)


def test_a_search_without_a_limit_is_not_made() -> None:
    search = next(each for each in PROBES if each.name == "find-idle")
    assert not search.enabled(CheckSettings())
    assert search.enabled(CheckSettings(find_idle=5.0))
    assert search.min_duration(CheckSettings(find_idle=5.0)) > 5.0
