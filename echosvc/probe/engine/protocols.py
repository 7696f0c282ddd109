"""Servers of other protocols, recognised by what they send. No I/O, no Twisted."""

from __future__ import annotations

import re

_HTTP = "a middlebox speaks HTTP, or this is no echo server"
#: How the bytes of other servers begin, in lower case.
_BEGINNINGS = (
    (b"http/", _HTTP),
    (b"<!doctype html", _HTTP),  # HTTP/0.9 has no status line
    (b"<html", _HTTP),
    (b"ssh-", "an SSH server answers"),
    (b"220", "a server of mail or files (SMTP, FTP) answers"),
    (b"* ok", "a server of mail (IMAP) answers"),
    (b"+ok", "a server of mail (POP3) answers"),
    (b"rfb 00", "a server of screens (VNC) answers"),
    (b"\x15\x03", "the peer expects TLS: a TLS alert came"),
)
#: The commands of Telnet by which a server negotiates (RFC 854).
_TELNET = re.compile(rb"\xff[\xfb-\xfe]")
#: The first packet of MySQL: its length, number 0, version 10 of the protocol.
_MYSQL = re.compile(rb".{2}\0\0\x0a[0-9]+\.[0-9]+", re.DOTALL)
#: The characters that chargen sends, in lines of 72, each a character further (RFC 864).
_CHARACTERS = bytes(range(32, 127)) * 2
_CHARGEN_LINE = 72
_DAYTIME = re.compile(rb"(?<!\d)\d{1,2}:\d\d(:\d\d)?(?!\d)")
#: What a terminal edits, and what it makes of it: it removes a character before DEL, and sends CR
#: before LF.
TERMINAL_LINE, TERMINAL_EDITED = b"ab\x7fc\n", b"ac\r\n"
#: Longest answer of daytime, and the answer of time, bytes (RFC 867, RFC 868).
_MAX_DAYTIME, _TIME = 100, 4


def name_protocol(came: bytes) -> str:
    """Return which server answers in place of an echo server; "": none that is known."""
    begin = came[:32].lower()
    if words := next((words for start, words in _BEGINNINGS if begin.startswith(start)), ""):
        return words
    if _TELNET.match(came):
        return "a Telnet server answers, and negotiates options"
    if _MYSQL.match(came):
        return "a server of databases (MySQL) answers"
    return ""


def name_talker(came: bytes, ended: bool) -> str:
    """Return which server sends this before it is asked; "": none that is known.

    :param ended: the server has ended the connection then.
    """
    line = came[:_CHARGEN_LINE]
    if len(line) == _CHARGEN_LINE and line in _CHARACTERS:
        return "a chargen service answers (RFC 864)"
    if ended and len(came) <= _MAX_DAYTIME and _DAYTIME.search(came):
        return "a daytime service answers (RFC 867)"
    if ended and len(came) == _TIME:
        return "a time service answers (RFC 868)"
    return name_protocol(came)


def speaks_tls(came: bytes) -> bool:
    """Return whether this answers a ClientHello: a ServerHello or an alert, not the same again."""
    return came[:2] == b"\x15\x03" or (came[:2] == b"\x16\x03" and came[5:6] == b"\x02")
