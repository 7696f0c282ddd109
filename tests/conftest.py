"""Which tests run, and what is said of those that do not.

A test that takes long, or that drives programs which are no part of Python, is marked so and
runs only with the option of that name.
"""

from __future__ import annotations

import gc
import inspect
import os
import sys
from collections import Counter
from typing import Any

import pytest

from tests.support.examples import try_few
from tests.support.workers import keep_collected, prepare_controller, prepare_process

# Hundreds of processes import the package, and as many workers as there are import the tests:
# compile each file once, also where the environment says otherwise.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: The markers whose tests are left out unless an option asks for them, and why.
LEFT_OUT = {
    "slow": "takes long",
    "programs": "drives other programs, such as HAProxy and nginx",
}
#: Have coverage measure the processes that tests start, too: it doubles what each start costs.
COVER_PROCESSES = "ECHOSVC_COVER_PROCESSES"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("echosvc")
    for name, why in LEFT_OUT.items():
        group.addoption(f"--{name}", action="store_true", help=f"also run what {why}")
    group.addoption("--all", action="store_true", help="run every test")
    group.addoption(
        "--on-reactor",
        action="store_true",
        help="run only tests whose code runs on the reactor of this process",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name, why in LEFT_OUT.items():
        config.addinivalue_line("markers", f"{name}: {why}; runs with --{name} or --all")
    if not (config.getoption("slow") or config.getoption("all")):
        try_few()
    prepare_process()
    starts_workers = config.getoption("dist", "no") != "no"
    if not starts_workers and not os.environ.get(COVER_PROCESSES):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    prepare_controller(config)


def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    keep_collected()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("on_reactor"):
        keep_coroutines(config, items)
    for name, why in LEFT_OUT.items():
        if config.getoption(name) or config.getoption("all"):
            continue
        skip = pytest.mark.skip(reason=f"{why}: --{name} runs it")
        for item in items:
            if item.get_closest_marker(name):
                item.add_marker(skip)


def keep_coroutines(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [
        item for item in items if not inspect.iscoroutinefunction(getattr(item, "function", None))
    ]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def reason_of(report: Any) -> str:
    """Why a test was skipped."""
    return str(report.longrepr[2]).removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was skipped and why, one line for each reason and file."""
    reports = terminalreporter.stats.get("skipped", [])
    counts = Counter((reason_of(each), each.nodeid.partition("::")[0]) for each in reports)
    if counts:
        terminalreporter.section("skipped")
    for reason in sorted({reason for reason, _ in counts}):
        files = {file: number for (why, file), number in counts.items() if why == reason}
        terminalreporter.line(f"{sum(files.values())} {reason}")
        for file, number in sorted(files.items()):
            terminalreporter.line(f"    {number:4} {file}")
