"""The echo service inside another application.

Run it:  .venv/bin/twistd -n --pidfile= -y examples/embed.py
Then:    .venv/bin/echosvc send -p '{hostname} says: ' --quiet "MORE AXES"

It answers in capitals, after the name of the machine. (``send`` looks for its message in the
answer, so the message is in capitals here.) Every few seconds it logs how many clients there are.
It stops with the application: open connections are drained.
"""

from __future__ import annotations

import os

from twisted.application.internet import TimerService
from twisted.application.service import Application, MultiService
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger

from echosvc import EchoFactory, EchoProtocol, EchoService

log = Logger(namespace="example")


class Shouting(EchoProtocol):
    """Answer with the message in capitals. One method is enough."""

    def reply(self, message: bytes) -> bytes:
        """Answer one message."""
        return self.prefix + message.upper()


factory = EchoFactory(prefix="{hostname} says: ", idle_timeout=30, idle_action="close")
factory.protocol = Shouting


def report() -> None:
    """Log the open connections."""
    log.info(
        "{count} clients, {bytes_in} bytes in, {bytes_out} out: {clients}",
        count=factory.count,
        bytes_in=factory.bytes_in,
        bytes_out=factory.bytes_out,
        clients=[connection.remote for connection in factory.connections],
    )


endpoint = serverFromString(reactor, os.environ.get("ECHO_LISTEN", "tcp:8107"))
services = MultiService()
EchoService(factory, [endpoint]).setServiceParent(services)
TimerService(5, report).setServiceParent(services)

application = Application("shouting")
services.setServiceParent(application)
