"""Small servers that return messages late, or in another form."""

from __future__ import annotations

_SERVER = """
import base64, itertools, json, socket, socketserver, sys, threading, time

class Each(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held = b''
        for number in itertools.count(1):
            data = self.request.recv(65536)
            if not data:
                break
            %(answer)s
        self.request.sendall(held)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

Server((sys.argv[1], int(sys.argv[2])), Each).serve_forever()
"""


def answering(form: str) -> str:
    """A server that answers each read by this expression of ``data`` and ``number``."""
    return _SERVER % {"answer": f"self.request.sendall({form})"}


def holding(answer: str) -> str:
    """A server that sends what this expression says, and keeps the rest until the next read.

    :param answer: what is sent, and what is ``held`` then, of ``held``, ``data`` and ``number``.
    """
    return _SERVER % {"answer": f"came, held = {answer}; self.request.sendall(came)"}


#: Both answers come after each second read.
IN_PAIRS = holding("(held + data, b'') if number % 2 == 0 else (b'', held + data)")
#: Each answer comes with the next read.
ONE_LATE = holding("(held, data)")
#: The first read is swallowed.
WITHOUT_FIRST = holding("(data if number > 1 else b'', b'')")
#: A read that is like the one before it is dropped.
WITHOUT_REPETITIONS = _SERVER % {
    "answer": "self.request.sendall(data * (data != vars(self).get('last'))); self.last = data"
}
#: Answers leave in blocks of 4096 bytes, as stdio writes to a pipe.
IN_BLOCKS = holding(
    "((held + data)[: len(held + data) // 4096 * 4096],"
    " (held + data)[len(held + data) // 4096 * 4096 :])"
)
