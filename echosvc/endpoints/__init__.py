"""Endpoint strings to endpoints.

The names are imported when they are first used: a server needs nothing of the client's side.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echosvc.endpoints.client import ClientTarget, client_endpoint
    from echosvc.endpoints.server import server_endpoint
    from echosvc.endpoints.strings import EndpointError

_MODULES = {
    "ClientTarget": "client",
    "EndpointError": "strings",
    "client_endpoint": "client",
    "server_endpoint": "server",
}

__all__ = ["ClientTarget", "EndpointError", "client_endpoint", "server_endpoint"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
