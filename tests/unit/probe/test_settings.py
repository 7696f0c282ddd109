"""A setting of a check is a field, a keyword and an option."""

from __future__ import annotations

import argparse
from dataclasses import fields

from twisted.trial.unittest import SynchronousTestCase

from echosvc.cli.check import add_arguments, check_options
from echosvc.probe.check import CheckOptions
from echosvc.probe.settings import CheckSettings


class CheckSettingsTests(SynchronousTestCase):
    def test_every_setting_but_the_prefix_is_a_keyword_of_its_type(self) -> None:
        declared = {each.name: each.type for each in fields(CheckSettings)}
        del declared["prefix"]
        keywords = {
            name: each.__forward_arg__ for name, each in CheckOptions.__annotations__.items()
        }
        self.assertEqual(keywords, declared)

    def test_without_options_every_setting_has_its_default(self) -> None:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        self.assertEqual(check_options(parser.parse_args([])), CheckSettings())
