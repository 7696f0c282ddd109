"""Settings from a configuration file, the environment and the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from twisted.internet.testing import MemoryReactorClock

from echosvc.cli.config_options import CONFIG, CONFIG_OPTIONS
from echosvc.cli.serve import ServeOptions
from echosvc.cli.serve_options import LISTEN, Options
from echosvc.cli.server_listeners import OF_LISTENER
from echosvc.config.json_schema import json_schema
from echosvc.config.sources import SourceError, from_environment
from tests.support.tls_files import Files

#: A value of each setting in a file that is no default, and the same as text.
VALUES: dict[str, tuple[Any, str]] = {
    "dialect": ("gateway-api", "gateway-api"),
    "prefix": ("> ", "> "),
    "greeting": ("hi\n", "hi\\n"),
    "discard": (True, "true"),
    "framing": ("line", "line"),
    "max-message": (9, "9"),
    "encoding": ("utf-8", "utf-8"),
    "idle-timeout": (3, "3"),
    "idle-action": ("close", "close"),
    "linger": (0.25, "0.25"),
    "handshake-timeout": (4, "4"),
    "stall-timeout": (5, "5"),
    "max-lifetime": (6, "6"),
    "max-connections": (7, "7"),
    "over-limit": ("refuse", "refuse"),
    "max-per-peer": (8, "8"),
    "allow": (["10.0.0.0/8", "::1"], "10.0.0.0/8  ::1"),
    "deny": (["::2"], "::2"),
    "proxy-protocol": ("require", "require"),
    "proxy-from": (["::3"], "::3"),
    "allow-half-open": (True, "true"),
    "keep-alive": (11, "11"),
    "nagle": (True, "true"),
    "drain": (12.5, "12.5"),
    "drain-delay": (1, "1"),
    "unready-delay": (2, "2"),
    "drain-spread": (3, "3"),
    "log": ("quiet", "quiet"),
    "tls-min-version": ("1.3", "1.3"),
    "tls-client-ca": ("/ca.pem", "/ca.pem"),
    "reactor": ("poll", "poll"),
    "logfile": ("/log", "/log"),
}
#: What some settings need besides.
NEEDS = {
    "proxy-protocol": {"proxy-from": ["::1"]},
    "proxy-from": {"proxy-protocol": "require"},
}
WRONG_TYPES = (5.5, [5], {"a": 1}, "nonsense-\\q")


def toml(values: Mapping[str, Any]) -> str:
    """These values are written in TOML as in JSON."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def parsed(*words: str, variables: Mapping[str, str] | None = None) -> ServeOptions:
    options = ServeOptions(variables or {})
    options.parseOptions(words)
    return options


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "f.toml"


def refused(
    capfd: pytest.CaptureFixture[str], *words: str, variables: Mapping[str, str] | None = None
) -> str:
    with pytest.raises(SystemExit) as leaving:
        parsed(*words, variables=variables).endpoints(MemoryReactorClock())
    assert leaving.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    return err.removeprefix("echosvc: ").rstrip("\n")


def test_every_setting_is_tried_here() -> None:
    settings = {each.option for each in ServeOptions.file_settings}
    assert set(VALUES) == settings, "VALUES of this file: a row for each setting, no other"


