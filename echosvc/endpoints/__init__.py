"""Endpoint strings to endpoints."""

from __future__ import annotations

from echosvc.endpoints.client import Target, client_endpoint
from echosvc.endpoints.server import server_endpoint
from echosvc.endpoints.strings import EndpointError

__all__ = ["EndpointError", "Target", "client_endpoint", "server_endpoint"]
