"""``check`` against paths that break one thing each, and against one that breaks nothing."""

from __future__ import annotations

import re

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import ProcessEndpoint, TCP4ClientEndpoint

from echosvc import EchoFactory, check
from echosvc.faults.spec import FaultSpec
from echosvc.probe.settings import MIB
from tests.support.certificates import issue
from tests.support.checking import FAST, TIMEOUT, checked, failure, failures
from tests.support.reactor import no_faults, serving, within
from tests.support.waiting import LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("run", range(5))
@pytest_twisted.ensureDeferred
async def test_a_clean_path_is_never_accused(run):
    result = await checked(FaultSpec())
    assert failures(result) == []
    assert result.ok
    skipped = {probe.name for probe in result.probes if probe.result == "skip"}
    assert skipped == {"tls", "proxy", "greeting"}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(FaultSpec(chunk_size=1), marks=pytest.mark.slow),
        FaultSpec(chunk_size=7, upstream=True),
        pytest.param(FaultSpec(delay=0.2), marks=pytest.mark.slow),
    ],
    ids=["1-byte", "7-byte", "200-ms"],
)
@pytest_twisted.ensureDeferred
async def test_small_segments_and_long_ways_are_no_fault(faults):
    # One thread sends each byte by itself: few connections, so that none waits for the others.
    few = {"max_size": 20000, "connections": 2, "timeout": LIMIT}
    result = await checked(faults, skip=("back-pressure", "rtt", "sizes"), **few)
    assert failures(result) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"prefix": ""},
        pytest.param({"prefix": "S"}, marks=pytest.mark.slow),
        pytest.param({"prefix": "\\xff\\x00"}, marks=pytest.mark.slow),
        {"greeting": "220 welcome\\n"},  # as servers of mail begin
        pytest.param({"greeting": "you are {connection}\\n"}, marks=pytest.mark.slow),
        {"prefix": "~"},
        pytest.param({"framing": "line"}, marks=pytest.mark.slow),
        pytest.param({"framing": "length"}, marks=pytest.mark.slow),
        pytest.param(
            {"framing": "length", "prefix": "", "greeting": "hello"}, marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_servers_of_all_kinds_are_no_fault(settings):
    framing = settings.get("framing", "chunk")
    skip = () if "framing" in settings and len(settings) == 1 else ("back-pressure",)
    result = await checked(None, servers=[settings], framing=framing, skip=skip)
    assert failures(result) == []


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["chunk", "line", "length"])
@pytest.mark.parametrize("prefix", ["{message}: ", "{hostname} {connection}/{message}", "<{peer}>"])
@pytest_twisted.ensureDeferred
async def test_prefixes_that_change_are_no_fault_where_they_are_given(prefix, framing):
    server = {"prefix": prefix, "framing": framing}
    result = await checked(
        None, servers=[server], prefix=prefix, framing=framing, skip=("back-pressure",)
    )
    assert {probe.name for probe in failures(result)} <= {"proxy"}  # the relay has its own address


@pytest_twisted.ensureDeferred
async def test_a_prefix_that_changes_is_to_be_given():
    result = await checked(None, "bytes", servers=[{"prefix": "{message}: "}])
    (echo, values) = result.probes
    assert (echo.name, echo.result, values.result) == ("echo", "fail", "skip")
    assert "changes from reply to reply: '1: ', then '2: '" in echo.finding
    assert "--prefix" in echo.cause


BOTH = pytest.mark.parametrize("upstream", [False, True], ids=["down", "up"])


