"""The command line of ``echosvc share``: options, lines, JSON, reports, exit statuses."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from echosvc.cli import main as cli
from echosvc.cli.commands import parser
from echosvc.cli.share import exit_status
from echosvc.probe.share.expectation import parse_expectations
from echosvc.probe.share.settings import ShareSettings
from tests.support.certificates import issue
from tests.support.junit import accepted
from tests.support.line_servers import endpoint, gateway_api, istio
from tests.support.process import ROOT, Process, Server, environment, running
from tests.support.waiting import LIMIT, wait_until

DOCUMENT = (ROOT / "docs/share.md").read_text("utf-8")
COMMAND = [sys.executable, "-m", "echosvc", "share"]
FEW = ("--connections", "40")


def share(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=4 * LIMIT, env=environment()
    )


def as_json(*words: str, status: int = 0) -> dict[str, Any]:
    done = share("--json", *words)
    assert (done.returncode, done.stderr) == (status, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--log", "quiet", "-p", "v1 {connection}/{message}: ") as it:
        yield it


@pytest.fixture(scope="module")
def to(server: Server) -> str:
    return f"tcp:127.0.0.1:{server.port}"


# -- options ------------------------------------------------------------------


def parsed(*words: str) -> ShareSettings:
    options = parser().parse_args(["share", *words])
    settings: ShareSettings = options.validate(options)
    return settings


def test_without_options_everything_has_its_default() -> None:
    assert parsed() == ShareSettings()


def test_every_option_is_understood() -> None:
    words = "--expect a=80±5,b=20+-5 --connections 7 --concurrency 3 --rate 2.5 --timeout 4"
    more = "--source-port 5-9 --watch 60 --framing line --identity v. --prefix v{pid}"
    asked = parsed("tcp:h:1", *words.split(), *more.split())
    assert asked.expect == parse_expectations("a=80±5,b=20±5")
    assert (asked.connections, asked.concurrency, asked.rate, asked.timeout) == (7, 3, 2.5, 4.0)
    assert (asked.source_ports, asked.watch) == ((5, 9), 60.0)
    assert (asked.framing, asked.identity, asked.dialect) == ("line", "v.", "echosvc")
    assert asked.prefix is not None
    assert parsed("--source-port", "7").source_ports == (7, 7)
    assert parsed("--dialect", "istio").dialect == "istio"


WRONG = (
    "--expect x", "--expect a=1", "--expect a=1±1,a=2±1", "--expect a=80±5,b=30±5", "--expect =",
    "--connections 0", "--connections x", "--connections -1", "--connections 10000001",
    "--connections 1.5", "--connections ٣", "--concurrency 0", "--concurrency 1001",
    "--rate 0", "--rate x", "--rate nan", "--timeout 0", "--timeout inf", "--watch 0", "--watch x",
    "--source-port 0", "--source-port 65536", "--source-port 9-5", "--source-port 5-",
    "--source-port x", "--source-port 1-2-3", "--dialect http", "--dialect", "--framing x",
    "--prefix {x}", "--identity (", "--identity=", "--send-proxy v3", "--junit", "--ca x", "a b",
    "--dialect istio --prefix x", "--dialect gateway-api --framing line",
    "--json --junit -", "--junit /no/such/place/x",
)  # fmt: skip


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_option_is_one_line_and_status_2(
    words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        status = cli.main(["share", *words.split(" ")])
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    out, err = capfd.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("echosvc: ")


@pytest.mark.parametrize("option", ["--prefix x", "--framing line"])
def test_an_option_of_another_dialect_is_named_as_it_is_typed(
    option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["share", "--dialect", "istio", *option.split()])
    must = "is for --dialect echosvc: the dialect istio has its own"
    assert capfd.readouterr().err == f"echosvc: {option.split()[0]} {must}\n"


def test_a_source_port_is_for_tcp() -> None:
    done = share("unix:/no/such/socket", "--source-port", "5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "echosvc: --source-port: only TCP has ports\n"


def test_the_help_has_examples_and_the_exit_statuses() -> None:
    done = share("--help")
    assert done.returncode == 0
    assert done.stdout.count("\n  echosvc share ") >= 2
    assert "3 not sure" in done.stdout


# -- what is printed ----------------------------------------------------------


def test_shares_are_lines_and_a_summary(to: str) -> None:
    done = share(to, *FEW)
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert re.fullmatch(r"v1 +40  100\.0 %  \d+\.\d to 100\.0 %", first)
    assert last.startswith(f"{to}: 40 connections; ")
    assert last.endswith(", 1 server, 0 failed; error 0.0001")


@pytest.mark.parametrize(
    ("expected", "status", "verdict"),
    [("v1=90±11", 0, "pass"), ("v1=50±5", 1, "fail"), ("v1=99±2", 3, "undecided")],
)
def test_an_expectation_passes_or_fails_or_is_not_sure(
    to: str, expected: str, status: int, verdict: str
) -> None:
    found = as_json(to, "--expect", expected, "--connections", "150", status=status)
    assert found["verdict"] == verdict
    assert (found["connections"]["counted"] == 150) == (verdict == "undecided")


def test_where_nobody_listens_it_fails_soon(tmp_path: Path) -> None:
    done = share(f"unix:{tmp_path}/nobody")
    assert done.returncode == 1
    assert "FAIL: none of 20 connections was answered" in done.stdout
    assert "refused 20: no connection to" in done.stdout
    assert "ENOENT" in done.stdout


@pytest.mark.parametrize(
    ("kind", "dialect", "names"),
    [(istio, "istio", ("one", "two")), (gateway_api, "gateway-api", ("v1-a-x", "v2-b-y"))],
)
def test_other_servers_are_asked_in_their_language(
    kind: Any, dialect: str, names: tuple[str, str]
) -> None:
    with kind(*names) as server:
        found = as_json(endpoint(server), "--dialect", dialect, *FEW)
        assert {name: each["count"] for name, each in found["shares"].items()} == {
            names[0]: 20,
            names[1]: 20,
        }
    assert len(set(server.ports)) == len(server.ports)  # each from a port of its own


def test_a_server_of_ours_speaks_the_language_of_istio_as_documented() -> None:
    words = ("--prefix", "one ", "--framing", "line")
    assert f"echosvc serve --prefix 'one ' --framing {words[3]}" in DOCUMENT
    with running("--log", "quiet", *words) as server:
        found = as_json(f"tcp:127.0.0.1:{server.port}", "--dialect", "istio", *FEW)
    assert found["shares"]["one"]["count"] == 40


@pytest.mark.parametrize(
    ("kind", "dialect", "why"),
    [
        (gateway_api, "istio", "not a word, a space and"),
        (istio, "gateway-api", "not the greeting"),
    ],
)
def test_a_server_of_another_language_is_a_mismatch_and_said_so(
    kind: Any, dialect: str, why: str
) -> None:
    with kind("one") as server:
        found = as_json(endpoint(server), "--dialect", dialect, "--connections", "3", status=1)
    assert found["failures"]["mismatch"]["count"] == 3
    assert why in found["failures"]["mismatch"]["example"]


def test_an_identity_makes_one_name_of_several() -> None:
    with gateway_api("v1-a-x", "v1-b-y", "v2-c-z") as server:
        words = ("--dialect", "gateway-api", "--identity", "^(v.)-", "--connections", "30")
        found = as_json(endpoint(server), *words)
    assert {name: each["count"] for name, each in found["shares"].items()} == {"v1": 20, "v2": 10}


def test_a_name_that_is_not_found_is_a_mismatch(to: str) -> None:
    found = as_json(to, "--identity", "^x", "--connections", "5", status=1)
    assert found["failures"]["mismatch"]["count"] == 5
    assert "does not match '^x'" in found["failures"]["mismatch"]["example"]


@pytest.mark.parametrize(
    ("asked", "ports"), [("23450-23454", range(23450, 23455)), ("23456", (23456,))]
)
def test_each_connection_has_a_port_that_is_asked_for(asked: str, ports: Any) -> None:
    with istio("one") as server:
        words = ("--dialect", "istio", "--connections", "12", "--source-port", asked)
        assert as_json(endpoint(server), *words)["connections"]["answered"] == 12
    assert len(server.ports) == 12
    assert set(server.ports) == set(ports)


@pytest.mark.slow
def test_tls_and_a_proxy_header_are_as_for_a_check(tmp_path: Path) -> None:
    pem, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    issued = issue("localhost", "127.0.0.1")
    pem.write_bytes(issued.pem)
    ca.write_bytes(issued.certificate_pem)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    proxy = ("--proxy-protocol", "require", "--proxy-from", "127.0.0.0/8")
    pod = environment() | {"POD_NAME": "p1"}
    options = ("--log", "connections", "--dialect", "gateway-api", *proxy)
    with running("-l", listen, *options, env=pod) as server:
        words = (f"tls:127.0.0.1:{server.port}", "--dialect", "gateway-api", "--connections", "3")
        found = as_json(*words, "--ca", str(ca), "--send-proxy", "v2")
        assert found["shares"]["p1"]["count"] == 3
        untrusted = as_json(*words, "--send-proxy", "v2", status=1)
    assert [*untrusted["failures"]] == ["tls"]


@pytest.mark.slow
def test_watched_shares_have_windows(to: str) -> None:
    found = as_json(to, "--watch", "1", "--rate", "50")
    assert len(found["windows"]) == 10
    assert found["changes"] == []
    assert 10 <= found["connections"]["counted"] <= 51


def test_junit_has_a_case_for_each_expected_share(to: str, tmp_path: Path) -> None:
    path = tmp_path / "share.xml"
    done = share(to, "--expect", "v1=50±5,v2=50±5", "--junit", str(path))
    assert done.returncode == 1
    suite = accepted(path.read_text("utf-8"))
    cases = {case.get("name"): [each.tag for each in case] for case in suite.iter("testcase")}
    assert cases == {
        "share of v1": ["failure"],
        "share of v2": ["failure"],
        "verdict": ["failure"],
    }


def test_junit_on_standard_output_takes_the_place_of_the_lines(to: str) -> None:
    done = share(to, "--expect", "v1=99±2", *FEW, "--junit", "-")
    assert done.returncode == 3
    suite = accepted(done.stdout)
    assert suite.get("errors") == "2"


# -- the end ------------------------------------------------------------------


def test_an_interrupt_prints_what_was_found_so_far() -> None:
    with istio("one") as server:
        words = [
            "--json",
            "--dialect",
            "istio",
            "--rate",
            "50",
            "--watch",
            "600",
            "--concurrency",
            "1",
        ]
        process = Process([*COMMAND, endpoint(server), *words])
        try:
            wait_until(lambda: len(server.ports) > 5)
            process.signal(signal.SIGINT)
            assert process.wait(4 * LIMIT) == 130
        finally:
            process.close()
    found = json.loads("\n".join(process.lines))
    assert (found["interrupted"], found["why"]) == (True, "interrupted")
    assert found["connections"]["counted"] > 3


@pytest.mark.slow
def test_on_a_terminal_a_line_shows_the_shares_meanwhile(to: str) -> None:
    pytest.importorskip("rich")
    leader, follower = pty.openpty()
    command = [*COMMAND, to, "--rate", "20", "--connections", "30"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=follower, env=environment() | {"TERM": "xterm"}
    ) as process:
        os.close(follower)
        end = threading.Timer(4 * LIMIT, process.kill)
        end.start()
        shown = b""
        with suppress(OSError):
            while piece := os.read(leader, 65536):
                shown += piece
        out = process.communicate(timeout=4 * LIMIT)[0].decode()
        end.cancel()
    os.close(leader)
    assert process.returncode == 0
    assert b"v1 100.0 %" in shown
    assert out.splitlines()[-1].endswith("error 0.0001")


def test_a_full_disk_is_reported(to: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, to, *FEW], stdout=full, stderr=subprocess.PIPE, timeout=4 * LIMIT,
            env=environment(), check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(b"echosvc: standard output: ENOSPC")


def test_every_verdict_has_its_exit_status() -> None:
    class Result:
        def __init__(self, verdict: str, ok: bool) -> None:
            self.verdict, self.ok = verdict, ok

    statuses = [
        exit_status(Result(*each))  # type: ignore[arg-type]
        for each in (("pass", True), ("fail", False), ("undecided", False), ("none", False))
    ]
    assert statuses == [0, 1, 3, 1]
