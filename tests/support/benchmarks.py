"""The load generator, as the tests call it."""

from __future__ import annotations


def report(**more):
    return {
        "size": 64,
        "messages": 1000,
        "seconds": 0.5,
        "server_cpu": 0.01,
        "load_cpu": 0.2,
        "p50_us": 1,
        "p99_us": 2,
        "p999_us": 3,
        **more,
    }
