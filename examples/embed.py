"""The echo service inside somebody else's application.

Run it:  .venv/bin/twistd -n --pidfile= -y examples/embed.py
Then:    .venv/bin/echosvc send -p '{hostname} says: ' --quiet "MORE AXES"

It answers in capitals, after the machine's name. (``send`` looks for what it sent in the answer,
so it is sent in capitals here.) It says every few seconds how many clients there are, and stops
with the application: live connections get their time to finish.
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
    """Answers with what it got, in capitals. One method is all there is to it."""

    def reply(self, message: bytes) -> bytes:
        """Answer one message."""
        return self.prefix + message.upper()


factory = EchoFactory(prefix="{hostname} says: ", idle_timeout=30, idle_action="close")
factory.protocol = Shouting


def report() -> None:
    """Say who is there."""
    log.info(
        "{count} clients, {bytes_in} bytes in, {bytes_out} out: {who}",
        count=factory.count,
        bytes_in=factory.bytes_in,
        bytes_out=factory.bytes_out,
        who=[connection.remote for connection in factory.connections],
    )


endpoint = serverFromString(reactor, os.environ.get("ECHO_LISTEN", "tcp:8107"))
services = MultiService()
EchoService(factory, [endpoint]).setServiceParent(services)
TimerService(5, report).setServiceParent(services)

application = Application("shouting")
services.setServiceParent(application)
