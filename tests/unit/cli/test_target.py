"""The options of the clients that say how to reach the server."""

from __future__ import annotations

import argparse

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.cli.target import (
    TargetOptionsError,
    add_target_arguments,
    faulty_argument,
    target_from_args,
)
from echosvc.endpoints.strings import EndpointError


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

    def test_an_error_names_the_option_whose_file_it_is_about(self) -> None:
        to = "tls:localhost:1"
        for words, error, named in (
            (("--ca", "/no"), "/no: ENOENT (No such file)", "--ca"),
            (("--ca", "certs"), "certs/a.pem: no certificate in it", "--ca"),
            (("--ca", "certs/"), "certs/a.pem: no certificate in it", "--ca"),
            (("--cert", "c", "--key", "k"), "k: no private key in it", "--key"),
            (("--cert", "c", "--key", "k"), "c: no certificate in it", "--cert"),
            (("--ca", "port"), "port must be a number", f"--to {to!r}"),
            ((), "/no: ENOENT (No such file)", f"--to {to!r}"),
        ):
            command = argparse.ArgumentParser()
            add_target_arguments(command)
            args = command.parse_args(["--to", to, *words])
            self.assertEqual(faulty_argument(args, EndpointError(error)), named)
