"""A relay that never reads while it writes: ``python -m tests.support.blind_relay``.

It passes everything through a filter between two pipes, as a program does that is given the
standard input and output of another one. What came back waits until the client pauses. So the
relay always blocks in a write to its filter once more is on its way than the pipes and the filter
hold, no matter who runs when.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.process import Process

#: A client that sends nothing for so long waits for an answer, seconds.
PAUSE = 0.02


@contextmanager
def blind_relay() -> Iterator[int]:
    """The relay, in a process of its own; gives its port."""
    process = Process([sys.executable, "-m", "tests.support.blind_relay"])
    try:
        yield int(process.wait_line(r"^\d+$"))
    finally:
        process.close()


def relay_blindly(client: socket.socket) -> None:
    """Serve one connection."""
    to_filter, from_filter = small_pipe(), small_pipe()
    threading.Thread(target=copy, args=(to_filter[0], from_filter[1]), daemon=True).start()
    with client, suppress(OSError):
        while True:
            select.select([client, from_filter[0]], [], [])
            if select.select([client], [], [], PAUSE)[0]:
                data = client.recv(65536)
                if not data:
                    break
                os.write(to_filter[1], data)
            else:
                client.sendall(os.read(from_filter[0], 65536))
    os.close(to_filter[1])


def small_pipe() -> tuple[int, int]:
    """The two ends of a pipe that holds 16 KiB."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 16384)
    return ends


def copy(source: int, target: int) -> None:
    """Be the filter."""
    with suppress(OSError):
        while data := os.read(source, 65536):
            os.write(target, data)


def main() -> None:
    """Serve connections until the process is ended."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        # What is written at once comes at once: a window that closes meanwhile would be a pause.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212_992)
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            threading.Thread(target=relay_blindly, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
