"""The echo server: factory, protocol, admission, service."""
