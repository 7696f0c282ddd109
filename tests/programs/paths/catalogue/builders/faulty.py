"""A relay that makes faults: ``python -m ... FAULTS HOST PORT TO_HOST TO_PORT``."""

from __future__ import annotations

import ast
import sys


def main() -> None:
    """Relay until the process is ended."""
    from twisted.internet import reactor

    from echosvc.faults.relay import Relay
    from echosvc.faults.spec import FaultSpec

    faults, host, port, to_host, to_port = sys.argv[1:]
    spec = FaultSpec(**ast.literal_eval(faults))
    relay = Relay(reactor, [(to_host, int(to_port))], spec)
    reactor.listenTCP(int(port), relay, backlog=128, interface=host)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
