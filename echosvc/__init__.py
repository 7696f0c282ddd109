"""An echo service and its client, for Twisted: the honest other end of a TCP path.

The names below are imported when they are first used, so that a program pays only for
what it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from echosvc._version import __version__

if TYPE_CHECKING:
    from echosvc.certificates import server_certificate
    from echosvc.client import EchoClient, EchoClientFactory, connect
    from echosvc.config import Config, ConfigError
    from echosvc.factory import EchoFactory
    from echosvc.probe.aio import check_async
    from echosvc.probe.check import check
    from echosvc.probe.result import CheckResult, ProbeResult
    from echosvc.proxying import ProxyingEndpoint
    from echosvc.report import Outcome
    from echosvc.secure import TLSConnector, TLSListener
    from echosvc.server import EchoProtocol
    from echosvc.service import EchoService

_HOMES = {
    "CheckResult": "probe.result",
    "Config": "config",
    "ConfigError": "config",
    "EchoClient": "client",
    "EchoClientFactory": "client",
    "EchoFactory": "factory",
    "EchoProtocol": "server",
    "EchoService": "service",
    "Outcome": "report",
    "ProbeResult": "probe.result",
    "ProxyingEndpoint": "proxying",
    "TLSConnector": "secure",
    "TLSListener": "secure",
    "check": "probe.check",
    "check_async": "probe.aio",
    "connect": "client",
    "server_certificate": "certificates",
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
    "Outcome",
    "ProbeResult",
    "ProxyingEndpoint",
    "TLSConnector",
    "TLSListener",
    "__version__",
    "check",
    "check_async",
    "connect",
    "server_certificate",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