@pytest.mark.parametrize("key", VALUES)
def test_the_file_the_environment_and_the_command_line_mean_the_same(file: Path, key: str) -> None:
    value, text = VALUES[key]
    setting = next(each for each in ServeOptions.file_settings if each.option == key)
    needed = NEEDS.get(key, {})
    file.write_text(toml({**needed, key: value}))
    by_file = parsed("--config", str(file)).value(setting)
    needed_by_file = file.with_name("needed.toml")
    needed_by_file.write_text(toml(needed))
    variables = {setting.variable: text, "ECHOSVC_CONFIG": str(needed_by_file)}
    by_environment = parsed(variables=variables).value(setting)
    texts = text.split() if setting.kind.repeated else [text]
    words = [f"--{key}={each}" for each in texts] if setting.kind.metavar else [f"--{key}"]
    by_option = parsed(*words, "--config", str(needed_by_file)).value(setting)
    expected = tuple(value) if isinstance(value, list) else value
    assert by_file == expected != setting.default
    assert by_environment == by_option
    if key != "greeting":  # whose escape is that of the template, or that of TOML
        assert by_option == by_file


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(file: Path) -> None:
    file.write_text('drain = 1\nlinger = 1\nkeep-alive = 1\nlisten = ["1"]\nnagle = true')
    variables = {"ECHOSVC_LINGER": "2", "ECHOSVC_KEEP_ALIVE": "2", "ECHOSVC_LISTEN": "2 3"}
    config = "--config", str(file)
    found = parsed(*config, "--keep-alive", "3", "--no-nagle", variables=variables)
    assert (found.config.drain, found.config.linger, found.config.keep_alive) == (1, 2, 3)
    assert found.listen == ["2", "3"]
    assert not found.config.nagle
    assert parsed(*config, "-l", "4", variables=variables).listen == ["4"]
    assert parsed(*config).listen == ["1"]
    assert parsed(*config).config.nagle
    assert parsed().listen == ["tcp:8107"]
    options = {"ECHOSVC_CONFIG": str(file.with_name("absent"))}
    assert parsed(*config, variables=options).config.drain == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prefx = 'a'", "1: prefx: is no setting: is prefix meant?"),
        ("\nidle_timeout = 1", "2: idle_timeout: is no setting: is idle-timeout meant?"),
        ("[other]\nx = 1", "1: other: is no setting"),
        ("config = 'x'", "1: config: is no setting"),
        ("nagle = 1", "1: nagle: must be true or false, not 1"),
        ("\n\nallow = '::1'", "3: allow: must be a tuple of networks, not '::1'"),
        ("proxy-protocol = 'require'", " proxy-from: must name the proxies: a header is required"),
        ("proxy-from = ['::1']", "1: proxy-from: is of no use unless"),
        ("reactor = 'fast'", "1: reactor: must be one of"),
        ("listen = []", "1: listen: names no endpoint"),
        ("listen = 5", "1: listen: must be a list of endpoints, or tables [[listen]], not 5"),
        ("listen = [5]", "1: listen: an endpoint must be a str, not 5"),
        ("[listen]\nendpoint = '1'", "1: listen: must be a list of endpoints, or tables"),
        ("listen = ['1', 'x']", "1: listen 'x': "),
        ("[[listen]]\nendpont = '1'", "2: endpont: is no setting: is endpoint meant?"),
        ("[[listen]]\n[[listen]]\nendpoint = '1'", "1: listen: has no endpoint"),
        ("[[listen]]\nendpoint = 'x'", "2: listen 'x': "),
        ("[[listen]]\nendpoint = '1'\nprefix = ''", "3: prefix: is no setting"),
        ("[[listen]]\nendpoint = '1'\ntls-min-version = '1.3'",
         "3: tls-min-version: the listener does not speak TLS"),
        ("tls-client-ca = 'x'", "1: tls-client-ca: no --listen speaks TLS"),
        ("listen = ['9', 'tcp:9']", "1: listen 'tcp:9': has the address of"),
        ("listen = ['::1:9']", "1: listen '::1:9': "),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_one_line_with_its_place(
    file: Path, capfd: pytest.CaptureFixture[str], text: str, line: str
) -> None:
    file.write_text(text)
    assert refused(capfd, "--config", str(file)).startswith(f"{file}:{line}")