@BOTH
@pytest_twisted.ensureDeferred
async def test_lost_bytes(upstream):
    probe = await failure(FaultSpec(upstream=upstream, drop=(100_000, 700)), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("lost", 700)
    if upstream:
        # Behind the token that was sent first; two stamps have most of their digits in common.
        assert 99_999 <= probe.facts["offset"] <= 99_999 + 8
    assert probe.finding.startswith(f"700 bytes lost at offset {probe.facts['offset']}: after ")


@BOTH
@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [("duplicate", "repeated", "came again"), ("swap", "reordered", "came before the")],
)
@pytest_twisted.ensureDeferred
async def test_bytes_that_come_twice_or_in_the_wrong_order(damage, kind, words, upstream):
    probe = await failure(FaultSpec(upstream=upstream, **{damage: (100_000, 700)}), "order")
    assert probe.facts["fault"] == kind
    assert words in probe.finding


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_changed_byte(upstream):
    probe = await failure(FaultSpec(upstream=upstream, flip=123_456), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("changed", 1)


@BOTH
@pytest_twisted.ensureDeferred
async def test_foreign_bytes(upstream):
    probe = await failure(FaultSpec(upstream=upstream, insert=(100_000, b"<html>")), "order")
    assert (probe.facts["fault"], probe.facts["length"]) == ("inserted", 6)
    assert "not sent by the client" in probe.finding


@BOTH
@pytest_twisted.ensureDeferred
async def test_a_path_that_cuts_at_64_kib(upstream):
    """It is the subject of sizes, and reported once."""
    probes = (await checked(FaultSpec(upstream=upstream, cut=65536), "sizes", "connections")).probes
    assert [probe.name for probe in probes] == ["sizes", "connections"]
    sizes, connections = probes
    assert sizes.result == "fail"
    assert 0.75 * 65536 <= sizes.facts["volume_bytes"] <= 65536
    assert "64 KiB" in sizes.finding or upstream
    assert connections.result == "pass"


@pytest_twisted.ensureDeferred
async def test_a_server_that_decodes_text():
    result = await checked(None, "text", "bytes", servers=[{"encoding": "utf-8"}])
    values, text = sorted(result.probes, key=lambda probe: probe.name)
    assert (values.result, text.result) == ("fail", "pass")
    assert "UTF-8" in values.cause


@pytest_twisted.ensureDeferred
async def test_a_path_that_mixes_connections_up_is_found():
    """The relay repeats what another connection sent: nothing that this one did."""
    probe = await failure(FaultSpec(insert=(70_000, b"x" * 5000)), "sizes")
    assert probe.facts["fault"] == "inserted"


@pytest_twisted.ensureDeferred
async def test_it_can_be_asked_from_python():
    async with serving(EchoFactory(log="quiet", prefix="{message}> ")) as (host, port):
        endpoint = f"tcp:{host}:{port}"
        result = await within(
            Deferred.fromCoroutine(
                check(endpoint, prefix="{message}> ", only=("order", "half-close"), max_size=MIB)
            )
        )
        assert (result.endpoint, result.ok, result.interrupted) == (endpoint, True, False)
        assert [(probe.name, probe.result) for probe in result.probes] == [
            ("order", "pass"),
            ("half-close", "pass"),
        ]
        made = TCP4ClientEndpoint(reactor, host, port)
        refused = await within(
            Deferred.fromCoroutine(check(made, reactor=reactor, prefix=b"x", only=("bytes",)))
        )
        assert [probe.result for probe in refused.probes] == ["fail", "skip"]
        assert "not of the form that --prefix gives" in refused.probes[0].finding


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_a_path_too(tmp_path):
    async with serving(EchoFactory(log="quiet"), f"unix:{tmp_path}/s"):
        result = await within(
            Deferred.fromCoroutine(check(f"unix:{tmp_path}/s", skip=FAST, max_size=MIB)), 60
        )
    assert failures(result) == []


@pytest_twisted.ensureDeferred
async def test_a_process_is_a_path_without_addresses_and_half_close():
    """Such as ``ssh -W`` or ``kubectl exec``: pipes to it and from it."""
    endpoint = ProcessEndpoint(reactor, "/bin/cat", ("cat",))
    with no_faults():
        run = check(endpoint, timeout=TIMEOUT, max_size=MIB, idle=(0.2,), find_idle=0.3)
        result = await within(Deferred.fromCoroutine(run), 60)
    found = {probe.name: (probe.result, probe.finding) for probe in result.probes}
    assert result.endpoint == "ProcessEndpoint"
    assert re.fullmatch(r"connected in [\d.]+ \S+", found["connect"][1])
    assert found["half-close"] == ("skip", "this transport cannot end one direction alone")
    assert found["proxy"] == ("skip", "this transport has no addresses that a header could name")
    assert found["reset"] == ("skip", "this transport has no resets")
    assert {name for name, (how, _) in found.items() if how == "pass"} == {
        "connect", "echo", "bytes", "sizes", "order", "text", "back-pressure", "connections",
        "idle",
    }  # fmt: skip
    assert "Nagle" not in found["rtt"][1]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("exit 3", "the connection ended by an unclean end before an answer"),
        ("head -c 1 >/dev/null", "the connection ended by FIN before an answer"),
        ("sleep 60", "no answer to '~' within 1.5 s: nothing came back"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_process_that_does_not_answer_fails_in_words(program, words):
    endpoint = ProcessEndpoint(reactor, "/bin/sh", ("sh", "-c", f"exec 2>&-; {program}"))
    with no_faults():
        run = check(endpoint, timeout=1.5, only=("connect", "echo"))
        result = await within(Deferred.fromCoroutine(run))
    assert [probe.result for probe in result.probes] == ["pass", "fail"]
    assert result.probes[1].finding.startswith(words)


@pytest_twisted.ensureDeferred
async def test_a_process_that_cannot_be_started_is_no_connection():
    endpoint = ProcessEndpoint(reactor, "/bin/there/is/none", ("none",))
    result = await within(Deferred.fromCoroutine(check(endpoint, only=("order",))))
    first = result.probes[0]
    assert (first.result, first.finding) == ("fail", "no connection to ProcessEndpoint: ENOENT")


@pytest_twisted.ensureDeferred
async def test_a_probe_that_is_skipped_names_the_result_that_explains_it():
    endpoint = ProcessEndpoint(reactor, "/bin/there/is/none", ("none",))
    result = await within(Deferred.fromCoroutine(check(endpoint, only=("order", "sizes"))))
    assert [probe.facts for probe in result.probes[1:]] == [{"see": "connect"}] * 2
    assert result.probes[1].as_dict()["see"] == "connect"


@pytest.mark.parametrize(
    "settings",
    [
        {"only": ("connect", "bytes", "half-close", "tls"), "max_size": 70_000},
        pytest.param({"skip": FAST, "max_size": MIB}, marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
@pytest_twisted.ensureDeferred
async def test_tls_is_described_and_carries_everything(settings, tmp_path):
    pem = tmp_path / "server.pem"
    pem.write_bytes(issue("localhost", days=30).pem)
    where = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
    async with serving(EchoFactory(log="quiet"), where) as (_, port):
        endpoint = f"tls:localhost:{port}:trustRoots={pem}"
        result = await within(Deferred.fromCoroutine(check(endpoint, **settings)), 60)
    assert failures(result) == []
    first, tls = (
        next(each for each in result.probes if each.name == n) for n in ("connect", "tls")
    )
    assert re.search(
        r" in [\d.]+ \S+, name resolved in .*, TLS handshake in [\d.]+ ", first.finding
    )
    assert first.facts["connect_seconds"] < first.facts["tls_seconds"]
    assert (tls.result, tls.facts["version"], tls.facts["days_left"]) == ("pass", "TLSv1.3", 29)
    assert tls.facts["chain"] == ["CN=localhost"]
