"""Connections that are kept open for long: when each was not answered, and why."""
