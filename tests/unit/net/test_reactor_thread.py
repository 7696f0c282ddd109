"""A reactor in a thread of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python import threadable

from echosvc.net.reactor_thread import ReactorThread
from tests.support.process import environment
from tests.support.waiting import LIMIT


@pytest.fixture
def thread():
    running = ReactorThread("a thread")
    yield running
    if running.call(threading.current_thread) is not threading.current_thread():
        running.stop()


def test_a_call_is_made_in_its_thread_and_gives_what_it_returns(thread):
    assert thread.call(threading.current_thread).name == "a thread"
    assert thread.call(lambda *words: words, 1, 2) == (1, 2)
    assert thread.call(deferLater, thread.reactor, 0.001, lambda: 3) == 3


def test_a_call_raises_what_it_raises_there(thread):
    def fail():
        raise LookupError("there")

    with pytest.raises(LookupError, match="there"):
        thread.call(fail)
    with pytest.raises(LookupError, match="there"):
        thread.call(deferLater, thread.reactor, 0.001, fail)


def test_in_its_own_thread_a_call_is_a_plain_one(thread):
    assert isinstance(thread.call(lambda: [thread.call(Deferred)])[0], Deferred)


def test_after_the_end_a_call_is_a_plain_one(thread):
    thread.stop()
    assert thread.call(threading.current_thread) is threading.current_thread()


def test_it_does_not_pass_for_the_thread_of_the_process_own_reactor():
    before = threadable.ioThread
    thread = ReactorThread("a thread")
    try:
        assert thread.call(threadable.isInIOThread) is False
        assert threadable.ioThread == before
    finally:
        thread.stop()


def test_its_clock_cannot_be_set(thread):
    assert thread.reactor.seconds is time.monotonic


def test_it_ends_with_its_thread_its_threads_and_its_descriptors():
    before, threads = sorted(os.listdir("/proc/self/fd")), threading.enumerate()
    thread = ReactorThread("a thread")
    thread.call(lambda: thread.reactor.callInThread(int))
    thread.call(lambda: thread.reactor.callLater(3600, int))
    thread.stop()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert threading.enumerate() == threads


def test_it_installs_no_reactor_and_handles_no_signal():
    code = """
import signal, sys
from echosvc.net.reactor_thread import ReactorThread
before = [signal.getsignal(number) for number in signal.valid_signals()]
thread = ReactorThread("a thread")
thread.call(int)
after = [signal.getsignal(number) for number in signal.valid_signals()]
thread.stop()
sys.exit(before != after or "twisted.internet.reactor" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), timeout=LIMIT, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
