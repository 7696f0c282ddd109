"""The answers of the Gateway API's test server are those of the original, to the byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.wire.gateway_api import TLSFacts, answer

PLACE = {"NAMESPACE": "ns", "INGRESS_NAME": "in", "SERVICE_NAME": "sv", "POD_NAME": "po"}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_three_commands_are_answered_however_their_line_ends(end: bytes) -> None:
    assert answer(b"PING" + end, {}, 0, None) == b"PONG\n"
    assert answer(b"IS_TLS" + end, {}, 0, None) == b"false\n"
    assert answer(b"IS_TLS" + end, {}, 0, TLSFacts("TLSv1.3")) == b"true\n"
    assert answer(b"TEST" + end, {}, 0, None).endswith(b'"isTLS":false}\n')


@pytest.mark.parametrize("line", [b"\n", b"", b"test\n", b" TEST\n", b"TEST \n", b"TEST\r\r\n"])
def test_other_lines_have_no_answer(line: bytes) -> None:
    assert answer(line, PLACE, 1, None) == b""


def test_the_context_is_one_line_of_json() -> None:
    assert answer(b"TEST\n", PLACE, 3000, None) == (
        b'{"namespace":"ns","ingress":"in","service":"sv","pod":"po","tcpport":"3000",'
        b'"isTLS":false}\n'
    )


def test_variables_that_are_not_set_are_empty() -> None:
    found = json.loads(answer(b"TEST\n", {}, 0, None))
    assert found == {**dict.fromkeys(("namespace", "ingress", "service", "pod"), ""),
                     "tcpport": "", "isTLS": False}  # fmt: skip


def test_the_ports_are_those_of_the_environment_or_the_connection_s_own() -> None:
    ports = {"TCP_PORT": "3000", "TLS_PORT": "8443"}
    secure = TLSFacts("TLSv1.3", cipher="TLS_AES_128_GCM_SHA256")
    for environment, tls, tcp_port, tls_port in (
        ({}, None, "5", None),
        ({}, secure, "", "5"),
        (ports, None, "3000", "8443"),
        (ports, secure, "3000", "8443"),
    ):
        found = json.loads(answer(b"TEST\n", environment, 5, tls))
        assert (found["tcpport"], found.get("tlsport")) == (tcp_port, tls_port)


def test_tls_is_described_in_the_words_of_go() -> None:
    facts = TLSFacts("TLSv1.3", "a.example", "h2", "x25519", "TLS_AES_256_GCM_SHA384")
    line = answer(b"TEST\n", {}, 0, facts)
    assert line.endswith(
        b'"isTLS":true,"tls":{"version":"TLS 1.3","serverName":"a.example",'
        b'"negotiatedProtocol":"h2","curves":"X25519","cipherSuite":"TLS_AES_256_GCM_SHA384"}}\n'
    )


def test_what_is_not_known_of_tls_is_left_out_or_empty() -> None:
    found = json.loads(answer(b"TEST\n", {}, 0, TLSFacts("TLSv1.2", cipher="x")))
    assert found["tls"] == {"version": "TLS 1.2", "serverName": "", "cipherSuite": "x"}


@pytest.mark.parametrize(
    ("openssl", "go"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        ("ECDHE-ECDSA-AES128-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
        ("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
        ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
    ],
)
def test_cipher_suites_have_the_names_that_go_has_for_them(openssl: str, go: str) -> None:
    assert TLSFacts("TLSv1.2", cipher=openssl).as_dict()["cipherSuite"] == go


@pytest.mark.parametrize(
    ("openssl", "go"),
    [("prime256v1", "CurveP256"), ("X25519MLKEM768", "X25519MLKEM768"), ("brainpool", "brainpool")],
)
def test_curves_have_the_names_that_go_has_for_them(openssl: str, go: str) -> None:
    assert TLSFacts("TLSv1.3", group=openssl).as_dict()["curves"] == go


def test_what_html_would_read_is_escaped_as_go_does_it() -> None:
    line = answer(b"TEST\n", {"POD_NAME": "<a&b>\u2028é"}, 0, None)
    assert b'"pod":"\\u003ca\\u0026b\\u003e\\u2028\xc3\xa9"' in line


@given(st.text(st.characters(exclude_characters="\0"), max_size=20), st.binary(max_size=20))
def test_any_environment_is_one_line_of_json(text: str, data: bytes) -> None:
    environment = {"POD_NAME": text, "NAMESPACE": data.decode("utf-8", "surrogateescape")}
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # no environment has it
    line = answer(b"TEST\n", environment, 0, None)
    assert line.count(b"\n") == 1
    assert json.loads(line)["pod"] == text
