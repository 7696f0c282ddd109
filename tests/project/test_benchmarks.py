"""The load generator finds every fault; figures, tables and targets are right."""

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import chart, compare, document, lineup, programs, quiet, table, targets, workloads
from benchmarks.cli import choose, parser, too_many
from benchmarks.figures import ratio, summarize
from benchmarks.measure import Sample, read_report, understand
from benchmarks.process import Fault, environment, processors, serving
from benchmarks.profiling import by_line
from benchmarks.profiling import summarize as summarize_profile
from benchmarks.quiet import Watch, busy, pace
from benchmarks.results import Results
from benchmarks.rounds import IMPORT, Bench, quietest, wanting
from tests.support.process import LIMIT, ROOT, need, receive_exactly

PREFIX = b"Sending: "


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The compiled programs."""
    need("cc")
    return programs.build(tmp_path_factory.mktemp("programs"))


def load(built, mode, address, *options):
    """Run the load generator; its exit status and its report."""
    command = [str(built.load), mode, address, f"--limit={LIMIT:g}", "--seconds=0.1", "--warm=0"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=2 * LIMIT, check=False
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


# -- against servers with a fault ------------------------------------------------------


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
    assert (status, report["failures"]) == (1, 1)
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


# -- against the floor --------------------------------------------------------------------


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


@pytest.mark.parametrize("manner", [["sned"], ["send", "0"], ["send", "9999"], ["send", "4", "5"]])
def test_the_floor_knows_its_manners(built, manner):
    command = [str(built.floor), "127.0.0.1:1", *manner]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stderr[:13]) == (2, "floor: usage:")


@pytest.fixture(params=["tcp", "unix"])
def floor(request, built, tmp_path):
    """The C server, listening."""
    place = lineup.free_place(request.param, tmp_path / "floor", built.floor, ())
    with serving(lineup.BY_NAME["c"].command(place), place.address, place.directory) as server:
        yield server


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
    with pytest.raises(Fault, match=r"^64 B, Node: a wrong byte$"):
        understand(1, report, "", "64 B, Node")
    with pytest.raises(Fault, match=r"^64 B, Node: load: usage$"):
        understand(2, "", "load: usage\n", "64 B, Node")


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
    with pytest.raises(Fault, match=r"there is no C compiler"):
        programs.build(tmp_path)


def test_a_server_that_does_not_start_is_one_line(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such port')"]
    with (
        pytest.raises(Fault, match="does not listen: no such port"),
        serving(command, str(tmp_path / "s"), tmp_path),
    ):
        pass


# -- in memory ------------------------------------------------------------------------


def report(**more):
    return {
        "size": 64,
        "messages": 1000,
        "seconds": 0.5,
        "server_cpu": 0.01,
        "load_cpu": 0.2,
        "p50_us": 1,
        "p99_us": 2,
        "p999_us": 3,
        **more,
    }


def test_the_cost_is_the_servers_time_for_each_message():
    sample = read_report(report(), "ping")
    assert sample.cost == pytest.approx(10.0)  # µs
    assert sample.rate == pytest.approx(2000)
    assert not sample.limited


def test_the_cost_of_a_stream_is_for_each_gib():
    sample = read_report(report(size=1 << 29, messages=1), "bulk")
    assert sample.cost == pytest.approx(20.0)  # ms
    assert sample.rate == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("client", "server", "limited"),
    [(0.5, 0.3, True), (0.5, 0.49, False), (0.4, 0.3, False)],
)
def test_a_client_without_a_rest_is_the_bottleneck(client, server, limited):
    assert read_report(report(load_cpu=client, server_cpu=server), "ping").limited is limited


def test_the_cost_is_the_least_of_the_rounds_and_the_rest_are_medians():
    figures = summarize([Sample(3.0, 30), Sample(1.0, 10), Sample(20.0, 20)])
    assert (figures.cost, figures.median, figures.most) == (1.0, 3.0, 20.0)
    assert (figures.rate, figures.rounds, figures.limited) == (20, 3, False)
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, 0.0) is None


def test_the_least_disturbed_rounds_count_whatever_they_cost():
    workload = workloads.Workload("w", "w", rounds=2)
    samples = [Sample(1.0, foreign=0.5, pace=2.0), Sample(9.0, foreign=0.01, pace=2.0)]
    samples.append(Sample(1.0, foreign=0.01, pace=3.0))  # on a processor that was slower
    assert wanting(samples, workload, 2.0)
    samples.append(Sample(8.0, foreign=0.02, pace=2.0))
    assert not wanting(samples, workload, 2.0)
    assert [sample.cost for sample in quietest(samples, 2, 2.0)] == [9.0, 8.0]
    assert quietest(samples, 4, 2.0)[-1].disturbed == pytest.approx(0.51)  # both, together


def test_a_watch_tells_how_fast_the_processors_are(floor, monkeypatch):
    seen = []

    def watched():
        seen.append(os.sched_getaffinity(0))
        return pace()

    monkeypatch.setattr(quiet, "pace", watched)
    ours = os.sched_getaffinity(0)
    with Watch(floor) as watch:
        pass
    assert [on for on in processors() if on not in seen] == []  # the client's, the servers'
    assert 0 < watch.pace < 0.1
    assert watch.foreign >= 0
    assert os.sched_getaffinity(0) == ours


def bench_of(monkeypatch, paces, extra):
    """A bench whose samples have these paces, one after the other."""
    left = iter(paces)

    def sample(self, *_):
        taken = Sample(1.0, pace=next(left))
        self.best = min(self.best, taken.pace)
        return taken

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    return Bench(None, None, (), lambda words: None, extra), left


def test_a_disturbed_round_is_repeated(monkeypatch):
    bench, left = bench_of(monkeypatch, [3.0, 2.0, 3.0, 2.0, 9.0], math.inf)
    workload = workloads.Workload("w", "w", rounds=2)
    found = bench.measure(workload, [lineup.BY_NAME["ours"]])
    assert [sample.disturbed for sample in found["ours"]] == [0.0, 0.0]
    assert list(left) == [9.0]  # no more than needed


def test_the_cheapest_variant_takes_part(monkeypatch):
    costs = {("a", "1"): [3.0, 5.0], ("b", "2"): [9.0, 2.0], ("c", "3"): [4.0, 4.0]}
    base = lineup.Peer("c", "C", lambda place: ["floor"], variants=tuple(costs))
    measured = []

    def sample(self, server, workload, peer):
        manner = tuple(peer.command(None)[1:])
        measured.append(manner)
        return Sample(costs[manner].pop(0) if costs[manner] else 1.0)

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    bench = Bench(None, None, (), lambda words: None, 0.0)
    found = bench.measure(workloads.Workload("w", "title", rounds=3), [base])
    assert [each.cost for each in found["c"]] == [1.0, 1.0, 1.0]
    assert measured[-3:] == [("b", "2")] * 3
    assert bench.floors == {"title": "b 2"}
    made = Results(floors=bench.floors)
    assert table.notes(made) == ["the C server (manner, size of a read): title: b 2 KiB"]


def test_there_is_an_end_to_repeating(monkeypatch):
    workload, peers = workloads.Workload("w", "w", rounds=2), [lineup.BY_NAME["ours"]]
    bench, left = bench_of(monkeypatch, [2.0, *[3.0] * 9], math.inf)
    assert [sample.pace for sample in bench.measure(workload, peers)["ours"]] == [2.0, 3.0]
    assert len(list(left)) == 4  # of ten, two rounds and twice as many more were taken
    bench, left = bench_of(monkeypatch, [2.0, 3.0, 2.0], 0.0)
    bench.measure(workload, peers)
    assert list(left) == [2.0]


def test_a_watch_ends_with_what_it_watches(floor):
    before = set(threading.enumerate())  # some of other tests' may end meanwhile
    with pytest.raises(Fault), Watch(floor):
        raise Fault("a wrong byte")
    assert set(threading.enumerate()) - before == set()


def test_busy_time_is_all_but_idle_and_waiting():
    columns = "cpu  100 0 200 9999 9999 1 2 3 50 0\ncpu0 1 1 1\n"
    assert busy(columns) == pytest.approx(306 / 100, rel=1e-6)


def results(**costs):
    """Results of 64 B x 64 with these costs."""
    made = Results(machine={"kernel": "Linux 6"}, options="--quick")
    found = {peer: summarize([Sample(cost, 1000.0)]) for peer, cost in costs.items()}
    made.add(workloads.BY_NAME["pingpong-64x64"], found)
    return made


def row(*ratios):
    """A compared row with these ratios."""
    pairs = tuple((10.0, 10.0 * ratio) for ratio in ratios)
    return compare.Row(workloads.BY_NAME["bulk"], lineup.BY_NAME["ours"], pairs)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.9, 1.0, 1.02, 1.03, 1.3], ""),
        ([1.01, 1.02, 1.04, 1.05, 0.9], ""),
        ([1.01, 1.02, 1.04, 1.05, 1.06], "WORSE"),
        ([0.8, 0.9, 1.04, 1.05, 1.06], "unclear"),
    ],
)
def test_a_row_is_worse_by_its_median_unless_its_spread_forbids_to_say_so(ratios, verdict):
    assert row(*ratios).verdict == verdict


def test_the_comparison_names_what_is_worse():
    fine, worse, unclear = row(1.0, 1.0), row(1.1, 1.2), row(0.9, 1.2)
    assert compare.summary([fine]) == "worse by more than 3%: no row"
    assert compare.summary([fine, worse]) == "worse by more than 3%: stream, echosvc"
    assert "more rounds are needed: stream, echosvc" in compare.summary([unclear])
    text = table.as_text(compare.HEAD, compare.cells([worse]), compare.WORDS)
    assert text.splitlines()[1].split()[-6:] == ["11.5", "1.150", "1.125", "to", "1.175", "WORSE"]


def test_installations_are_measured_one_right_after_the_other_in_turn(monkeypatch):
    measured = []

    def sample(self, server, workload, peer):
        python = peer.command(lineup.Place("127.0.0.1:1", Path("/d"), Path("/f")))[0]
        measured.append(python)
        assert peer.installed
        return Sample(1.0 if python == "/other/python" else 2.0)

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    bench = Bench(None, None, (), lambda words: None, 0.0)
    chosen = [workloads.BY_NAME["bulk"]]
    (found,) = compare.compare_all(bench, chosen, ["ours"], Path("/other/python"), 3)
    assert found.pairs == ((1.0, 2.0),) * 3
    this, other = sys.executable, "/other/python"
    assert measured == [this, other, other, this, this, other]


def test_a_python_of_another_installation_is_found_in_its_directory(tmp_path):
    directory = Path(sys.executable).parent
    assert compare.interpreter(str(directory)) == directory / "python"
    assert compare.interpreter(sys.executable) == Path(sys.executable)
    with pytest.raises(argparse.ArgumentTypeError, match="there is no Python"):
        compare.interpreter(str(tmp_path))


def test_an_installed_server_does_not_get_this_checkout(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert environment()["PYTHONPATH"] == str(ROOT)
    assert "PYTHONPATH" not in environment(installed=True)


def test_two_installations_are_compared():
    need("cc")
    options = ["--quick", "--only=pingpong-64x1", "--peers=ours", "--rounds=2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, f"--against={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * LIMIT,
        check=False,
    )
    assert done.stderr == ""
    assert "64 B x 1" in done.stdout
    assert done.returncode == ("worse by more than 3%: no row" not in done.stdout)


def test_targets_are_judged_by_ratios():
    judged = targets.judge(results(c=4.0, lean=4.4, ours=10.0, node=6.0, plain=20.0))
    words = {(v.target.who, v.target.against): v.word for v in judged}
    assert words == {
        ("lean", "c"): "met",
        ("lean", "uvloop"): "not measured",
        ("lean", "node"): "NOT MET",
        ("ours", "plain"): "met",
        ("ours", "node"): "NOT MET",
        ("defaults", "plain"): "not measured",
        ("defaults", "node"): "not measured",
    }


def test_a_target_may_be_a_number_or_the_same_server():
    made = Results()
    made.add(workloads.BY_NAME["idle"], {"ours": summarize([Sample(1300.0)])})
    slow_and_fast = [Sample(12.0, alone=10.0), Sample(6.0, alone=5.0), Sample(13.0, alone=10.0)]
    made.add(workloads.BY_NAME["beside"], {"ours": summarize(slow_and_fast)})
    made.add(
        workloads.BY_NAME["start"],
        {"ours": summarize([Sample(130.0)]), IMPORT: summarize([Sample(100.0)])},
    )
    found = {(v.target.workload, v.target.against): v for v in targets.judge(made) if v.value}
    assert found["idle", targets.NUMBER].word == "met"
    assert found["beside", targets.ALONE].value == pytest.approx(1.2)
    assert found["beside", targets.ALONE].word == "NOT MET"
    assert found["start", IMPORT].word == "met"


def test_targets_speak_of_what_exists():
    for target in targets.TARGETS:
        workload = workloads.BY_NAME[target.workload]
        assert target.who in workload.peers
        assert target.words
    for workload in workloads.WORKLOADS:
        assert set(workload.peers) <= set(lineup.BY_NAME)


def test_the_table_is_aligned():
    text = table.as_text(table.HEAD, table.rows(results(c=4.0, ours=10.0, node=1234.5)))
    head, *lines = text.splitlines()
    assert [line.split()[:1] for line in lines] == [["64"], ["echosvc"], ["Node"]]
    end = head.index("cost") + len("cost")
    assert [line[:end].rsplit("  ")[-1].strip() for line in lines] == ["4.00", "10.0", "1,234"]
    assert lines[1].split()[-2:] == ["2.50", "0.01"]  # / C, / Node


def test_markdown_has_as_many_cells_in_each_row():
    text = table.as_markdown(table.HEAD, table.rows(results(c=4.0, ours=10.0)))
    assert {line.count("|") for line in text.splitlines()} == {len(table.HEAD) + 1}


def test_what_is_absent_is_named():
    made = results(c=4.0)
    made.absent["uvloop"] = "uvloop is not installed"
    made.left_out["idle connections"] = too_many(workloads.BY_NAME["idle"], 1024)
    assert table.notes(made) == [
        "uvloop is absent: uvloop is not installed",
        "idle connections is left out: it needs 10,200 descriptors and the limit is 1,024"
        " (ulimit -n)",
    ]


def test_the_chart_is_svg_with_every_value():
    picture = ET.fromstring(chart.draw(results(c=4.0, lean=4.25, ours=10.0, plain=20.0)))
    words = [element.text for element in picture.iter() if element.tag.endswith("text")]
    for expected in ("64 B x 64", "CPU µs/message (less is better)", "4.25", "10.0", "C (floor)"):
        assert expected in words
    assert float(picture.get("height")) > 0


@pytest.mark.parametrize("most", [1e-6, 0.3, 1, 3.9, 7.2, 23.8, 999, 1000, 3768, 123456])
def test_an_axis_ends_above_the_largest_value(most):
    marks = chart.ticks(most)
    assert marks[0] == 0
    assert marks[-1] >= most * (1 - 1e-9)
    assert marks[-2] < most
    assert 3 <= len(marks) <= 6


def test_the_document_has_all_parts_and_no_paths():
    made = results(c=4.0, ours=10.0)
    profile = summarize_profile("echosvc", 10.0, 0.5, [("a.f", f"{n}", 9) for n in range(20)])
    profile = replace(profile, memory=by_line([("a.f", "x = 1", 64000), ("a.f", "y = 2", 9)], 1000))
    profile = replace(profile, idle=0.0007)
    text = document.write(made, targets.judge(made), profile, 300.0)
    parts = ("## The machine", "## Results", "## Targets", "microseconds go", "connection holds")
    for part in (*parts, "| `a.f: x = 1` | 64 |", "all others", "0.07% of a processor"):
        assert part in text
    assert "python -m benchmarks --quick" in text
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert profile.functions == (("a.f", 1.0),)
    assert sum(share for _, share in profile.lines) == pytest.approx(1.0)


def test_memory_is_for_each_connection_by_line():
    counts = [("a", "x", 9000), ("b", "y", 20_000), ("a", "x", 1000), ("c", "z", 100)]
    assert by_line(counts, 1000) == (("b: y", 20.0), ("a: x", 10.0), ("all others", 0.1))


def test_the_results_are_json():
    made = results(c=4.123456789)
    whole = json.loads(made.as_json([verdict.as_dict() for verdict in targets.judge(made)]))
    assert whole["workloads"][0]["figures"]["c"]["cost"] == 4.12346
    assert whole["targets"][0]["verdict"] == "not measured"


def test_quick_is_a_shorter_part():
    every, quick = choose(parser().parse_args([])), choose(parser().parse_args(["--quick"]))
    assert len(every) == len(workloads.WORKLOADS)
    assert {workload.name for workload in quick} < {workload.name for workload in every}
    assert all(workload.rounds <= 2 for workload in quick)
    only = choose(parser().parse_args(["--only", "start,bulk"]))
    assert [workload.name for workload in only] == ["bulk", "start"]
