"""Prefix and greeting, as a first exchange tells them. No Twisted, no I/O."""

from __future__ import annotations

from echosvc._text import quote
from echosvc.probe.engine.findings import Failed, tls_cause
from echosvc.probe.settings import Settings
from echosvc.wire.prefix_matching import match_template, match_template_suffix
from echosvc.wire.template import Template

#: What the prefix is learned with: one byte, which no path can cut.
TOKEN = b"~"
#: How PROXY headers begin, of both versions.
_HEADERS = (b"PROXY TCP", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n")


#: Longest prefix that is looked for, bytes.
LONGEST = 4096


def without_header(before: bytes, framing: str) -> bytes:
    """Give what came before a token, without the length that stands before a reply."""
    return before[4:] if framing == "length" else before


def in_length(message: bytes) -> bool:
    """Whether this is one message with its length in front."""
    return len(message) >= 4 and int.from_bytes(message[:4], "big") == len(message) - 4


def unframed(framing: str, second: bytes) -> Failed | None:
    """Tell a server that answers the length of a message with it.

    :param second: what came before the token of a second message.
    :return: the failure, with the framing among its facts where that is known; or ``None``.
    """
    reply = second + TOKEN
    if framing != "length" or in_length(reply):
        return None
    finding = f"the answer {quote(reply)} has no length in front"
    if not reply.endswith(len(TOKEN).to_bytes(4, "big") + TOKEN):
        return Failed(finding, "another framing (--framing), or no echo server")
    cause = "it answers bytes as they come, the length too (--framing chunk)"
    return Failed(finding, cause, facts={"framing": "chunk"})


def learned(settings: Settings, first: bytes, second: bytes) -> tuple[Template, bytes]:
    """Give prefix and greeting, from what came before the first reply and before the second.

    :raises Failed: the prefix changes, or is not of the form that was given.
    """
    if any(header in first for header in _HEADERS):
        raise Failed(
            f"the PROXY header came back like a message: {quote(first)}",
            "the server, or what is before it, does not expect one",
        )
    header = 4 * (settings.framing == "length")
    if len(second) > LONGEST:
        raise Failed(f"a prefix of {len(second)} bytes; no more than {LONGEST} are looked for")
    parts = first.split(TOKEN)
    if len(parts) > 1 and parts[0] and len(set(parts)) == 1:
        raise Failed(
            f"{quote(TOKEN)} was answered {len(parts)} times",
            "several servers get the same bytes, or something between repeats them",
        )
    if settings.prefix is not None:
        if match_template(settings.prefix, second) is None:
            raise Failed(
                f"the prefix is {quote(second)}, which is not of the form that --prefix gives",
                "another server answers, or --prefix is wrong",
            )
        found = match_template_suffix(settings.prefix, first[header:])
        if found is not None:
            return settings.prefix, first[: found[1]]
        raise Failed(
            f"the first prefix is {quote(first)}, which is not of the form that --prefix gives;"
            f" the second is {quote(second)}",
            "bytes were lost, added or changed at the beginning of the stream",
        )
    if first.endswith(second):
        return Template.literal(second), first[: len(first) - len(second) - header]
    raise Failed(
        f"the prefix changes from reply to reply: {quote(first)}, then {quote(second)}",
        "give it with --prefix in the server's template syntax, such as '{message}: '; or several"
        " servers answer on one connection",
    )


def recognized(
    settings: Settings, known: Template, greeting: bytes, before: bytes
) -> tuple[Template, bytes]:
    """Give the prefix of one connection, from what came before its first reply.

    :param known: the first connection's, as :func:`learned` gave it.
    :raises Failed: it is not of the form that was given.
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
            "another server answers there",
        )
    return found[0], before[header:][found[1] :]


def no_answer(
    how: str, came: bytes, token: bytes, settings: Settings, before: bool, secure: bool = False
) -> tuple[str, str]:
    """Say that a token did not come back, and the likeliest cause.

    :param before: on another connection one did.
    :param secure: TLS is spoken already.
    """
    what = f"what came is {quote(came)}" if came else "nothing came back"
    if how == "silence":
        why = f"no answer to {quote(token)} within {settings.timeout:g} s: {what}"
    else:
        why = f"the connection ended by {how} before an answer to {quote(token)}: {what}"
    if how.startswith("TLS"):
        return why, tls_cause(how)
    if before and not came:
        return why, "a limit of connections, or one of several servers is dead"
    return why, _cause(how, came, secure)


def one_answer(how: str, first: bytes, came: bytes, seconds: float) -> tuple[str, str]:
    """Say that the first message on a connection was answered and the second not, and why.

    :param how: the connection's end.
    :param first: the answer to the first one.
    :param came: what came after it.
    :param seconds: how long an answer was waited for.
    """
    end = f"nothing more came within {seconds:g} s" if how == "silence" else f"came {how}"
    then = f"came {quote(came)}, then {end}" if came else end
    finding = f"the first message was answered ({quote(first)}), the second not: then {then}"
    if how.startswith("TLS"):
        return finding, tls_cause(how)
    if how == "silence":
        return finding, "the server answers one message of each connection; or it got stuck"
    return finding, "the server, or something between, ends each connection after one message"


_HTTP = "something between speaks HTTP, or this is no echo server"
#: How those begin who are no echo servers, in small letters.
_STRANGERS = (
    (b"http/", _HTTP),
    (b"<!doctype html", _HTTP),  # HTTP/0.9 has no status line
    (b"<html", _HTTP),
    (b"ssh-", "an SSH server answers there"),
    (b"220", "a server of mail or files (SMTP, FTP) answers there"),
    (b"\x15\x03", "TLS is expected there: an alert of TLS came"),
)


def stranger(came: bytes) -> str:
    """Say who answers instead of an echo server; ``""``: nobody that is known."""
    begin = came[:32].lower()
    return next((words for begins, words in _STRANGERS if begin.startswith(begins)), "")


def _cause(how: str, came: bytes, secure: bool) -> str:
    if came:
        return stranger(came) or "another framing (--framing), or no echo server"
    if how == "silence":
        why = "the far end does not answer; or another framing (--framing)"
        return why if secure else f"{why}; or TLS is expected"
    why = "something between has nobody to pass it to; or the server refuses"
    or_tls = (
        "or it wants a client's certificate (--cert, --key)" if secure else "or TLS is expected"
    )
    return f"{why}; {or_tls}"
