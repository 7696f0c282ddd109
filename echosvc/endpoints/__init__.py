"""Endpoint strings to endpoints."""

from __future__ import annotations

from echosvc.endpoints.client import ClientTarget, client_endpoint
from echosvc.endpoints.server import server_endpoint
from echosvc.endpoints.strings import EndpointError

__all__ = ["ClientTarget", "EndpointError", "client_endpoint", "server_endpoint"]
