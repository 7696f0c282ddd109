"""The rule of each setting, for good and for wrong values."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields

from twisted.trial.unittest import SynchronousTestCase

from echosvc.config.schema import ClientConfig, ClientSettings, Config, ServerSettings
from echosvc.config.settings import ConfigError
from echosvc.wire.framing import FRAMINGS

WRONG_SECONDS = (math.nan, math.inf, -math.inf, -1, -0.001, "1", b"1", [], 1j)
GOOD: dict[str, tuple[object, ...]] = {
    "dialect": ("echosvc", "gateway-api"),
    "prefix": ("", "é{pid}", b"", b"{"),
    "greeting": (None, "", "Hello {peer}", b"\xff"),
    "discard": (True, False),
    "framing": tuple(FRAMINGS),
    "max_message": (1, 65536, 1 << 30),
    "encoding": ("raw", "utf-8"),
    "idle_timeout": (0, 0.0, 0.001, 7, 1e9),
    "idle_action": ("log", "close", "reset"),
    "linger": (0, 2.5),
    "handshake_timeout": (0, 2.5),
    "stall_timeout": (0, 60.0),
    "max_lifetime": (0, 3600),
    "max_connections": (None, 0, 1, 1 << 30),
    "over_limit": ("wait", "refuse"),
    "max_per_peer": (0, 5),
    "allow": ((), ("10.0.0.0/8", "::1")),
    "deny": ((), ("0.0.0.0/0",)),
    "proxy_protocol": ("off",),
    "proxy_from": ((),),
    "allow_half_open": (True, False),
    "half_open_timeout": (None, 0, 1.5),
    "keep_alive": (0, 1, 32767),
    "nagle": (True, False),
    "drain": (0, 5.5),
    "drain_delay": (0, 5.5),
    "unready_delay": (0, 120),
    "drain_spread": (0, 30),
    "log": ("quiet", "connections", "messages"),
    "pause_on_connect": (True, False),
}
WRONG: dict[str, tuple[object, ...]] = {
    "dialect": ("", "istio", "Echosvc", None, 1),
    "prefix": (None, 3, "{", "{port}", "\\q", "\ud800", bytearray(b"x")),
    "greeting": (3, "}", "{env:}", False),
    "discard": ("yes", None, 1.0, b"1"),
    "framing": ("", "lines", "Chunk", None, b"chunk", 1, []),
    "max_message": (0, -1, (1 << 30) + 1, 1.5, 100.0, "100", None, math.nan),
    "encoding": ("utf8", "latin-1", None, "RAW"),
    "idle_timeout": (*WRONG_SECONDS, None),
    "idle_action": ("abort", None, "Log"),
    "linger": (*WRONG_SECONDS, None),
    "handshake_timeout": (*WRONG_SECONDS, None),
    "stall_timeout": (*WRONG_SECONDS, None),
    "max_lifetime": (*WRONG_SECONDS, None),
    "max_connections": (-1, 1.5, "5", True, math.inf),
    "over_limit": ("drop", None, ""),
    "max_per_peer": (-1, None, 0.5),
    "allow": (None, "10.0.0.0/8", ["::1"], ("nonsense",), ("10.0.0.1/8",), (5,), ("a\n\x1b",)),
    "deny": (None, ("::/129",)),
    "proxy_protocol": ("on", None, "accept"),
    "proxy_from": (None, ("",)),
    "allow_half_open": ("on", None),
    "half_open_timeout": WRONG_SECONDS,
    "keep_alive": (-1, 32768, 0.5, 5.0, "5", None, math.inf),
    "nagle": ("no", None),
    "drain": (*WRONG_SECONDS, None),
    "drain_delay": (*WRONG_SECONDS, None),
    "unready_delay": (*WRONG_SECONDS, None),
    "drain_spread": (*WRONG_SECONDS, None),
    "log": ("debug", "", None),
    "pause_on_connect": ("yes", None),
}

#: What the code that serves a connection makes of each setting: of the messages, with values that
#: keep a connection from the fast path; time-outs of a connection; all else.
OF_MESSAGES = {
    "dialect": ("gateway-api",),
    "discard": (True,),
    "framing": tuple(name for name in FRAMINGS if name != "chunk"),
    "encoding": ("utf-8",),
    "log": ("messages",),
}
TIMEOUTS = {
    "idle_timeout", "linger", "handshake_timeout", "stall_timeout", "max_lifetime",
    "half_open_timeout",
}  # fmt: skip
OF_NEITHER = {
    "prefix", "greeting", "max_message", "idle_action", "max_connections", "over_limit",
    "max_per_peer", "allow", "deny", "proxy_protocol", "proxy_from", "allow_half_open",
    "keep_alive", "nagle", "drain", "drain_delay", "unready_delay", "drain_spread",
    "pause_on_connect",
}  # fmt: skip


class ConfigTests(SynchronousTestCase):
    def test_every_setting_is_of_messages_or_a_time_out_or_neither(self) -> None:
        names = {field.name for field in fields(Config)}
        remedy = (
            "a setting of messages is in OF_MESSAGES of this file and in Config.plain, a time-out"
            " of a connection in TIMEOUTS and in Config.timeouts(), another one in OF_NEITHER"
        )
        self.assertEqual({*OF_MESSAGES, *TIMEOUTS, *OF_NEITHER}, names, remedy)

    def test_a_setting_of_messages_keeps_a_connection_from_the_fast_path(self) -> None:
        self.assertTrue(Config().plain)
        for name, values in OF_MESSAGES.items():
            for value in values:
                self.assertFalse(Config(**{name: value}).plain, (name, value))

    def test_every_time_out_of_a_connection_is_kept_by_its_clock(self) -> None:
        for name in TIMEOUTS:
            self.assertIn(12.345, Config(**{name: 12.345}).timeouts(), name)
        of_client = TIMEOUTS & {field.name for field in fields(ClientConfig)}
        self.assertEqual(of_client, {"idle_timeout", "linger"}, "EchoClientFactory keeps these")

    def test_every_setting_is_tried_here(self) -> None:
        names = {field.name for field in fields(Config)}
        for table, given in (("GOOD", set(GOOD)), ("WRONG", set(WRONG))):
            missing, unknown = sorted(names - given), sorted(given - names)
            remedy = f"{table} in this file: add values of {missing}, remove {unknown}"
            self.assertEqual(given, names, remedy)

    def test_good_values_are_taken_as_they_are(self) -> None:
        for name, values in GOOD.items():
            for value in values:
                self.assertEqual(getattr(Config(**{name: value}), name), value)

    def test_wrong_values_are_refused_in_one_line_that_names_them(self) -> None:
        for name, values in WRONG.items():
            for value in values:
                error = self.assertRaises(ConfigError, Config, **{name: value})
                self.assertEqual(error.field, name)
                self.assertEqual(str(error), f"{name}: {error.why}")
                self.assertTrue(str(error).isprintable(), (name, value))

    def test_the_wrong_value_is_shown(self) -> None:
        for name in ("max_message", "idle_timeout", "framing", "discard", "keep_alive"):
            error = self.assertRaises(ConfigError, Config, **{name: "a\n\x1bb"})
            self.assertIn(repr("a\n\x1bb"), str(error))

    def test_a_header_is_believed_of_named_proxies_only(self) -> None:
        self.assertEqual(Config(proxy_protocol="require", proxy_from=("::1",)).proxy_from, ("::1",))
        for settings in ({"proxy_protocol": "require"}, {"proxy_from": ("::1",)}):
            error = self.assertRaises(ConfigError, Config, **settings)
            self.assertEqual(error.field, "proxy_from")

    def test_a_dialect_has_its_own_prefix_greeting_and_framing(self) -> None:
        for name, value in (("prefix", ""), ("greeting", ""), ("framing", "line")):
            error = self.assertRaises(ConfigError, Config, dialect="gateway-api", **{name: value})
            self.assertEqual(error.field, name)
        self.assertEqual(Config(dialect="gateway-api").message_framing, "line")
        self.assertEqual(Config(framing="length").message_framing, "length")

    def test_without_a_limit_nothing_can_be_refused(self) -> None:
        error = self.assertRaises(ConfigError, Config, over_limit="refuse", max_connections=0)
        self.assertEqual(error.field, "over_limit")

    def test_a_config_error_is_a_value_error(self) -> None:
        self.assertRaises(ValueError, Config, framing="x")

    def test_the_defaults_are_those_of_the_documentation(self) -> None:
        config = Config()
        self.assertEqual(config.prefix_template().constant, b"Sending: ")
        self.assertIsNone(config.greeting_template())
        self.assertEqual(
            (config.framing, config.max_message, config.encoding, config.idle_timeout),
            ("chunk", 65536, "raw", 0.5),
        )
        self.assertEqual(
            (config.idle_action, config.linger, config.keep_alive, config.drain, config.log),
            ("log", 2, 60, 5, "connections"),
        )
        flags = config.discard, config.allow_half_open, config.nagle, config.pause_on_connect
        self.assertEqual(flags, (False,) * 4)

    def test_a_str_is_a_template_and_bytes_are_literal(self) -> None:
        self.assertIsNone(Config(prefix="{pid}").prefix_template().constant)
        self.assertEqual(Config(prefix=b"{pid}").prefix_template().constant, b"{pid}")
        self.assertEqual(Config(greeting=b"{").greeting_template().constant, b"{")
        self.assertEqual(Config(greeting="").greeting_template().constant, b"")

    def test_a_config_cannot_be_changed(self) -> None:
        with self.assertRaises(FrozenInstanceError):
            Config().drain = 1

    def test_settings_are_given_by_keyword_alone(self) -> None:
        self.assertRaises(TypeError, Config, "> ")
        self.assertRaises(TypeError, ClientConfig, 1)
        self.assertRaises(TypeError, Config, no_such_setting=1)


class ClientConfigTests(SynchronousTestCase):
    def test_the_rules_are_the_servers(self) -> None:
        for field in fields(ClientConfig):
            for value in GOOD[field.name]:
                self.assertEqual(getattr(ClientConfig(**{field.name: value}), field.name), value)
            for value in WRONG[field.name]:
                error = self.assertRaises(ConfigError, ClientConfig, **{field.name: value})
                self.assertEqual(error.field, field.name)


class TypedDictTests(SynchronousTestCase):
    def test_the_keyword_arguments_are_the_fields(self) -> None:
        for settings, config in ((ServerSettings, Config), (ClientSettings, ClientConfig)):
            types = {field.name: field.type for field in fields(config)}
            arguments = settings.__annotations__.items()
            given = {name: getattr(kind, "__forward_arg__", kind) for name, kind in arguments}
            for name in sorted(given.keys() | types.keys()):
                remedy = f"{settings.__name__} in config/schema.py: write {name!r} as in"
                where = f"{remedy} {config.__name__}"
                self.assertEqual(given.get(name), types.get(name), where)
            self.assertEqual(settings.__required_keys__, frozenset())
