"""Signals of a service that owns its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from echosvc.server.signals import Signals


class Reactor:
    """Makes calls when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def callFromThread(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        while self.calls:
            self.calls.pop(0)()


class SignalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.done: list[str] = []
        self.reactor = Reactor()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.done.append("stop"))
        self.signals = Signals(
            lambda: self.reactor,
            lambda: self.done.append("reload"),
            lambda: self.done.append("end"),
        )

    def send(self, *numbers: signal.Signals) -> list[str]:
        for number in numbers:
            os.kill(os.getpid(), number)
        self.reactor.turn()
        return self.done

    def test_the_first_stops_and_the_second_ends_however_soon_it_comes(self) -> None:
        self.signals.install()
        self.assertEqual(self.send(signal.SIGTERM, signal.SIGTERM), ["stop", "end"])

    def test_either_may_be_the_second(self) -> None:
        self.signals.install()
        self.assertEqual(self.send(signal.SIGINT), ["stop"])
        self.assertEqual(self.send(signal.SIGTERM, signal.SIGINT), ["stop", "end", "end"])

    def test_once_it_stops_anyway_the_first_is_the_second(self) -> None:
        self.signals.install()
        self.signals.stopping = True
        self.assertEqual(self.send(signal.SIGTERM), ["end"])

    def test_a_hang_up_reloads(self) -> None:
        self.signals.install()
        self.assertEqual(self.send(signal.SIGHUP, signal.SIGHUP), ["reload", "reload"])
        self.assertFalse(self.signals.stopping)

    def test_what_is_ignored_stays_so(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.signals.install()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_IGN)

    def test_before_they_are_taken_nothing_is_changed(self) -> None:
        self.assertEqual(self.send(signal.SIGTERM), ["stop"])
