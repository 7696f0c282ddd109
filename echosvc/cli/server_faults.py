"""The faults of a server, ``--fault`` and ``--seed``."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from echosvc._log import log
from echosvc.faults.injector import FaultInjector
from echosvc.faults.spec import parse_named
from echosvc.server.injection import FaultLog
from echosvc.server.service import EchoService


def inject(reactor: Any, service: EchoService, faults: Iterable[str], seed: str | None) -> None:
    """Let a service that listens misbehave.

    :param seed: what all draws depend on; ``None`` = it is drawn, and logged.
    :raises FaultSpecError: a fault makes no sense, or is for TCP listeners, and a listener is none.
    """
    specs = [parse_named(each) for each in faults]
    seed = seed or secrets.token_hex(4)
    injector = FaultInjector(reactor, specs, seed, FaultLog(service.factory.events))
    for port in service.ports:
        injector.add_port(port)
    service.factory.injector = injector
    shown = " ".join(map(str, specs))
    log.info("Faults on purpose: {faults} seed = {seed}", faults=shown, seed=seed)
