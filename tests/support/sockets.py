"""Plain blocking sockets whose every call is bounded."""

from __future__ import annotations

import errno
import fcntl
import socket
import ssl
import termios
from pathlib import Path
from typing import Any

from echosvc import Outcome
from tests.support.payload import MIB, READ, payload
from tests.support.waiting import LIMIT, wait_until, wait_until_settled


def connect(address: tuple[str, int] | str, receive_buffer: int = 0) -> socket.socket:
    """A blocking client socket whose every call is bounded.

    :param address: a pair, or a UNIX path.
    :param receive_buffer: SO_RCVBUF, for a reader that the sender soon has to wait for.
    """
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(LIMIT)
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def receive_all(client: socket.socket) -> bytes:
    """Everything until the peer's FIN."""
    pieces = []
    while piece := client.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def receive_exactly(client: socket.socket, size: int) -> bytes:
    """``size`` bytes, or what came before the peer's FIN."""
    pieces = []
    while size and (piece := client.recv(min(size, 1 << 20))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def exchange(address: tuple[str, int] | str, data: bytes) -> bytes:
    """Send ``data`` and FIN at once; give everything that comes back."""
    with connect(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return receive_all(client)


def reset(client: socket.socket) -> None:
    """Close with a RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


def unread_by_peer(client: socket.socket) -> int:
    """Bytes that a TCP peer on this machine has not read: on their way, or in its buffer."""
    unsent = int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), "little")
    ends = client.getpeername()[1], client.getsockname()[1]
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text("ascii").splitlines()[1:]:
            _, local, remote, _, queues, *_ = row.split()
            if (int(local[-4:], 16), int(remote[-4:], 16)) == ends:
                return unsent + int(queues.partition(":")[2], 16)
    return unsent


def send_as_one_read(client: socket.socket, data: bytes) -> None:
    """Send ``data``; return once the peer has read it, so that what follows is another read."""
    client.sendall(data)
    wait_until(lambda: not unread_by_peer(client))


def wait_until_stalled(client: socket.socket) -> None:
    """Return once the peer reads no more of what another thread sends, or has read everything."""
    wait_until_settled(lambda: unread_by_peer(client))


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def push(client: socket.socket, data: bytes = payload(READ)) -> int:
    """Send until the kernel takes no more; give how much it took."""
    client.setblocking(False)
    sent = 0
    try:
        while True:
            sent += client.send(data)
    except (BlockingIOError, ssl.SSLWantWriteError):
        return sent


def reader(address: Any) -> socket.socket:
    """A client whose sender soon has to wait for it. The kernel alone connects it."""
    return connect(address, receive_buffer=4096)


def talk(address: Any, times: int = 20) -> bool:
    """Return whether another client is served."""
    with connect(address) as client:
        for number in range(times):
            message = b"message %d\n" % number
            client.sendall(message)
            if not receive_until(client, message):
                return False
    return True


def receive_until(client: socket.socket, end: bytes) -> bytes:
    """What comes until it ends with ``end``; nothing, if the stream ends before."""
    data = b""
    while not data.endswith(end):
        piece = client.recv(READ)
        if not piece:
            return b""
        data += piece
    return data


def last_word(client: socket.socket) -> str:
    """How the stream ends for a client that still reads: EOF, or the error's name."""
    try:
        while client.recv(MIB):
            pass
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "EOF"


def finished_clients(address: Any, messages: list[bytes]) -> list[socket.socket]:
    """Clients whose data and FIN are all in the kernel before anybody reads them.

    To be called on the reactor's thread, which thereby reads nothing meanwhile.
    """
    clients = []
    for message in messages:
        client = connect(address)
        client.send(message, socket.MSG_MORE)  # so that one packet takes the FIN too
        half_close(client)
        clients.append(client)
    return clients


def receive_each(clients: list[socket.socket]) -> list[bytes]:
    answers = []
    for client in clients:
        with client:
            answers.append(receive_all(client))
    return answers


def send_and_finish(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    half_close(client)


ENDS = {
    "drain": (lambda factory, client: factory.end_all(), Outcome.DRAINED),
    "abort": (lambda factory, client: factory.abort_all(), Outcome.ABORTED),
    "client reset": (lambda factory, client: reset(client), Outcome.RESET),
    "client loss": (lambda factory, client: client.close(), Outcome.RESET),
}


def is_reset_or_end(client: socket.socket) -> bool:
    """Return whether a read finds the connection reset or ended."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
