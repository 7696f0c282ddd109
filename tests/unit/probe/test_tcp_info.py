"""What the kernel says of a connection: parsed by length, in words, and against ``ss``."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.net.socket_options import read_tcp_info
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.silence import explain_by_kernel
from echosvc.probe.engine.tcp_info import Stall, TCPInfo, describe_stall, parse_tcp_info
from tests.support.process import need
from tests.support.waiting import LIMIT, wait_until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is read on Linux alone")
#: Where <linux/tcp.h> puts some fields: the offset and the format of each.
PLACES = {
    "timeouts": (2, "B"),
    "probes": (3, "B"),
    "backoff": (4, "B"),
    "send_mss": (16, "=I"),
    "unacked": (24, "=I"),
    "sacked": (28, "=I"),
    "path_mtu": (60, "=I"),
    "announced_mss": (84, "=I"),
    "retransmits": (100, "=I"),
    "bytes_acked": (120, "=Q"),
    "unsent_bytes": (144, "=I"),
    "out_of_order": (224, "=I"),
    "send_window": (228, "=I"),
}


def packed(size: int = 240, state: int = 1, **fields: int) -> bytes:
    data = bytearray(240)
    data[0] = state
    for name, value in fields.items():
        offset, form = PLACES[name]
        struct.pack_into(form, data, offset, value)
    return bytes(data[:size])


def parsed(**fields: Any) -> TCPInfo:
    info = parse_tcp_info(packed(**fields))
    assert info is not None
    return info


def test_each_field_is_read_from_where_the_kernel_puts_it() -> None:
    wanted = {name: number for number, name in enumerate(PLACES, 7)}
    info = parsed(**wanted)
    assert {name: getattr(info, name) for name in PLACES} == wanted


def test_times_are_seconds_and_flags_are_names() -> None:
    data = bytearray(packed(state=4))
    data[5] = 1 | 2 | 8
    data[6] = 0x7A
    struct.pack_into("=I", data, 8, 204_000)
    struct.pack_into("=I", data, 8 + 4 * 15, 301_234)
    info = parse_tcp_info(bytes(data))
    assert info is not None
    assert (info.rto, info.rtt, info.state) == (0.204, 0.301234, "FIN_WAIT1")
    assert info.options == ("timestamps", "SACK", "ECN")
    assert info.window_scales == ((10, 7) if sys.byteorder == "little" else (7, 10))


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    info = parse_tcp_info(data)
    assert (info is None) == (len(data) < 104)
    if info is not None:
        assert (info.send_window is None) == (len(data) < 232)
        assert (info.bytes_acked is None) == (len(data) < 128)
        assert isinstance(describe_stall(info), str)


OPEN = {"send_window": 65536, "send_mss": 1448}


@pytest.mark.parametrize(
    ("stall", "fields"),
    [
        (Stall.TAKEN, {**OPEN}),
        (Stall.SENDING, {**OPEN, "unacked": 3, "timeouts": 1}),
        (Stall.DROPPED, {**OPEN, "unacked": 3, "timeouts": 2}),
        (Stall.FIN_DROPPED, {**OPEN, "unacked": 1, "timeouts": 4, "state": 4}),
        (Stall.FIN_TAKEN, {**OPEN, "state": 5}),
        (Stall.UNSENT, {**OPEN, "unsent_bytes": 1400, "probes": 2}),
        (Stall.SENDING, {**OPEN, "unsent_bytes": 1400}),
        (Stall.NOT_READ, {"send_mss": 1448, "unsent_bytes": 9, "backoff": 5}),
        (Stall.NOT_READ, {"send_mss": 1448, "unsent_bytes": 9, "send_window": 1447}),
        (Stall.NOT_READ, {"send_mss": 1448, "unacked": 2, "timeouts": 7}),
        (Stall.NOT_READ, {"probes": 1, "size": 104}),
        (Stall.DROPPED, {"unacked": 1, "timeouts": 2, "size": 104}),
        (Stall.TAKEN, {"size": 104}),
    ],
)
def test_the_cause_of_a_silence_follows_from_what_is_acknowledged(
    stall: Stall, fields: dict[str, int]
) -> None:
    info = parsed(**fields)
    assert info.stall is stall
    assert bool(describe_stall(info)) == (stall is not Stall.SENDING)
    assert info.facts["stall"] == stall.value


def silence(**more: Any) -> Failed:
    return Failed("nothing came", "it does not answer", end="silence", **more)


CUT = Fault(FaultKind.CUT, 0, 5)


def test_a_stream_that_stops_has_the_cause_that_the_kernel_knows() -> None:
    failed = explain_by_kernel(silence(fault=CUT), parsed(**OPEN))
    assert failed.cause.startswith("the next hop has acknowledged everything")
    assert failed.facts["tcp"]["send_window"] == 65536


def test_a_message_that_arrived_keeps_the_cause_that_its_bytes_have() -> None:
    assert explain_by_kernel(silence(), parsed(**OPEN)).cause == "it does not answer"
    dropped = explain_by_kernel(silence(), parsed(**OPEN, unacked=2, timeouts=3))
    assert dropped.cause.startswith("packets of ours are dropped")
    assert "2 segments 4 times" in dropped.cause


def test_bytes_on_their_way_and_unknown_kernels_change_no_cause() -> None:
    for info in (None, parsed(**OPEN, unacked=2)):
        assert explain_by_kernel(silence(fault=CUT), info).cause == "it does not answer"
    ended = Failed("it ended", "its cause", end="FIN")
    assert explain_by_kernel(ended, parsed(**OPEN, unacked=2, timeouts=3)).cause == "its cause"


def test_bytes_that_came_wrong_keep_their_cause() -> None:
    """Though nothing came after them."""
    wrong = silence(fault=Fault(FaultKind.CHANGED, 0, 5))
    assert explain_by_kernel(wrong, parsed(**OPEN)).cause == "it does not answer"


def test_a_message_of_a_router_comes_first() -> None:
    failed = explain_by_kernel(
        silence(), parsed(**OPEN, unacked=2, timeouts=3), "EHOSTUNREACH (no)"
    )
    assert "ICMP" in failed.cause
    assert failed.facts["soft_error"] == "EHOSTUNREACH"


@LINUX
def test_the_kernel_tells_others_the_same() -> None:
    need("ss")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), LIMIT) as client,
    ):
        client.sendall(b"some bytes")
        own = parse_tcp_info(read_tcp_info(client))
        command = ["ss", "-tinH", f"sport = :{client.getsockname()[1]}"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert own is not None
    for name, value in (
        (r"\bmss:(\d+)", own.send_mss),
        (r"\bpmtu:(\d+)", own.path_mtu),
        (r"\badvmss:(\d+)", own.announced_mss),
        (r"\bsegs_out:(\d+)", own.segments_sent),
        (r"\bbytes_acked:(\d+)", own.bytes_acked),
        (r"\bwscale:(\d+),", own.window_scales[0]),
    ):
        found = re.search(name, told.stdout)
        assert found is not None, (name, told.stdout)
        assert int(found[1]) == value, name


@LINUX
def test_a_peer_that_does_not_read_is_told_from_a_silent_one() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), LIMIT) as client,
    ):
        client.sendall(b"a message")
        wait_until(lambda: stall_of(client) is Stall.TAKEN)
        client.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                client.send(bytes(1 << 20))
        wait_until(lambda: stall_of(client) is Stall.NOT_READ)


def stall_of(client: socket.socket) -> Stall:
    info = parse_tcp_info(read_tcp_info(client))
    assert info is not None
    return info.stall
