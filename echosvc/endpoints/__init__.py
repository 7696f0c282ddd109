"""Endpoint strings to endpoints."""
