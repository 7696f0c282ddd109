"""Relays as people write them, right and wrong; and small servers."""

from __future__ import annotations

_NODE = """
const net = require('net');
const [port, host, toPort, toHost] = process.argv.slice(1);
net.createServer({allowHalfOpen: %(half_open)s}, (left) => {
  const right = net.connect({port: +toPort, host: toHost, allowHalfOpen: %(half_open)s});
  left.on('error', () => right.destroy());
  right.on('error', () => left.destroy());
  left.pipe(right);
  right.pipe(left);
}).listen({port: +port, host, backlog: 511});
"""
#: Each direction ends by itself.
NODE_HALF_OPEN = _NODE % {"half_open": "true"}
#: Node's default: at the client's FIN its own socket ends, whatever is still due.
NODE_DEFAULT = _NODE % {"half_open": "false"}

_PYTHON = """
import asyncio, sys
host, port, to_host, to_port = sys.argv[1:]

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        %(at_end)s
    except OSError:
        writer.close()

async def serve(reader, writer):
    to_reader, to_writer = await asyncio.open_connection(to_host, int(to_port))
    await asyncio.gather(copy(reader, to_writer), copy(to_reader, writer))
    writer.close(); to_writer.close()

async def main():
    server = await asyncio.start_server(serve, host, int(port), backlog=128)
    await server.serve_forever()

asyncio.run(main())
"""
#: Each direction ends by itself.
PYTHON_HALF_OPEN = _PYTHON % {"at_end": "writer.write_eof()"}
#: The end of one direction closes the other.
PYTHON_NAIVE = _PYTHON % {"at_end": "writer.close()"}

#: The first of them, through the SOCKS server ``{socks}``.
SOCKS_CLIENT = PYTHON_HALF_OPEN.replace(
    "to_reader, to_writer = await asyncio.open_connection(to_host, int(to_port))",
    """
    socks_host, socks_port = "{socks}".rsplit(":", 1)
    to_reader, to_writer = await asyncio.open_connection(socks_host, int(socks_port))
    to_writer.write(b"\\5\\1\\0")
    await to_reader.readexactly(2)
    address = bytes(map(int, to_host.split("."))) + int(to_port).to_bytes(2, "big")
    to_writer.write(b"\\5\\1\\0\\1" + address)
    await to_reader.readexactly(10)
""".strip(),
)

#: What comes from the server, its FIN included, is passed on 2 s later.
DELAYING = """
import asyncio, sys
host, port, to_host, to_port = sys.argv[1:]

async def copy(reader, writer, seconds):
    loop = asyncio.get_running_loop()
    while True:
        data = await reader.read(65536)
        loop.call_later(seconds, *((writer.write, data) if data else (writer.write_eof,)))
        if not data:
            return await asyncio.sleep(seconds)

async def serve(reader, writer):
    to_reader, to_writer = await asyncio.open_connection(to_host, int(to_port))
    await asyncio.gather(
        copy(reader, to_writer, 0), copy(to_reader, writer, 2), return_exceptions=True
    )
    writer.close(); to_writer.close()

async def main():
    server = await asyncio.start_server(serve, host, int(port), backlog=128)
    await server.serve_forever()

asyncio.run(main())
"""

_MAPPING = """
import socket, sys, threading
host, port, to_host, to_port = sys.argv[1:]

def change(data):
    %(change)s

def copy(source, target, changed):
    try:
        while data := source.recv(65536):
            target.sendall(change(data) if changed else data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def serve(left):
    right = socket.create_connection((to_host, int(to_port)))
    back = threading.Thread(target=copy, args=(right, left, %(back)s))
    back.start()
    copy(left, right, %(there)s)
    back.join()
    left.close()
    right.close()

with socket.create_server((host, int(port)), backlog=128) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def changing(change: str, there: bool = True, back: bool = False) -> str:
    """A relay that changes bytes.

    :param change: statements that return the bytes for ``data``.
    :param there: whether it changes what goes to the server.
    :param back: whether it changes what comes from it.
    """
    return _MAPPING % {"change": change, "there": there, "back": back}


#: A server that answers each line, without the blanks at its end.
TRIMMING_SERVER = """
import socketserver, sys

class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.strip() + b"\\n")

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

Server((sys.argv[1], int(sys.argv[2])), Lines).serve_forever()
"""
#: A server that reads to the end first.
READS_TO_THE_END = """
import socketserver, sys

class Whole(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read())

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

Server((sys.argv[1], int(sys.argv[2])), Whole).serve_forever()
"""

_SOCKETSERVER = """
import socketserver, sys, threading, time

class Each(socketserver.BaseRequestHandler):
    def handle(self):
        peer = self.request
        %(handle)s

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

Server((sys.argv[1], int(sys.argv[2])), Each).serve_forever()
"""


def serving(handle: str) -> str:
    """A server that runs these statements, one line, for each connection ``peer``."""
    return _SOCKETSERVER % {"handle": handle}


#: Answers once, and ends.
ANSWERS_ONCE = serving("peer.sendall(peer.recv(65536))")
#: Speaks first, then echoes.
GREETS = serving(
    "peer.sendall(b'220 ready\\r\\n');"
    " [peer.sendall(d) for d in iter(lambda: peer.recv(65536), b'')]"
)
#: Speaks SMTP, as far as a stranger can see.
SMTP = serving(
    "peer.sendall(b'220 mail.example ESMTP\\r\\n');"
    " [peer.sendall(b'500 unknown command\\r\\n') for d in iter(lambda: peer.recv(65536), b'')]"
)
#: Accepts, and says nothing for ever.
SILENT = serving("time.sleep(3600)")
#: Accepts, and resets each connection.
RESETS = serving(
    "import socket, struct; peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,"
    " struct.pack('ii', 1, 0))"
)
