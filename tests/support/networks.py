"""Python programs in network namespaces of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.process import environment, need
from tests.support.waiting import LIMIT


def in_own_network(code: str, *words: str) -> str:
    for name in ("iptables", "ip6tables", "ip", "unshare"):
        need(name)
    command = ["unshare", "-n", sys.executable, "-c", code, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=4 * LIMIT, env=environment()
    )
    if done.returncode and ("unshare" in done.stderr or "tables" in done.stderr):
        pytest.skip(f"no firewall of its own: {done.stderr.strip()}")
    assert not done.returncode, done.stderr
    return done.stdout
