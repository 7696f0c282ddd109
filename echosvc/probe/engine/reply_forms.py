"""The form in which a server returns messages, where it is not a prefix and the message.

Theory of operation. Different messages are sent one after the other, and what comes for each is
searched for the message itself, or for what a known code makes of it. A form is named only if it
holds for each message: exactly for the later ones, and at the end for the first one, before which
a greeting may stand. The messages share bytes in other orders, so that a translation of bytes is
told from a permutation. No I/O, no Twisted.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from echosvc._text import quote
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.protocols import name_protocol

#: What is sent after the first message. The bytes of each one are in the next one, in another
#: order. No length is that of a line end, which stands in front with ``length`` framing.
MESSAGES = (
    b"Kq7wZ3xBv",
    b"w7ZBvK3qxTd5Mj",
    b"5x3TKjdBqM7vZwHg",
    b"gH4wZv7MqBdjKT3x5s",
    b"s5x3TgKjdB2q4M7vZwHc",
)
#: As many messages prove a form.
ENOUGH = 3


@dataclass(frozen=True)
class Exchange:
    """A message, and what came before the next one was sent.

    :ivar sent: without its framing.
    :ivar came: without lengths in front.
    """

    sent: bytes
    came: bytes


class WrongForm(Failed):
    """Messages come back, but in another form than behind a prefix."""

    age = 0.0


#: Codes by their names. The message itself is the first.
_CODES: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("", bytes),
    ("reversed", lambda message: message[::-1]),
    ("in upper case", bytes.upper),
    ("in lower case", bytes.lower),
    ("in base64", b64encode),
    ("as hexadecimal digits", lambda message: message.hex().encode()),
    ("as hexadecimal digits", lambda message: message.hex().upper().encode()),
)
_ADDS = "the server, or a middlebox, adds it: this check knows prefixes only"
_ENCODES = "the server, or a middlebox, encodes what it reads: this check knows prefixes only"
_REPEATS = "several servers get the same bytes, or the server, or a middlebox, repeats them"
_REVERSES = "the server, or a middlebox, reverses what it reads"
_TRANSLATES = "bytes are translated by a table, as between character sets (EBCDIC), or encrypted"
_NO_ECHO = "no echo server; or its answers are in a code that this check does not know"


@dataclass(frozen=True)
class _Form:
    """What comes for two messages, cut at the messages.

    :ivar code: what is done to each message; "": nothing.
    :ivar first: what stands before, between and behind the first one.
    :ivar second: the same of the second one.
    """

    code: str
    first: tuple[bytes, ...]
    second: tuple[bytes, ...]

    @property
    def copies(self) -> int:
        return len(self.first) - 1

    @property
    def is_constant(self) -> bool:
        return self.first == self.second


def explain_form(exchanges: Sequence[Exchange], line: bool = False) -> WrongForm | None:
    """Return in which form messages come back; ``None``: behind a prefix, or it is not known.

    :param line: the messages are lines.
    """
    if len(exchanges) < ENOUGH:
        return None
    end = b"\n" * line
    form = next(_find_forms(exchanges, end), None)
    if form is not None:
        return _describe(form, exchanges, end)
    return _describe_translation(exchanges) if _is_translated(exchanges) else None


def explain_foreign_answers(exchanges: Sequence[Exchange]) -> WrongForm | None:
    """Return that the messages are answered by something else; ``None``: not all are answered."""
    if len(exchanges) < ENOUGH or not all(each.came for each in exchanges):
        return None
    if any(each.sent.rstrip(b"\n") in each.came for each in exchanges[1:]):
        return None
    answers = ", ".join(f"{quote(each.sent)} by {quote(each.came)}" for each in exchanges)
    finding = f"messages are answered, but do not come back: {answers}"
    return WrongForm(finding, name_protocol(exchanges[0].came) or _NO_ECHO)


def _find_forms(exchanges: Sequence[Exchange], end: bytes) -> Iterator[_Form]:
    """Yield the forms that hold for each message."""
    first, *others = (Exchange(each.sent.removesuffix(end), each.came) for each in exchanges)
    for code, encode in _CODES:
        cuts = [tuple(each.came.split(encode(each.sent))) for each in others]
        lengths = {len(each) for each in cuts}
        if len(lengths) > 1 or lengths == {1}:
            continue
        form = _Form(code, *cuts[:2])
        tail = encode(first.sent).join(cuts[0][1:])
        whole = encode(first.sent) + tail if form.is_constant else encode(first.sent)
        if first.came.endswith(whole) or (not form.is_constant and whole in first.came):
            yield form


def _describe(form: _Form, exchanges: Sequence[Exchange], end: bytes) -> WrongForm | None:
    """Return a form in words; ``None``: it is a prefix and the message, or a translation."""
    shown = _list(exchanges[1:3])
    if form.copies > 1:
        times = "twice" if form.copies == 2 else f"{form.copies} times"
        finding = f"each message comes back {times}{_behind(form.code)}: {shown}"
        return WrongForm(finding, _REPEATS, facts={"copies": form.copies})
    suffixes = [_suffix(form.first[1], end), _suffix(form.second[1], end)]
    if form.code:
        return _describe_code(form.code, suffixes, shown)
    if not all(suffixes):
        return None
    return _describe_suffix(form, suffixes, exchanges[2], shown)


def _behind(code: str) -> str:
    return f" {code}" if code else ""


def _describe_code(code: str, suffixes: Sequence[bytes], shown: str) -> WrongForm | None:
    """Return the form of messages that come back in a code.

    Upper and lower case alone are changes of values, which have their own experiment.
    """
    if code.endswith("case") and not all(suffixes):
        return None
    finding = f"each message comes back {code}{_with(suffixes)}: {shown}"
    return WrongForm(finding, _REVERSES if code == "reversed" else _ENCODES, facts={"form": code})


def _with(suffixes: Sequence[bytes]) -> str:
    if not all(suffixes):
        return ""
    constant = suffixes[0] == suffixes[1]
    return f", with {quote(suffixes[0])} behind it" if constant else ", with other bytes behind it"


def _describe_suffix(
    form: _Form, suffixes: Sequence[bytes], example: Exchange, shown: str
) -> WrongForm:
    """Return the form of messages with something behind them."""
    if _is_json(example.came):
        facts = {"form": "JSON"}
        return WrongForm(f"each message comes back inside JSON: {shown}", _ENCODES, facts=facts)
    if suffixes[0] != suffixes[1]:
        changes = f"{quote(suffixes[0])}, then {quote(suffixes[1])}"
        finding = f"each reply has a suffix, which changes from reply to reply: {changes}: {shown}"
        return WrongForm(finding, _ADDS)
    prefix = form.second[0] if form.first[0] == form.second[0] else b""
    before = f"a prefix, {quote(prefix)}, and " if prefix else ""
    finding = f"each reply has {before}a suffix, {quote(suffixes[0])}: {shown}"
    return WrongForm(finding, _ADDS, facts={"suffix": quote(suffixes[0])[1:-1]})


def _suffix(behind: bytes, end: bytes) -> bytes:
    """Return what was added behind a message, or before its end; b"": nothing.

    Where only the end of a line is another one, the path translates line ends.
    """
    if not end:
        return behind
    if behind.startswith(end):
        return behind.removeprefix(end)
    return behind.rstrip(b"\r\n")


def _is_json(reply: bytes) -> bool:
    try:
        return isinstance(json.loads(reply), (dict, list, str))
    except ValueError:
        return False


def _list(exchanges: Sequence[Exchange]) -> str:
    """Return what came back as what."""
    return ", ".join(f"{quote(each.sent)} as {quote(each.came)}" for each in exchanges)


def _is_translated(exchanges: Sequence[Exchange]) -> bool:
    """Return whether each byte comes as another one, the same one wherever it stands."""
    table: dict[int, int] = {}
    for each in exchanges[1:]:
        prefix = len(exchanges[1].came) - len(exchanges[1].sent)
        pairs = list(zip(each.sent, each.came[prefix:], strict=False))
        if prefix < 0 or len(each.came) != prefix + len(each.sent):
            return False
        if any(table.setdefault(sent, came) != came for sent, came in pairs):
            return False
    changed = any(sent != came for sent, came in table.items())
    return changed and len(set(table.values())) == len(table)


def _describe_translation(exchanges: Sequence[Exchange]) -> WrongForm | None:
    """Return that all bytes are translated, the first message too.

    Otherwise the prefix can be found, and then what each value comes back as.
    """
    first = exchanges[0]
    if first.came.endswith(first.sent):
        return None
    finding = f"each byte comes back as another one, always the same: {_list(exchanges[1:3])}"
    return WrongForm(finding, _TRANSLATES, facts={"form": "translated"})
