"""What looks at the first bytes, or waits for others; and servers that are no echo servers."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.balancers import (
    envoy,
    envoy_filter,
    haproxy,
    nginx,
    nginx_http,
)
from tests.programs.paths.catalogue.builders.scripts import (
    ANSWERS_ONCE,
    READS_TO_THE_END,
    RESETS,
    SILENT,
    SMTP,
)
from tests.programs.paths.catalogue.builders.servers import (
    command,
    echosvc,
    nobody,
    python,
    xinetd,
)
from tests.programs.paths.catalogue.builders.ssh import sshd
from tests.programs.paths.catalogue.entry import BASIC, CLEAN, Entry, Line, fails, passes

_REST = passes(*(name for name in BASIC if name != "echo"))

#: Whoever speaks short at first is not answered: that is said, and nothing else accused of it.
_HELD_BACK = Line("first-bytes|greeting", "fail|info", ("first bytes",))

_PLAIN = Entry(
    "ssl-preread",
    "nginx with ssl_preread, which holds back a first message of 1 to 4 bytes",
    echosvc(),
    via=(nginx("proxy_half_close on; ssl_preread on; preread_timeout 30s;"),),
    expected=(*_REST, *passes("half-close"), _HELD_BACK),
)


def _no_echo(name: str, title: str, server: object, *says: str, **more: object) -> Entry:
    """A server that does not echo; the one failure names what it is."""
    return _PLAIN.also(
        name,
        title,
        server=server,
        somewhere="",
        limit=25.0,
        **{"via": (), "expected": (*passes("connect"), fails("echo", *says)), **more},
    )


ENTRIES = (
    _PLAIN,
    _PLAIN.also(
        "ssl-preread-rtt",
        "the same, one probe alone",
        options=("--only", "rtt"),
        expected=(_HELD_BACK,),
    ),
    _PLAIN.also(
        "envoy-tls-inspector",
        "Envoy with tls_inspector, which holds back a first message of 1 to 4 bytes",
        via=(envoy(listener_filters=[envoy_filter("listener", "tls_inspector", "TlsInspector")]),),
    ),
    _PLAIN.also(
        "envoy-http-inspector",
        "Envoy with http_inspector, which holds a first line back until it is whole",
        via=(
            envoy(listener_filters=[envoy_filter("listener", "http_inspector", "HttpInspector")]),
        ),
    ),
    _PLAIN.also(
        "inspect-delay-length",
        "HAProxy, which waits for 5 bytes, 5 s at most",
        via=(
            haproxy(
                listen="    tcp-request inspect-delay 5s\n"
                "    tcp-request content accept if { req.len gt 4 }"
            ),
        ),
    ),
    _PLAIN.also(
        "inspect-delay",
        "HAProxy, which waits 1 s for the first bytes in any case",
        via=(
            haproxy(
                listen="    tcp-request inspect-delay 1s\n"
                "    tcp-request content accept if WAIT_END"
            ),
        ),
        expected=CLEAN,
        somewhere="first",
        limit=120.0,
    ),
    _PLAIN.also(
        "inspect-delay-3-s",
        "HAProxy, which waits 3 s for the first bytes, or until its buffer is full",
        via=(
            haproxy(
                listen="    tcp-request inspect-delay 3s\n"
                "    tcp-request content accept if WAIT_END"
            ),
        ),
        options=("--only", "connect,echo,first-answer,bytes,order", "--max-size", "1M"),
        expected=(
            *passes("connect", "echo", "bytes", "order"),
            Line("first-answer", "info", (r"first answer after 3",)),
        ),
        nowhere="buffered output",
        somewhere="",
        limit=120.0,
    ),
    _no_echo("http", "a web server", nginx_http, "HTTP"),
    _no_echo(
        "http-python",
        "Python's web server",
        command("python3", "-m", "http.server", "--bind", "{host}", "{port}"),
        "HTTP",
    ),
    _no_echo("tls-expected", "a server that expects TLS", echosvc(tls=True), "TLS", "tls:"),
    _no_echo(
        "tls-expected-haproxy",
        "HAProxy, which expects TLS",
        echosvc(),
        "TLS",
        "tls:",
        via=(haproxy(tls=True),),
    ),
    _no_echo(
        "proxy-expected",
        "HAProxy, which expects a PROXY header",
        echosvc(),
        "PROXY",
        via=(haproxy(bind="accept-proxy"),),
    ),
    _no_echo(
        "proxy-expected-echosvc",
        "a server that expects a PROXY header",
        echosvc("--proxy-protocol", "require", "--proxy-from", "127.0.0.0/8"),
        "PROXY",
    ),
    _no_echo("smtp", "a server of SMTP", python(SMTP), "220|SMTP"),
    _no_echo("silent", "a server that says nothing", python(SILENT), "answer"),
    _no_echo(
        "resets",
        "a server that resets each connection",
        python(RESETS),
        expected=(
            Line("connect", "pass|info"),  # the reset may come before the connection is used
            fails("echo", "RST|FIN|reset"),
        ),
    ),
    _no_echo("answers-once", "a server that answers once", python(ANSWERS_ONCE), "FIN|one|once"),
    _no_echo(
        "haproxy-http",
        "HAProxy in HTTP mode",
        echosvc(),
        "HTTP",
        via=(haproxy(listen="    mode http\n    timeout http-request 10s"),),
    ),
    _no_echo(
        "no-backend",
        "HAProxy whose server does not run",
        nobody,
        "no server|has no server|dead|backend",
        via=(haproxy(listen="    retries 0"),),
    ),
    _no_echo("chargen", "chargen", xinetd("chargen"), "chargen|without being asked|unasked|asks?"),
    _no_echo("daytime", "daytime", xinetd("daytime"), "daytime|greeting|without being asked|date"),
    _no_echo("discard", "discard", xinetd("discard"), "discard|no answer|not answered|nothing"),
    _no_echo("ssh", "a server of SSH", sshd, "SSH"),
    _no_echo(
        "reads-to-the-end", "a server that answers after FIN", python(READS_TO_THE_END), "FIN"
    ),
    _no_echo(
        "wrong-framing-line",
        "a server of lines, asked without",
        echosvc("--framing", "line"),
        "--framing line",
    ),
    _no_echo(
        "wrong-framing-length",
        "a server of messages with their length in front, asked without",
        echosvc("--framing", "length"),
        "--framing length",
    ),
    _PLAIN.also(
        "tty",
        "a terminal in the path",
        server=command(
            "socat", "TCP-LISTEN:{port},bind={host},fork,reuseaddr,backlog=128", "EXEC:cat,pty"
        ),
        via=(),
        expected=(*passes("connect"), fails("echo|bytes|tty|terminal", "terminal|tty")),
        somewhere="",
    ),
)
