"""Servers of other protocols are named by what they send, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.checks.protocol_detection import client_hello
from echosvc.probe.engine.protocols import name_protocol, name_talker, speaks_tls

CHARGEN = bytes(range(32, 127)) * 2
MYSQL = b"J\0\0\0\x0a8.0.36\0\x08\0\0\0"


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b'<!DOCTYPE HTML>\n<html lang="en">', "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"220 mail.example ESMTP\r\n", "SMTP"),
        (b"* OK IMAP4rev1\r\n", "IMAP"),
        (b"+OK ready\r\n", "POP3"),
        (b"RFB 003.008\n", "VNC"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"\xff\xfd\x18\xff\xfd\x20", "Telnet"),
        (MYSQL, "MySQL"),
    ],
)
def test_a_server_is_named_by_its_first_bytes(came: bytes, words: str) -> None:
    assert words in name_protocol(came)


@pytest.mark.parametrize("start", [0, 1, 50, 94])
def test_chargen_is_named_from_any_line_on(start: int) -> None:
    assert "chargen" in name_talker(CHARGEN[start : start + 72] + b"\r\n", ended=False)


@pytest.mark.parametrize(
    "came", [b"Mon Nov 30 13:55:09 2026\r\n", b"30 NOV 2026 13:55:09 UTC\r\n", b"9:05\n"]
)
def test_daytime_is_a_time_of_day_and_the_end(came: bytes) -> None:
    assert "daytime" in name_talker(came, ended=True)
    assert name_talker(came, ended=False) == ""


def test_time_is_four_bytes_and_the_end() -> None:
    assert "a time service" in name_talker(b"\xee\xb7\xfe\xbe", ended=True)
    assert name_talker(b"\xee\xb7\xfe\xbe", ended=False) == ""


@pytest.mark.parametrize("greeting", [b"hello\n", b"Welcome at 10:30!\n", b"echo 1.0\r\n", b""])
def test_a_greeting_is_no_other_server(greeting: bytes) -> None:
    assert name_talker(greeting, ended=False) == ""


@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_is_named_in_a_line_or_not_at_all(came: bytes, ended: bool) -> None:
    assert name_talker(came, ended).isprintable()


def test_a_client_hello_is_answered_by_a_server_hello_or_an_alert_and_not_by_itself() -> None:
    hello = client_hello("localhost")
    assert hello[:2] == b"\x16\x03"
    assert b"localhost" in hello
    assert not speaks_tls(hello)  # from an echo server
    assert speaks_tls(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76")
    assert speaks_tls(b"\x15\x03\x01\x00\x02\x02\x46")
    assert not speaks_tls(b"Sending: " + hello)


def test_a_name_that_no_client_hello_can_hold_is_left_out() -> None:
    assert client_hello("a" * 300)[:2] == b"\x16\x03"
