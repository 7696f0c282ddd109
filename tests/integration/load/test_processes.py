"""``echosvc load`` in a process of its own: stalls, a machine that is busy, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.support.process import ECHOSVC, Process, Server, environment, running
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.slow


def begin(server: Server, *words: str, on: int | None = None) -> subprocess.Popen[bytes]:
    """A load of a server, on one processor if that is asked for."""
    command = [*ECHOSVC, "load", f"tcp:127.0.0.1:{server.port}", "--json", *words]
    load = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    if on is not None:
        os.sched_setaffinity(load.pid, {on})
    return load


def result(load: subprocess.Popen[bytes], status: int) -> dict[str, Any]:
    out, err = load.communicate(timeout=3 * LIMIT)
    assert (load.returncode, err) == (status, b""), (out, err)
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_server_that_is_stopped_for_a_second_is_in_the_corrected_latency_alone():
    with running("--listen", "tcp:0:interface=127.0.0.1") as server:
        words = "--connections", "4", "--rate", "500", "--duration", "6"
        load = begin(server, *words, "--max-send-lag", "1000", "--max-cpu-wait", "1")
        server.wait_lines("Client connection", 4)
        time.sleep(1)  # it has begun to send; how much it has sent does not matter
        server.signal(signal.SIGSTOP)
        time.sleep(1)  # this is the stall
        server.signal(signal.SIGCONT)
        found = result(load, 0)
    latency = found["latency_us"]
    assert latency["corrected"]["p99"] > 500_000
    assert latency["uncorrected"]["p99"] < latency["corrected"]["p99"] / 2


BUSY = "import os; os.sched_setaffinity(0, {%d})\nprint('busy', flush=True)\nwhile True: pass"


def test_a_generator_beside_a_busy_loop_is_invalid_never_ok():
    processor = min(os.sched_getaffinity(0))
    loops = [Process([sys.executable, "-c", BUSY % processor]) for _ in range(3)]
    try:
        for loop in loops:
            loop.wait_line("busy")
        with running("--log", "quiet", "--listen", "tcp:0:interface=127.0.0.1") as server:
            for words in (("--rate", "20000"), ("--connections", "20", "--depth", "4")):
                load = begin(server, *words, "--duration", "3", on=processor)
                found = result(load, 3)
                assert found["verdict"] == "INVALID", words
                assert found["why"]
    finally:
        for loop in loops:
            loop.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_result_and_status_130(number):
    with running("--listen", "tcp:0:interface=127.0.0.1") as server:
        words = "--rate", "100", "--duration", "600", "--connections", "3"
        command = [*ECHOSVC, "load", f"tcp:127.0.0.1:{server.port}", "--json", *words]
        load = Process(command)
        try:
            server.wait_lines("Client connection", 3)
            time.sleep(0.5)  # a moment of sending
            load.signal(number)
            assert load.wait() == 130
            found = json.loads("".join(load.lines))
        finally:
            load.close()
    assert found["ok"] is False
    assert found["result"]["interrupted"] is True


def test_more_connections_than_this_process_may_have_are_refused_at_once():
    limit = "import resource, os, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60));"
    command = [sys.executable, "-c", f"{limit} os.execv(sys.argv[1], sys.argv[1:])", *ECHOSVC]
    done = subprocess.run(
        [*command, "load", "1", "--connections", "100"],
        capture_output=True, timeout=LIMIT, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"this process may have 60 open files" in done.stderr
