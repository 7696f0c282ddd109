"""What holds on real sockets holds for another reactor too."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.harness import ROOT, environment

#: Seconds; each of the files takes well under one minute.
BOUND = 300


@pytest.mark.parametrize("name", ["test_stream.py", "test_client.py"])
def test_the_asyncio_reactor_keeps_every_promise(name):
    command = [sys.executable, "-m", "pytest", "--reactor=asyncio", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [*command, f"tests/net/{name}"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        timeout=BOUND,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 20, done.stdout
