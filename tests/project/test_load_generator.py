"""The load generator finds every fault of a server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager, suppress

import pytest

from benchmarks import lineup, programs
from benchmarks.cli import parser
from benchmarks.measure import understand
from benchmarks.process import BenchmarkError, serving
from tests.support.process import ROOT, need
from tests.support.sockets import receive_exactly
from tests.support.waiting import LIMIT

PREFIX = b"Sending: "


def load(built, mode, address, *options):
    """Run the load generator; its exit status and its report."""
    command = [str(built.load), mode, address, f"--limit={LIMIT:g}", "--seconds=0.1", "--warm=0"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=2 * LIMIT, check=False
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@contextmanager
def answering(answer):
    """A server that answers each read, number n of its connection, with ``answer(n, data)``.

    It ends a connection on the client's FIN, or where the answer is ``None``.
    """

    def talk(client):
        with client, suppress(OSError):
            number = 0
            while data := client.recv(65536):
                reply = answer(number, data)
                if reply is None:
                    return
                client.sendall(reply)
                number += 1
            client.sendall(answer(-1, b"") or b"")

    def accept():
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                client.settimeout(LIMIT)
                threading.Thread(target=talk, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        thread.join(LIMIT)


def honest(number, data):
    return PREFIX + data if data else b""


def in_pieces(number, data):
    half = len(data) // 2
    return honest(number, data[:half]) + honest(number, data[half:])


@pytest.mark.parametrize("answer", [honest, in_pieces])
@pytest.mark.parametrize("mode", ["ping", "connect"])
def test_right_answers_pass_however_they_are_cut(built, mode, answer):
    with answering(answer) as address:
        status, report = load(built, mode, address, "--connections=3")
    assert (status, report["failures"], report["fault"]) == (0, 0, "")
    assert report["messages"] > 0


def test_a_window_goes_on_until_one_message_is_done(built):
    def late(number, data):
        time.sleep(0.3)  # three times the window
        return honest(number, data)

    with answering(late) as address:
        status, report = load(built, "ping", address)
    assert (status, report["failures"], report["messages"]) == (0, 0, 1)


def spoilt(where):
    """One reply with a wrong byte."""

    def answer(number, data):
        reply = bytearray(honest(number, data))
        if number == 1:
            reply[where] ^= 1
        return bytes(reply)

    return answer


def changed(change):
    """One reply that is another one."""
    return lambda number, data: change(data) if number == 1 else honest(number, data)


FAULTS = {
    "the first byte of a prefix": (spoilt(0), "a wrong byte in a prefix"),
    "the last byte of a prefix": (spoilt(8), "a wrong byte in a prefix"),
    "the first byte of the data": (spoilt(9), "a wrong byte"),
    "the last byte of the data": (spoilt(-1), "a wrong byte"),
    "a lost byte": (changed(lambda data: PREFIX + data[:20] + data[21:]), "a wrong byte"),
    "a lost last byte": (changed(lambda data: PREFIX + data[:-1]), "not all came back"),
    "a doubled byte": (changed(lambda data: PREFIX + data + data[-1:]), "more came back"),
    "a doubled reply": (changed(lambda data: 2 * (PREFIX + data)), "more came back"),
    "a doubled prefix": (changed(lambda data: PREFIX + PREFIX + data), "a wrong byte"),
    "a lost prefix": (changed(lambda data: data), "a wrong byte in a prefix"),
    "a lost reply": (changed(lambda data: b""), "not all came back"),
    "a cut stream": (changed(lambda data: None), "the stream ended too early"),
    "a prefix at the end": (lambda n, data: honest(n, data) or PREFIX, "more came back"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_load_generator_finds(built, name):
    answer, words = FAULTS[name]
    limit = "--limit=1" if words == "not all came back" else f"--limit={LIMIT:g}"
    with answering(answer) as address:
        status, report = load(built, "ping", address, limit)
    assert (status, report["failures"]) == (1, 1)
    assert words in report["fault"]


def test_a_reply_that_belongs_to_another_connection_is_found(built):
    first = []

    def answer(number, data):
        first.append(data)
        return honest(number, first[0]) if data else b""

    with answering(answer) as address:
        status, report = load(built, "connect", address, "--connections=2")
    assert status == 1
    assert report["failures"] >= 1  # of all connections that were ready when it ended
    assert "a wrong byte" in report["fault"]


VARYING = {
    b"Sending to 127.0.0.1:99: ": "",
    b"S: ": "",
    b"Xending to 127.0.0.1:99: ": "a wrong byte in a prefix",
    b"Sending to 127.0.0.1:99 ": "not all came back",
    b"": "a wrong byte in a prefix",
}


@pytest.mark.parametrize("prefix", VARYING)
def test_a_prefix_that_varies_still_begins_and_ends_as_it_must(built, prefix):
    fault = VARYING[prefix]
    limit = "--limit=1" if fault == "not all came back" else f"--limit={LIMIT:g}"
    with answering(lambda number, data: data and prefix + data) as address:
        status, report = load(built, "ping", address, "--prefix-varies", limit)
    assert status == bool(fault)
    assert fault in report["fault"]


def test_after_a_prefix_that_varies_every_byte_is_compared(built):
    def answer(number, data):
        return data and b"S 1: " + (data[:-1] + bytes([data[-1] ^ 1]) if number == 1 else data)

    with answering(answer) as address:
        status, report = load(built, "ping", address, "--prefix-varies")
    assert (status, report["failures"]) == (1, 1)
    assert "a wrong byte" in report["fault"]


BULK_FAULTS = {
    "a lost byte": lambda n, data: honest(n, data[1:] if n == 3 else data),
    "a repeated byte": lambda n, data: honest(n, data[:1] + data if n == 3 else data),
    "a lost read": lambda n, data: b"" if n == 3 else honest(n, data),
    "an end too early": lambda n, data: None if n == 3 else honest(n, data),
}


@pytest.mark.parametrize("mode", ["bulk", "duplex"])
@pytest.mark.parametrize("name", BULK_FAULTS)
def test_in_a_stream_it_finds(built, name, mode):
    with answering(BULK_FAULTS[name]) as address:
        status, report = load(built, mode, address, "--size=4000000", "--limit=2")
    assert status == 1
    assert report["failures"] in (1, 2)  # reading and writing may both meet an end, in one event


def test_nobody_listening_is_a_fault(built):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    status, report = load(built, "ping", address)
    assert status == 1
    assert "refused" in report["fault"]


@pytest.mark.parametrize("manner", lineup.FLOORS, ids=" ".join)
def test_every_manner_of_the_floor_passes(built, tmp_path, manner):
    peer = lineup.BY_NAME["c"].with_options(*manner)
    place = lineup.free_place("tcp", tmp_path / "floor", built.floor, ())
    with serving(peer.command(place), place.address, place.directory) as server:
        for options in (
            ["ping", "--connections=8", "--size=300000"],
            ["duplex", "--size=20000000"],
            ["connect", "--connections=8"],
        ):
            status, report = load(built, options[0], server.address, *options[1:])
            assert (status, report["failures"], report["fault"]) == (0, 0, "")
            assert report["messages"] > 0


def test_the_floor_in_python_passes(built, tmp_path):
    place = lineup.free_place("tcp", tmp_path / "floor", built.floor, ())
    command = lineup.BY_NAME["bare"].command(place)
    with serving(command, place.address, place.directory) as server:
        for options in (
            ["ping", "--connections=8", "--size=16384"],
            ["duplex", "--size=20000000"],
            ["bulk", "--size=20000000"],
        ):
            status, report = load(built, options[0], server.address, *options[1:])
            assert (status, report["failures"], report["fault"]) == (0, 0, "")
            assert report["messages"] > 0


@pytest.mark.parametrize("manner", [["sned"], ["send", "0"], ["send", "9999"], ["send", "4", "5"]])
def test_the_floor_knows_its_manners(built, manner):
    command = [str(built.floor), "127.0.0.1:1", *manner]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stderr[:13]) == (2, "floor: usage:")


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("ping", ("--connections=64",)),
        ("ping", ("--connections=8", "--size=16384")),
        ("ping", ("--connections=2", "--size=300000")),
        ("ping", ("--connections=4", "--idle=200")),
        ("bulk", ("--size=20000000",)),
        ("bulk", ("--size=20000000", "--late-fin")),
        ("duplex", ("--size=20000000",)),
        ("duplex", ("--size=20000000", "--late-fin")),
        ("connect", ("--connections=8",)),
        ("idle", ("--connections=100",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "".join(value),
)
def test_the_floor_passes(built, floor, mode, options):
    status, report = load(built, mode, floor.address, *options, f"--pid={floor.pid}")
    assert (status, report["failures"], report["fault"]) == (0, 0, "")
    if mode != "idle":
        assert report["messages"] > 0
        assert report["load_cpu"] > 0
        assert 0 < report["p50_us"] <= report["p99_us"] <= report["p999_us"]


def test_idle_connections_are_held_until_a_word_comes(built, floor):
    command = [str(built.load), "idle", floor.address, "--connections=50", f"--limit={LIMIT:g}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert json.loads(process.stdout.readline()) == {"held": 50}
        assert process.poll() is None
        assert floor.memory() > 0
        said, _ = process.communicate("go on\n", timeout=LIMIT)
    assert process.returncode == 0
    assert json.loads(said)["failures"] == 0


def test_the_floor_answers_fin_with_everything_and_fin(floor):
    family = socket.AF_UNIX if floor.address.startswith("/") else socket.AF_INET
    host, _, port = floor.address.rpartition(":")
    with socket.socket(family) as client:
        client.settimeout(LIMIT)
        client.connect(floor.address if family == socket.AF_UNIX else (host, int(port)))
        client.sendall(b"one")
        client.shutdown(socket.SHUT_WR)
        assert receive_exactly(client, 100) == b"Sending: one"


def test_tls_is_verified_too(built, tmp_path):
    files = programs.make_certificate(tmp_path)
    place = lineup.free_place("tls", tmp_path / "server", built.floor, files)
    peer = lineup.BY_NAME["asyncio"]
    with serving(peer.command(place), place.address, place.directory) as server:
        command = [str(built.load), "ping", server.address, "--tls", "--connections=4"]
        command += ["--seconds=0.2", "--size=20000", f"--limit={LIMIT:g}"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=2 * LIMIT, check=False
        )
    if "OpenSSL is not installed" in done.stderr:
        pytest.skip("the load generator finds no OpenSSL")
    report = json.loads(done.stdout)
    assert (done.returncode, report["failures"], report["fault"]) == (0, 0, "")
    assert report["messages"] > 0


def test_one_line_says_what_a_run_with_a_fault_was(built):
    report = '{"failures": 1, "fault": "a wrong byte"}'
    with pytest.raises(BenchmarkError, match=r"^64 B, Node: a wrong byte$"):
        understand(1, report, "", "64 B, Node")
    with pytest.raises(BenchmarkError, match=r"^64 B, Node: load: usage$"):
        understand(2, "", "load: usage\n", "64 B, Node")


@pytest.mark.slow
def test_a_whole_run(tmp_path):
    need("cc")
    out, picture = tmp_path / "out.json", tmp_path / "out.svg"
    options = ["--quick", "--only=pingpong-64x1", "--peers=c", f"--json={out}", f"--svg={picture}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "64 B x 1" in done.stdout
    (measured,) = json.loads(out.read_text())["workloads"]
    assert measured["figures"]["c"]["cost"] > 0
    assert ET.fromstring(picture.read_text()).tag.endswith("svg")


def test_names_that_are_not_known_are_refused(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["--only", "pingpong-64x64,nothing"])
    assert "not known: nothing" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--svg"])
@pytest.mark.parametrize("where", ["", "nowhere/file"])
def test_a_file_that_cannot_be_written_is_refused_at_once(capsys, tmp_path, option, where):
    with pytest.raises(SystemExit):
        parser().parse_args([option, str(tmp_path / where)])
    assert "no file can be written there" in capsys.readouterr().err


def test_without_a_compiler_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchmarkError, match=r"there is no C compiler"):
        programs.build(tmp_path)


def test_a_server_that_does_not_start_is_one_line(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such port')"]
    with (
        pytest.raises(BenchmarkError, match="does not listen: no such port"),
        serving(command, str(tmp_path / "s"), tmp_path),
    ):
        pass