def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, why in (
        (f"{tmp_path}/absent", "ENOENT"),
        (str(tmp_path), "EISDIR"),
        ("", "ENOENT"),
        ("a\n\x1bb", "ENOENT"),
    ):
        assert why in refused(capfd, "--config", name)
        assert refused(capfd, variables={"ECHOSVC_CONFIG": name}).startswith("ECHOSVC_CONFIG: ")
    assert "longer" in refused(capfd, "--config", "/dev/zero")
    closed = tmp_path / "closed"
    closed.touch(0)
    if not os.access(closed, os.R_OK):  # root may read everything
        assert "EACCES" in refused(capfd, "--config", str(closed))


def test_a_wrong_variable_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    for name, value, line in (
        ("ECHOSVC_PREFX", "", "is no setting: is ECHOSVC_PREFIX meant?"),
        ("ECHOSVC_NAGLE", "yes", "must be true or false, not 'yes'"),
        ("ECHOSVC_DRAIN", "1m", "must be a number of seconds"),
        ("ECHOSVC_ALLOW", "::1 x", "'x' is no network"),
        ("ECHOSVC_LISTEN", "9 x", "'x': "),
    ):
        line_found = refused(capfd, variables={name: value})
        assert line_found.startswith(name)
        assert line in line_found


def test_variables_of_kubernetes_and_of_others_are_left_alone() -> None:
    theirs = (
        "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_ECHO", "PORT", "PORT_8107_TCP",
        "PORT_8107_TCP_PROTO", "PORT_8107_TCP_PORT", "PORT_8107_TCP_ADDR", "CANARY_PORT",
        "LISTEN_SERVICE_HOST", "LISTEN_PORT", "NODE_NAME",
    )  # fmt: skip
    assert parsed(variables={f"ECHOSVC_{name}": "x" for name in theirs}).given == {}
    for each in (LISTEN, *ServeOptions.file_settings, *CONFIG_OPTIONS):
        assert not each.variable.endswith(("_PORT", "_SERVICE_HOST")), "Kubernetes sets these"


