"""The prefix template: parsed once, bound once a connection, rendered once a reply.

Constant parts are merged when they become known: when parsing, and when binding. A template
without ``{message}`` is one constant for a whole connection.

To add a field, name it in :data:`FIELDS` and pass its value to :meth:`Template.bind`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: What may be in braces, besides ``env:NAME``.
FIELDS = ("hostname", "pid", "local", "peer", "connection", "message", "tls_version", "tls_peer")

_ESCAPES = {"n": b"\n", "t": b"\t", "\\": b"\\"}
_TOKEN = re.compile(
    r"""(?P<brace>\{\{|\}\})
      | \{(?P<field>[^{}]*)\}
      | \\x(?P<byte>[0-9A-Fa-f]{2})
      | \\(?P<escape>.?)
      | (?P<text>[^{}\\]+)
      | (?P<stray>[{}])""",
    re.VERBOSE | re.DOTALL,
)


class TemplateError(ValueError):
    """The template is invalid; its text is the reason, one line."""


@dataclass(frozen=True)
class Field:
    """A part of a template whose value is bound later."""

    name: str


Part = bytes | Field


class Template:
    """A parsed prefix or greeting.

    :param parts: literal bytes and fields, in order.
    :ivar constant: the whole text, if no field is left; otherwise ``None``.
    """

    def __init__(self, parts: list[Part]) -> None:
        self.parts: tuple[Part, ...] = tuple(_merge_literals(parts))
        literal = all(isinstance(part, bytes) for part in self.parts)
        self.constant: bytes | None = self.render(0) if literal else None

    @classmethod
    def literal(cls, data: bytes) -> Template:
        """Return a template of just these bytes."""
        return cls([data])

    @classmethod
    def parse(cls, text: str, environ: Mapping[str, str] | None = None) -> Template:
        r"""Parse a template.

        :param text: ``{field}``, ``{env:NAME}``, ``{{``, ``}}``, ``\n``, ``\t``,
            ``\\``, ``\xNN``; everything else is itself, in UTF-8.
        :param environ: the variables of ``{env:NAME}``; by default those of the process.
        :raises TemplateError: something else is in braces or behind a backslash.
        """
        variables = os.environ if environ is None else environ
        return cls([_parse_token(token, variables) for token in _TOKEN.finditer(text)])

    def bind(self, values: Mapping[str, str]) -> Template:
        """Return the template with the fields whose values are known; the others stay.

        :param values: text by field name.
        """
        if self.constant is not None:
            return self
        return Template([_bind_part(part, values) for part in self.parts])

    def describe(self) -> bytes:
        """Return the text for people, with ``{name}`` in place of each field that is not bound."""
        return b"".join(
            part if isinstance(part, bytes) else b"{%s}" % part.name.encode() for part in self.parts
        )

    def render(self, message: int) -> bytes:
        """Return the bytes for the reply number ``message``; every other field must be bound."""
        number = b"%d" % message
        return b"".join(part if isinstance(part, bytes) else number for part in self.parts)


def _merge_literals(parts: list[Part]) -> list[Part]:
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        elif part != b"":
            joined.append(part)
    return joined


def _bind_part(part: Part, values: Mapping[str, str]) -> Part:
    if isinstance(part, bytes) or part.name not in values:
        return part
    return values[part.name].encode("utf-8", "surrogateescape")


def _parse_token(token: re.Match[str], environ: Mapping[str, str]) -> Part:
    """Return the part that one token stands for."""
    kind, text = token.lastgroup, token[token.lastgroup or 0]
    if kind == "field":
        return _parse_field(text, environ)
    if kind == "byte":
        return bytes([int(text, 16)])
    if kind == "escape":
        return _unescape(text)
    if kind == "stray":
        at = token.start() + 1
        raise TemplateError(f"a single {text!r} at character {at}: write {text * 2!r}")
    return _encode(text[0] if kind == "brace" else text)


def _parse_field(name: str, environ: Mapping[str, str]) -> Part:
    if name.startswith("env:"):
        variable = name[4:]
        if variable not in environ:
            raise TemplateError(f"the environment variable {variable!r} is not set")
        return _encode(environ[variable])
    if name not in FIELDS:
        known = ", ".join([*FIELDS, "env:NAME"])
        raise TemplateError(f"unknown field {'{' + name + '}'!r}: the fields are {known}")
    return Field(name)


def _unescape(letter: str) -> bytes:
    if letter not in _ESCAPES:
        raise TemplateError(
            f"unknown escape {chr(92) + letter!r}: \\n, \\t, \\\\ and \\xNN are known"
        )
    return _ESCAPES[letter]


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise TemplateError(f"no UTF-8: {error.reason} in {text!r}") from None
