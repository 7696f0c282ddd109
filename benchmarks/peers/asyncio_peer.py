"""An echo with the prefix on asyncio's own protocols, or on uvloop's.

Usage: ``asyncio_peer.py [--uvloop] ADDRESS [CERTIFICATE KEY]``; ADDRESS is 127.0.0.1:PORT
or a path.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import cast


class PrefixedEcho(asyncio.Protocol):
    """Answers each read with the prefix and the data."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(b"Sending: " + data)


def context(files: list[str]) -> ssl.SSLContext | None:
    """TLS with a certificate and its key, if there are any."""
    if not files:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    return made


async def serve(address: str, *files: str) -> None:
    """Listen, and answer for ever."""
    loop, secure = asyncio.get_running_loop(), context(list(files))
    server: asyncio.AbstractServer
    if address.startswith("/"):
        server = await loop.create_unix_server(PrefixedEcho, address, backlog=511)
    else:
        host, _, port = address.rpartition(":")
        server = await loop.create_server(PrefixedEcho, host, int(port), ssl=secure, backlog=511)
    await server.serve_forever()


def main(arguments: list[str]) -> None:
    """Choose the event loop, and serve on it."""
    if arguments[0] == "--uvloop":
        import uvloop

        uvloop.install()
        arguments = arguments[1:]
    asyncio.run(serve(*arguments))


main(sys.argv[1:])