def test_twistd_leaves_some_settings_to_its_own_command_line(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file.write_text("\nreactor = 'lean'")
    with pytest.raises(SystemExit) as leaving:
        Options({}).parseOptions(["--config", str(file)])
    assert leaving.value.code == 1
    assert capfd.readouterr().err == (
        f"echosvc: {file}:2: reactor: is set only by twistd --reactor=NAME echosvc\n"
    )
    with pytest.raises(SourceError, match="ECHOSVC_REACTOR: is set only by twistd"):
        from_environment({"ECHOSVC_REACTOR": "lean"}, (), Options.elsewhere)


def test_a_flag_given_both_ways_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(capfd, "--nagle", "--no-nagle") == "--nagle: is given with --no-nagle"


def test_two_listeners_on_one_address_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    for first, second in (
        ("9", "tcp:9"),
        ("9", "127.0.0.1:9"),
        ("tcp6:9", "9"),
        ("unix:/a", "unix:/a:mode=600"),
    ):
        line = refused(capfd, "-l", first, "-l", second)
        assert line == f"--listen {second!r}: has the address of --listen {first!r}, too"
    for first, second in (("0", "0"), ("127.0.0.1:9", "127.0.0.2:9"), ("9", "8")):
        assert len(parsed("-l", first, "-l", second).endpoints(MemoryReactorClock())) == 2


def printed(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as leaving:
        parsed(*words)
    assert leaving.value.code == 0
    return capfd.readouterr().out


def prefix(options: Options) -> bytes | None:
    names = ("hostname", "local", "peer", "connection", "tls_version", "tls_peer")
    values = {"pid": "7", **dict.fromkeys(names, "")}
    return options.config.prefix_template().bind(values).constant


def test_the_printed_settings_are_a_file_that_means_the_same(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    template = 'a"\\\\\x7f{pid}é😀' + os.fsdecode(b"\xff\x80")
    words = ["-p", template, "--greeting=", "--deny", "::1", "--deny", "::2", "--nagle"]
    words += ["--max-connections", "5", "-l", "127.0.0.1:0", "-l", "unix:/a b"]
    before = parsed(*words)
    file.write_text(printed(capfd, *words, "--print-config"))
    after = parsed("--config", str(file))
    assert prefix(after) == prefix(before) == 'a"\\\x7f7é😀'.encode() + b"\xff\x80"
    for each in ServeOptions.file_settings:
        if each.name != "prefix":
            assert after.value(each) == before.value(each)
    assert after.listen == before.listen
    file.write_text(printed(capfd, "--print-config"))
    assert parsed("--config", str(file)).config == parsed().config
    assert "\nnagle = true  # --nagle\n" in printed(capfd, *words, "--print-config")


def test_what_toml_cannot_express_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    line = refused(capfd, "--print-config", "-l", os.fsdecode(b"unix:/\xff"))
    assert line.startswith("--listen: has bytes that are not UTF-8")


def test_the_check_says_what_would_run_and_where_it_stands(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file.write_text("idle-timeout = 5\n[[listen]]\nendpoint = '127.0.0.1:9'\n")
    said = printed(capfd, "--check-config", "--config", str(file), "--drain", "7")
    rows = [line.split() for line in said.splitlines()[1:-1]]
    assert rows == [
        ["listen", "127.0.0.1:9", f"{file}:3:", "listen"],
        ["idle-timeout", "5", f"{file}:1:", "idle-timeout"],
        ["drain", "7.0", "--drain"],
    ]


def test_a_listener_may_have_tls_settings_of_its_own(
    file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    file.write_text("tls-min-version = '1.3'\nlisten = [" + json.dumps(files.listen) + "]")
    assert len(parsed("--config", str(file)).endpoints(MemoryReactorClock())) == 1
    table = f"[[listen]]\nendpoint = '{files.listen}'\ntls-client-ca ="
    file.write_text(f"{table} '{tmp_path}/absent'")
    line = refused(capfd, "--config", str(file))
    assert line.startswith(f"{file}:3: tls-client-ca: {tmp_path}/absent: ENOENT")
    file.write_text(f"{table} '{files.ca}'")
    said = printed(capfd, "--config", str(file), "--check-config")
    assert f"{files.listen} (tls-client-ca {files.ca})" in said


SCHEMA = json_schema(ServeOptions.file_settings, LISTEN, OF_LISTENER)


def accepted(file: Path, values: Mapping[str, Any]) -> bool:
    file.write_text(toml(values))
    try:
        parsed("--config", str(file))
    except SystemExit:
        return False
    return True


def test_the_schema_of_editors_takes_what_the_server_takes(file: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for key, (value, _) in VALUES.items():
        jsonschema.validate({key: value}, SCHEMA)
    for listen in (["9"], [{"endpoint": "9"}], [{"endpoint": "9", "tls-min-version": "1.3"}]):
        jsonschema.validate({"listen": listen}, SCHEMA)
        assert parsed_listen(file, listen)
    jsonschema.validate({}, SCHEMA)


def parsed_listen(file: Path, listen: list[Any]) -> list[str]:
    tables = [each if isinstance(each, dict) else {"endpoint": each} for each in listen]
    file.write_text("".join("[[listen]]\n" + toml(each) for each in tables))
    return parsed("--config", str(file)).listen


def test_the_schema_of_editors_refuses_what_is_of_a_wrong_type_or_name() -> None:
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid
    assert not valid({CONFIG.option: "x"})
    assert not valid({"prefx": ""})
    for wrong in ([5], "9", [{}], [{"endpoint": "9", "prefix": ""}], {"endpoint": "9"}):
        assert not valid({"listen": wrong})
    for key in VALUES:
        assert not valid({key: {"a": 1}}), key


@pytest.mark.parametrize("value", [True, -1, 5, 5.5, "x", "", ["::1"], [5]])
def test_what_the_schema_refuses_the_server_refuses(file: Path, value: Any) -> None:
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid
    for key in VALUES:
        if not valid({key: value}):
            assert not accepted(file, {key: value, **NEEDS.get(key, {})}), (key, value)
