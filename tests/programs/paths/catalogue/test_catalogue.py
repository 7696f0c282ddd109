"""``echosvc check`` says the truth about each path of the catalogue."""

from __future__ import annotations

import os

import pytest

from tests.programs.paths.catalogue.entry import Entry
from tests.programs.paths.catalogue.registry import load
from tests.programs.paths.catalogue.runner import run

pytestmark = pytest.mark.programs


#: One of each kind, and short. The command runs the others.
TESTED = (
    "direct-tls",
    "envoy",
    "nginx-closes-alone",
    "rinetd",
    "envoy-lifetime-idle",
    "idle-envoy",
    "idle-firewall-reset",
    "nginx-limit-conn",
    "tty",
    "volume-fin",
    "ssl-preread-rtt",
    "tls-expected-haproxy",
    "proxy-expected",
    "chargen",
    "crlf-left",
    "reject-icmp-host-prohibited",
    "send-reject-icmp-admin-prohibited",
    "tls-wants-certificate",
)
#: Set it to run all of them.
_WHOLE = "ECHOSVC_WHOLE_CATALOGUE"
_KNOWN = load()
_ENTRIES = list(_KNOWN.values()) if os.environ.get(_WHOLE) else [_KNOWN[name] for name in TESTED]


@pytest.mark.parametrize("entry", _ENTRIES, ids=lambda entry: entry.name)
def test_the_check_says_what_is_true_of_the_path(entry: Entry) -> None:
    done = run(entry)
    assert not done.faults, "\n".join((*done.faults, *done.lines))
