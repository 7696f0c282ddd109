"""The prefix and the greeting of a server, detected in the replies to first messages."""

from __future__ import annotations

import re

from echosvc._text import plural, quote
from echosvc.probe.engine.findings import Failed, tls_cause
from echosvc.probe.engine.protocols import name_protocol
from echosvc.probe.settings import CheckSettings
from echosvc.wire.prefix_matching import match_template, match_template_suffix
from echosvc.wire.template import Field, Template

#: The message that the prefix is detected with: one byte, which no path can cut.
TOKEN = b"~"
#: The next one on a connection. Some servers drop a message that is like the last one.
SECOND_TOKEN = b"^"
#: How PROXY headers begin, of both versions.
_PROXY_HEADERS = (b"PROXY TCP", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n")
#: Longest prefix that is detected, bytes.
MAX_PREFIX = 4096
_NUMBER = re.compile(rb"[0-9]+")
#: A number that is not part of a word.
_LONE_NUMBER = re.compile(rb"(?<![\w.-])[0-9]+(?![\w.-])")
#: A word. One of digits alone is a counter, while ``web1`` is a name.
_WORD = re.compile(r"[\w.-]+")


class AnsweredOnce(Failed):
    """The first message of a connection was answered, the second not."""


class UnclearPrefix(Failed):
    """Two messages were answered, but what came before them is no prefix."""


def strip_header(before: bytes, framing: str) -> bytes:
    """Return what came before a token without the length that stands before a reply."""
    return before[4:] if framing == "length" else before


def has_length_header(message: bytes) -> bool:
    """Return whether this is one message with its length in front."""
    return len(message) >= 4 and int.from_bytes(message[:4], "big") == len(message) - 4


def split_frames(data: bytes) -> list[bytes]:
    """Return the messages that have their length in front; the last one may not be whole."""
    messages = []
    while data:
        size = 4 + int.from_bytes(data[:4], "big")
        messages.append(data[4:size])
        data = data[size:]
    return messages


def missing_header(framing: str, second: bytes, token: bytes = TOKEN) -> Failed | None:
    """Return the failure of a server whose reply has no length header; ``None``: it has one.

    A server that echoes bytes as they come returns the length of a message with it. Then the
    facts of the failure have the framing.

    :param second: what came before the token of a second message.
    :param token: that message.
    """
    reply = second + token
    if framing != "length" or has_length_header(reply):
        return None
    finding = f"the answer {quote(reply)} has no length in front"
    if not reply.endswith(len(token).to_bytes(4, "big") + token):
        return Failed(finding, "another framing (--framing), or no echo server")
    cause = "the server answers bytes as they come, the length too (--framing chunk)"
    return Failed(finding, cause, facts={"framing": "chunk"})


def detect_prefix(
    settings: CheckSettings, first: bytes, second: bytes, token: bytes = TOKEN
) -> tuple[Template, bytes]:
    """Return prefix and greeting.

    :param first: what came before the first reply: greeting and prefix.
    :param second: what came before the second reply: the prefix.
    :param token: the message that was answered.
    :raises UnclearPrefix: the prefix changes, or does not match the one that was given.
    :raises Failed: it is too long, or a PROXY header came back.
    """
    if any(header in first for header in _PROXY_HEADERS):
        raise Failed(
            f"the PROXY header came back like a message: {quote(first)}",
            "the server, or the middlebox before it, does not expect one",
        )
    header = 4 * (settings.framing == "length")
    if len(second) > MAX_PREFIX:
        raise Failed(f"a prefix of {len(second)} bytes; no more than {MAX_PREFIX} are looked for")
    parts = first.split(token)
    if len(parts) > 1 and parts[0] and len(set(parts)) == 1:
        raise UnclearPrefix(
            f"{quote(token)} was answered {len(parts)} times",
            "several servers get the same bytes, or a middlebox repeats them",
        )
    if settings.prefix is not None:
        return _match_given(settings.prefix, first, second, header)
    if first.endswith(second):
        return Template.literal(second), first[: len(first) - len(second) - header]
    raise UnclearPrefix(
        f"the prefix changes from reply to reply: {quote(first)}, then {quote(second)}",
        f"{_advise_on_change(first, second)}; or several servers answer on one connection",
    )


def detect_form(
    settings: CheckSettings, first: bytes, second: bytes, tokens: tuple[bytes, bytes]
) -> tuple[Template, bytes]:
    """Return prefix and greeting, from all that came before the answers to two messages.

    :param tokens: these messages.
    :raises Failed: as :func:`detect_prefix` does, or there is no length header where one is due.
    """
    headless = missing_header(settings.framing, second, tokens[1])
    try:
        stripped = strip_header(second, settings.framing)
        detected = detect_prefix(settings, first, stripped, tokens[0])
    except Failed as failed:
        raise (headless if headless and headless.facts else failed) from None
    if headless is not None:
        raise headless
    return detected


def without_counters(prefix: str) -> str:
    """Return a prefix without the decimal numbers that stand alone."""
    return _WORD.sub(lambda word: "" if word[0].isdecimal() else word[0], prefix)


def _advise_on_change(first: bytes, second: bytes) -> str:
    """Return what is to be done about a prefix that changes.

    :param first: what came before the first reply: greeting and prefix.
    :param second: the second prefix.
    """
    for numbers in (_LONE_NUMBER, _NUMBER):
        template, text = number_template(second, numbers)
        if match_template_suffix(template, first) is not None:
            return f"numbers in it change: give it with --prefix {quote(text)}"
    return (
        "the server puts something else than a number there (a time, or what is random), which"
        " this check cannot verify"
    )


def number_template(prefix: bytes, numbers: re.Pattern[bytes] = _NUMBER) -> tuple[Template, bytes]:
    """Return a template of a prefix in which each number may be another one, and its text.

    :param numbers: what counts as a number.
    """
    field: bytes | Field = Field("message")
    texts = numbers.split(prefix)
    parts = [part for text in texts for part in (text, field)][:-1]
    escaped = (text.replace(b"{", b"{{").replace(b"}", b"}}") for text in texts)
    return Template(parts), b"{message}".join(escaped)


def _match_given(
    prefix: Template, first: bytes, second: bytes, header: int
) -> tuple[Template, bytes]:
    """Return the prefix that was given, and the greeting before it."""
    if match_template(prefix, second) is None:
        raise UnclearPrefix(
            f"the prefix is {quote(second)}, which is not of the form that --prefix gives",
            "another server answers, or --prefix is wrong",
        )
    found = match_template_suffix(prefix, first[header:])
    if found is not None:
        return prefix, first[: found[1]]
    raise UnclearPrefix(
        f"the first prefix is {quote(first)}, which is not of the form that --prefix gives;"
        f" the second is {quote(second)}",
        "bytes were lost, added or changed at the beginning of the stream",
    )


def recognize_prefix(
    settings: CheckSettings, known: Template, greeting: bytes, before: bytes
) -> tuple[Template, bytes]:
    """Return the prefix of one connection: its template, and its first text.

    :param known: the first connection's, as :func:`detect_prefix` returned it.
    :param before: what came before the first reply of this connection.
    :raises Failed: it does not match the prefix that was given.
    """
    header = 4 * (settings.framing == "length")
    prefix = before.removeprefix(greeting)[header:]
    if settings.prefix is None:
        constant = known.constant or b""
        if greeting and not before.startswith(greeting) and before.endswith(constant):
            prefix = constant  # behind another greeting
        return Template.literal(prefix), prefix
    template = match_template(known, prefix)
    if template is not None:
        return template, prefix
    found = match_template_suffix(known, before[header:])
    if found is None:
        raise Failed(
            f"the prefix is {quote(prefix)} on another connection, not of the form that"
            " --prefix gives",
            "another server answers on that connection",
        )
    return found[0], before[header:][found[1] :]


def describe_no_answer(
    reason: str, came: bytes, token: bytes, seconds: float, before: int, secure: bool = False
) -> tuple[str, str]:
    """Return that a token did not come back, in words, and the likeliest cause.

    :param reason: how the connection ended.
    :param seconds: how long it was waited for.
    :param before: on how many connections one did.
    :param secure: TLS is spoken already.
    """
    what = f"what came is {quote(came)}" if came else "nothing came back"
    if reason == "silence":
        why = f"no answer to {quote(token)} within {round(seconds, 2):g} s: {what}"
    else:
        why = f"the connection ended by {reason} before an answer to {quote(token)}: {what}"
    if reason.startswith("TLS"):
        return why, tls_cause(reason)
    if before and not came:
        return why, describe_refusal(before)
    if _line_end_differs(token, came):
        return why, "line ends are translated on the path, or by the server"
    return why, _likely_cause(reason, came, secure)


def _line_end_differs(token: bytes, came: bytes) -> bool:
    """Return whether a line came back, and only its end is another one."""
    end = came[len(came.rstrip(b"\r\n")) :]
    return token.endswith(b"\n") and end != b"" and came.removesuffix(end).endswith(token[:-1])


def describe_refusal(before: int) -> str:
    """Return why a connection is refused, or not answered, after others worked.

    :param before: how many others.
    """
    return (
        f"{plural(before, 'connection')} worked before: a limit of connections, a server that has"
        " ended or restarts, or one of several servers is dead"
    )


def describe_one_answer(reason: str, first: bytes, came: bytes, seconds: float) -> tuple[str, str]:
    """Return that only the first message was answered, in words, and the likeliest cause.

    :param reason: how the connection ended.
    :param first: the answer to the first message.
    :param came: what came after it.
    :param seconds: how long an answer was waited for.
    """
    end = f"nothing more came within {seconds:g} s" if reason == "silence" else f"came {reason}"
    then = f"came {quote(came)}, then {end}" if came else end
    finding = f"the first message was answered ({quote(first)}), the second not: then {then}"
    if reason.startswith("TLS"):
        return finding, tls_cause(reason)
    if reason == "silence":
        return finding, "the server answers one message of each connection; or it hangs"
    return finding, "the server, or a middlebox, ends each connection after one message"


def _likely_cause(reason: str, came: bytes, secure: bool) -> str:
    if came:
        return name_protocol(came) or "another framing (--framing), or no echo server"
    if reason == "silence":
        why = "the server does not answer; or another framing (--framing)"
        return why if secure else f"{why}; or TLS is expected"
    why = "a middlebox has no server to pass it to; or the server refuses"
    or_tls = (
        "or it wants a client's certificate (--cert, --key)" if secure else "or TLS is expected"
    )
    return f"{why}; {or_tls}"
