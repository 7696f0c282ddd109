"""The options of the clients that say how to reach the server."""

from __future__ import annotations

import argparse

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.cli import values
from echosvc.cli.target import TargetOptionsError, add_target_arguments, target_from_args


class TargetTests(SynchronousTestCase):
    def target_name(self, *words: str) -> str:
        command = argparse.ArgumentParser()
        add_target_arguments(command)
        return target_from_args(MemoryReactorClock(), command.parse_args(words)).name

    def test_consistent_options_make_a_target(self) -> None:
        self.assertEqual(self.target_name("--to", "tcp:localhost:9000"), "localhost:9000")
        self.assertEqual(
            self.target_name("--to", "tls:localhost:9443", "--insecure"), "localhost:9443"
        )

    def test_contradicting_options_are_refused_with_the_reason(self) -> None:
        for words, why in (
            (("--to", "tcp:localhost:1", "--insecure"), "--insecure: is for tls:"),
            (("--to", "localhost:1", "--ca", "ca.pem"), "--ca: is for tls:"),
            (("--to", "tls:localhost:1", "--insecure", "--ca", "c"), "verifies nothing"),
            (("--to", "tls:localhost:1", "--key", "key.pem"), "--key: needs --cert"),
        ):
            with self.assertRaisesRegex(TargetOptionsError, why):
                self.target_name(*words)

    def test_seconds_are_finite_and_not_negative(self) -> None:
        self.assertEqual(values.seconds("1.5"), 1.5)
        for text in ("", "x", "-1", "nan", "inf", "1e400"):
            with self.assertRaisesRegex(argparse.ArgumentTypeError, "number of seconds"):
                values.seconds(text)
