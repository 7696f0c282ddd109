"""A server has one name, whatever its prefix counts, and two servers have two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.share.names import PrefixNames, name_text
from echosvc.wire.template import Template


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        (b"v1: ", "v1"),
        (b"Sending: ", "Sending"),
        (b"[blue] 17/3> ", "blue"),
        (b"web-1 4/1: ", "web-1"),
        (b"v1.2  eu: ", "v1.2 eu"),
        (b"1: ", "1"),
        (b"", ""),
        (b": ", ""),
        (b"\xff\xfe!", r"xff\xfe"),
    ],
)
def test_a_name_is_the_prefix_without_its_numbers_and_edges(prefix: bytes, name: str) -> None:
    assert PrefixNames(None).name(prefix) == name


def test_servers_that_are_numbers_have_names() -> None:
    names = PrefixNames(None)
    assert [names.name(b"1: "), names.name(b"2: "), names.name(b"1: ")] == ["1", "2", "1"]


def test_two_prefixes_that_differ_at_the_edges_only_are_two_servers() -> None:
    names = PrefixNames(None)
    assert [names.name(each) for each in (b"v1: ", b"v1> ", b"v1: ")] == ["v1", "v1> ", "v1"]


@pytest.mark.parametrize(
    ("template", "prefix", "name"),
    [
        ("{hostname} {connection}/{message}: ", b"node-7 12/1: ", "node-7"),
        ("{hostname}@{pid}: ", b"a@17: ", "a"),
        ("pid {pid}: ", b"pid 17: ", "17"),
        ("{local} {message}: ", b"10.0.0.1:80 1: ", "10.0.0.1:80"),
        ("v1 {connection}: ", b"v1 12: ", "v1"),
        ("", b"", ""),
    ],
)
def test_fields_of_a_template_name_a_server(template: str, prefix: bytes, name: str) -> None:
    assert PrefixNames(Template.parse(template)).name(prefix) == name


@given(st.binary(max_size=50), st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_that_stand_alone_change_no_name(prefix: bytes, one: int, two: int) -> None:
    names = PrefixNames(None)
    first, second = (names.name(b"v %d %s" % (number, prefix)) for number in (one, two))
    assert first == second


@given(st.binary())
def test_any_bytes_are_text(name: bytes) -> None:
    assert name_text(name).encode("utf-8").decode() == name_text(name)
