"""Servers whose connections do not live for long, whatever is done on them."""

from __future__ import annotations

_SERVER = """
import asyncio, random, sys

live = set()

async def serve(reader, writer):
    live.add(writer)
    %(begin)s
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    live.discard(writer)
    writer.close()

async def main():
    await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2]), backlog=128)
    while True:
        await asyncio.sleep(%(seconds)s)
        for writer in list(live):
            %(end)s

asyncio.run(main())
"""

#: All connections end each 3 s, as at a restart.
RESTARTS = _SERVER % {"begin": "", "seconds": 3, "end": "writer.close()"}
#: Each connection lives 1 to 6 s.
LIVES_BY_CHANCE = _SERVER % {
    "begin": "asyncio.get_running_loop().call_later(random.uniform(1, 6), writer.close)",
    "seconds": 3600,
    "end": "pass",
}
