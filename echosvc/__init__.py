"""An echo service and its client, for Twisted: the honest other end of a TCP path.

The names below are imported when they are first used, so that a program loads only what it
uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echosvc._lazy import importer
from echosvc._version import __version__

if TYPE_CHECKING:
    from echosvc.client import EchoClient, EchoClientFactory, connect
    from echosvc.config.schema import Config
    from echosvc.config.settings import ConfigError
    from echosvc.connection.outcome import Outcome
    from echosvc.net.proxy_endpoint import ProxyingEndpoint
    from echosvc.probe.aio import check_async
    from echosvc.probe.check import check
    from echosvc.probe.load.api import load, load_async
    from echosvc.probe.load.options import LoadOptionsError
    from echosvc.probe.result import CheckResult, ProbeResult
    from echosvc.probe.share.api import share, share_async
    from echosvc.probe.share.result import ShareResult
    from echosvc.probe.soak.api import soak, soak_async
    from echosvc.probe.soak.result import SoakResult
    from echosvc.probe.traffic.load_result import LoadResult
    from echosvc.server.factory import EchoFactory
    from echosvc.server.protocol import EchoProtocol
    from echosvc.server.service import EchoService
    from echosvc.tls.context import server_certificate
    from echosvc.tls.endpoints import TLSConnector, TLSListener

_MODULES = {
    "CheckResult": "probe.result",
    "Config": "config.schema",
    "ConfigError": "config.settings",
    "EchoClient": "client",
    "EchoClientFactory": "client",
    "EchoFactory": "server.factory",
    "EchoProtocol": "server.protocol",
    "EchoService": "server.service",
    "LoadOptionsError": "probe.load.options",
    "LoadResult": "probe.traffic.load_result",
    "Outcome": "connection.outcome",
    "ProbeResult": "probe.result",
    "ProxyingEndpoint": "net.proxy_endpoint",
    "ShareResult": "probe.share.result",
    "SoakResult": "probe.soak.result",
    "TLSConnector": "tls.endpoints",
    "TLSListener": "tls.endpoints",
    "check": "probe.check",
    "check_async": "probe.aio",
    "connect": "client",
    "load": "probe.load.api",
    "load_async": "probe.load.api",
    "server_certificate": "tls.context",
    "share": "probe.share.api",
    "share_async": "probe.share.api",
    "soak": "probe.soak.api",
    "soak_async": "probe.soak.api",
}

__all__ = [
    "CheckResult",
    "Config",
    "ConfigError",
    "EchoClient",
    "EchoClientFactory",
    "EchoFactory",
    "EchoProtocol",
    "EchoService",
    "LoadOptionsError",
    "LoadResult",
    "Outcome",
    "ProbeResult",
    "ProxyingEndpoint",
    "ShareResult",
    "SoakResult",
    "TLSConnector",
    "TLSListener",
    "__version__",
    "check",
    "check_async",
    "connect",
    "load",
    "load_async",
    "server_certificate",
    "share",
    "share_async",
    "soak",
    "soak_async",
]


__getattr__ = importer(globals(), _MODULES)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
