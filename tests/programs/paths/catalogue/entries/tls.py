"""TLS: what a client must be told about a certificate, or about a server without TLS."""

from __future__ import annotations

from tests.programs.paths.catalogue.builders.balancers import haproxy, nginx
from tests.programs.paths.catalogue.builders.servers import echosvc
from tests.programs.paths.catalogue.entry import BASIC, FAST, Entry, fails, passes

_TLS = Entry(
    "tls-unknown-authority",
    "a certificate of an authority that nobody knows",
    echosvc(tls=True),
    endpoint="tls:{host}:{port}",
    expected=(fails("connect", "certificate|authority|verif"),),
    limit=20.0,
)

ENTRIES = (
    _TLS,
    _TLS.also(
        "tls-wrong-name",
        "a certificate for another name",
        endpoint="tls:127.0.0.2:{port}",
        server=echosvc(tls=True, everywhere=True),
        options=("--ca", "{ca}", *FAST),
        expected=(fails("connect", "127.0.0.2|name", "certificate"),),
    ),
    _TLS.also(
        "tls-of-none",
        "TLS to a server without",
        server=echosvc(),
        options=("--ca", "{ca}", *FAST),
        expected=(fails("connect", "TLS"),),
    ),
    _TLS.also(
        "tls-wants-certificate",
        "HAProxy, which wants a certificate of the client",
        server=echosvc(),
        via=(haproxy(tls=True, wants_certificate=True),),
        options=("--ca", "{ca}", *FAST),
        expected=(fails("connect|echo", "certificate"),),
    ),
    _TLS.also(
        "tls-1.2",
        "nginx with TLS 1.2 alone",
        server=echosvc(),
        via=(nginx("proxy_half_close on; ssl_protocols TLSv1.2;", tls=True),),
        options=("--ca", "{ca}", *FAST),
        expected=(*passes(*BASIC, "tls"),),
    ),
    _TLS.also(
        "tls-passed-on",
        "nginx, which looks at the name and passes TLS on",
        via=(nginx("proxy_half_close on; ssl_preread on;"),),
        options=("--ca", "{ca}", *FAST),
        expected=(*passes(*BASIC, "tls", "half-close"),),
    ),
)
