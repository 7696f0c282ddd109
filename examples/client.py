"""A client: send lines as fast as the server takes them, and count the lines that come back.

Run it:  .venv/bin/python examples/client.py localhost:8107 100000

It needs a server: .venv/bin/twistd -n --pidfile= echosvc, or that of embed.py.
"""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.task import react

from echosvc import EchoClient, connect
from echosvc.endpoints import EndpointError, client_endpoint


async def send_lines(client: EchoClient, count: int) -> None:
    """Write ``count`` lines, wait whenever the high-water mark is reached, then half-close."""
    for number in range(count):
        await client.write(b"line %d\n" % number)
    client.finish()


async def talk(reactor: object, endpoint: str, count: int) -> None:
    """Send, receive to the end, and print the result."""
    try:
        client = await connect(client_endpoint(reactor, endpoint).endpoint, idle_timeout=5)
    except (EndpointError, ConnectError, DNSLookupError) as error:
        raise SystemExit(f"{endpoint}: {error}") from None
    print(f"connected: local = {client.local} remote = {client.remote}")
    sending = Deferred.fromCoroutine(send_lines(client, count))
    lines = 0
    while piece := await client.receive():
        lines += piece.count(b"\n")
    await sending
    outcome = await client.when_closed()
    print(f"{outcome.value}: {client.bytes_out} bytes out, {client.bytes_in} in, {lines} lines")
    if lines != count:
        raise SystemExit(f"{count - lines} lines are missing")


def main(reactor: object, endpoint: str = "localhost:8107", count: str = "1000") -> Deferred[None]:
    """Run the client on the reactor."""
    return Deferred.fromCoroutine(talk(reactor, endpoint, int(count)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
