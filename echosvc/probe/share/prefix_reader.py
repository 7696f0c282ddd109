"""Reads the prefix of one connection after the other, without a greeting before it."""

from __future__ import annotations

from echosvc._text import quote
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Unanswered
from echosvc.probe.engine.prefix_detection import (
    UnclearPrefix,
    detect_prefix,
    number_template,
    strip_header,
)
from echosvc.probe.settings import CheckSettings
from echosvc.wire.prefix_matching import match_template_suffix
from echosvc.wire.template import Template


class PrefixReader:
    """Reads prefixes.

    A connection is sent one message. Where no prefix was given, the first one is sent two: so a
    greeting is known, which comes before the first reply alone. So is each connection that begins
    with another greeting than that. A server without a prefix is named by its greeting.

    :param settings: with the prefix, if it was given, and the framing.
    :param lenient: what changes from reply to reply may be anything, not only numbers.
    :ivar is_ready: the greeting is known, or not needed.
    """

    def __init__(self, settings: CheckSettings, lenient: bool) -> None:
        self._settings, self._lenient = settings, lenient
        self._header = 4 * (settings.framing == "length")
        self._greeting = b""
        self.is_ready = settings.prefix is not None

    async def read(self, connection: ProbeConnection, seconds: float) -> bytes:
        """Ask a connection; return its prefix.

        :param seconds: how long each part of an answer is waited for.
        :raises Failed: it is not answered, or its prefix has another form.
        """
        first = await connection.request(seconds)
        if self._settings.prefix is not None:
            return self._match(self._settings.prefix, first)
        if self.is_ready and first.startswith(self._greeting):
            return first[len(self._greeting) + self._header :]
        try:
            second = await connection.request(seconds)
        except Unanswered:
            return first[self._header :]  # such a server answers one message
        return self._split(first, strip_header(second, self._settings.framing))

    def _match(self, template: Template, first: bytes) -> bytes:
        """Return the prefix that has the form that was given, at the end of what came."""
        text = first[self._header :]
        found = match_template_suffix(template, text)
        if found is not None:
            return text[found[1] :]
        raise UnclearPrefix(
            f"the prefix is {quote(text)}, not of the form that --prefix gives",
            "another server answers, or --prefix is wrong",
        )

    def _split(self, first: bytes, second: bytes) -> bytes:
        """Return the prefix, and note the greeting before it."""
        greeting = self._find_greeting(first, second)
        prefix = first[len(greeting) + self._header :]
        if not prefix:
            greeting, prefix = b"", greeting
        if not self.is_ready:
            self._greeting, self.is_ready = greeting, True
        return prefix

    def _find_greeting(self, first: bytes, second: bytes) -> bytes:
        """Return the greeting: what stands before a prefix that may have other numbers in it."""
        try:
            return detect_prefix(self._settings, first, second)[1]
        except UnclearPrefix:
            found = match_template_suffix(number_template(second)[0], first)
            if found is not None:
                return first[: found[1] - self._header]
            if self._lenient:
                return b""
            raise
