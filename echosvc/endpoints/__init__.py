"""Endpoint strings to endpoints.

The names are imported when they are first used: a server needs nothing of the client's side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echosvc._lazy import importer

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


__getattr__ = importer(globals(), _MODULES)
