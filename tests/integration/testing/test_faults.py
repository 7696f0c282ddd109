"""Faults of the fixture ``echo_server``, which change in a running test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.sockets import exchange

if TYPE_CHECKING:
    from echosvc.testing import EchoServer

pytest_plugins = ["echosvc.testing"]


def test_faults_are_set_changed_and_counted(echo_server: EchoServer) -> None:
    echo_server.start(faults="drop=1,at=2", prefix="")
    assert exchange((echo_server.host, echo_server.port), b"hello") == b"helo"
    echo_server.change("drop=1,at=0")
    assert exchange((echo_server.host, echo_server.port), b"hello") == b"ello"
    echo_server.change(None)
    assert exchange((echo_server.host, echo_server.port), b"hello") == b"hello"
    assert echo_server.counts() == {"drop": 2}


def test_a_server_gets_faults_while_it_runs(echo_server: EchoServer) -> None:
    assert echo_server.counts() == {}
    echo_server.change("close,at=4")
    assert exchange((echo_server.host, echo_server.port), b"x") == b"Send"


def test_a_fault_that_makes_no_sense_leaves_the_server_as_it_is(echo_server: EchoServer) -> None:
    with pytest.raises(ValueError, match="there is no fault 'sloth'"):
        echo_server.start(faults="sloth")
    with pytest.raises(ValueError, match="there is no fault 'sloth'"):
        echo_server.change("sloth")
    assert exchange((echo_server.host, echo_server.port), b"x") == b"Sending: x"
