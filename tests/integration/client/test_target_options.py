"""The options and strings that name a server, its authorities and the client's certificate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from echosvc.cli import main as cli
from tests.support.commands import echosvc, one_line
from tests.support.process import Server, running
from tests.support.target import Asked, failed, fine, refusing, to
from tests.support.tls_files import Files

LOUD = "echosvc: WARNING: --insecure: NOTHING IS VERIFIED, any server is accepted"


@pytest.fixture(scope="module")
def demanding(files: Files) -> Iterator[Server]:
    words = "--tls-client-ca", str(files.ca), "--prefix", "{tls_peer}: "
    with running("--listen", files.listen, *words) as it:
        yield it


def test_authorities_are_the_options_or_the_strings(server: Server, files: Files) -> None:
    ca = f"{files.place}/root.pem"
    fine(*to(server), "--ca", ca)
    fine(*to(server, more=f":trustRoots={ca}"))


def test_without_them_an_unknown_authority_is_not_trusted(server: Server, files: Files) -> None:
    for words in ([], ["--ca", str(files.ca)]):
        said = failed(*to(server), *words)
        assert said.startswith("Socket Error: connect TLS: ")
        assert "certificate verify failed" in said
        assert said.count("\n") == 1


def test_the_server_must_be_who_it_is_asked_for_as(server: Server, files: Files) -> None:
    ca = "--ca", f"{files.place}/root.pem"
    assert "is for another name" in failed(*to(server, "127.0.0.1"), *ca)
    assert "is for another name" in failed(*to(server), *ca, "--server-name", "third.example")
    fine(*to(server, "127.0.0.1"), *ca, "--server-name", "localhost")
    fine(*to(server), *ca, "--server-name", "other.example")  # that one's certificate is shown


def test_insecure_believes_anybody_and_says_so_once(server: Server) -> None:
    for host in ("localhost", "127.0.0.1"):
        fine(*to(server, host), "--insecure", said=f"{LOUD}\n")
    done = echosvc("demo", "--to", f"tls:localhost:{server.port}", "--insecure")
    assert one_line(done.stderr) == LOUD  # for three conversations
    assert done.returncode == 0


@pytest.mark.slow
def test_insecure_asks_for_the_name_all_the_same() -> None:
    with Asked() as asked:
        for words, name in (
            ((), "localhost"),
            (("--server-name", "other.example"), "other.example"),
            (("--server-name", "127.0.0.1"), None),
        ):
            echosvc("send", "--to", f"tls:localhost:{asked.port}", "--insecure", *words, "hi")
            assert asked.names.pop() == name


@pytest.mark.slow
def test_it_shows_its_certificate(demanding: Server, files: Files) -> None:
    ca = "--ca", f"{files.place}/root.pem"
    one = files.of_client("somebody")
    whole = files.write("somebody.pem", one)
    alone = files.write("alone.pem", one, key=False)
    key = files.place / "somebody.key"
    key.write_bytes(one.key_pem)
    for words in (("--cert", str(whole)), ("--cert", str(alone), "--key", str(key))):
        words = (*to(demanding), *ca, *words, "--prefix", "somebody: ")
        fine(*words, reply=b"somebody: hi\n")
    more = f":certificate={alone}"
    words = (*to(demanding, more=more), *ca, "--key", str(key), "--prefix", "somebody: ")
    fine(*words, reply=b"somebody: hi\n")
    words = (*to(demanding), "--insecure", "--cert", str(whole), "--prefix", "somebody: ")
    fine(*words, reply=b"somebody: hi\n", said=f"{LOUD}\n")


def test_without_one_where_one_is_wanted_it_says_why(demanding: Server, files: Files) -> None:
    said = failed(*to(demanding), "--ca", f"{files.place}/root.pem")
    assert "certificate required" in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_short_forms_and_urls_are_taken_by_every_command(files: Files) -> None:
    with tempfile.TemporaryDirectory(prefix="echo") as place:
        path, pem = f"{place}/s", files.write("short.pem", files.of_server("localhost"))
        listen = "--listen=0", "--listen=127.0.0.1:0", f"--listen=unix://{path}"
        with running(*listen, f"--listen=ssl:0:privateKey={pem}") as server:
            server.wait_lines("Server listening", 4)
            both, one, tls = (each["port"] for each in server.listeners if "port" in each)
            for where in (
                f"{both}", f":{both}", f"localhost:{both}", f"127.0.0.1:{one}",
                f"tcp://localhost:{both}", f"tcp://127.0.0.1:{one}/", f"unix://{path}",
            ):  # fmt: skip
                fine("--to", where, "--quiet")
            fine("--to", f"tls://localhost:{tls}", "--ca", f"{files.place}/root.pem", "--quiet")
            done = echosvc("check", f"localhost:{both}", "--only", "echo")
            assert (done.returncode, done.stderr) == (0, b"")
            done = echosvc("demo", "--to", f"{both}")
            assert (done.returncode, done.stderr) == (0, b"")


def test_options_for_tls_go_with_a_url_of_tls_and_no_other() -> None:
    done = echosvc("send", "--to", "tcp://localhost:1", "--ca", "a", "hi")
    assert one_line(done.stderr).startswith("echosvc: --ca: is for tls: endpoints, and --to is")
    assert failed("--to", f"tls://localhost:{refusing()}", "--insecure").count("\n") == 2


def test_help_says_how_a_server_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("send", "check", "demo"):
        assert cli.main([command, "--help"]) == 0
        said = " ".join(capfd.readouterr().out.split())
        for form in ("HOST:PORT", "tcp:HOST:PORT", "tls:HOST:PORT", "unix:PATH", "tls://HOST:PORT"):
            assert form in said
        assert "NAME: in front selects an endpoint type" in said
