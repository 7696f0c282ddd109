"""Adopting a UNIX socket makes its path writable for everybody.

Whoever made the listening socket, systemd for one, has said who may connect: here, its
owner. ``adoptStreamPort``, which ``systemd:domain=UNIX`` uses, changes the path's mode to
0666. It should leave the mode alone.
"""

import os
import socket
import tempfile

from twisted.internet import protocol, reactor

with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
    path = os.path.join(directory, "socket")
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen()
    reactor.adoptStreamPort(listener.fileno(), socket.AF_UNIX, protocol.Factory())
    mode = os.stat(path).st_mode & 0o777
print(f"{'mended' if mode == 0o600 else 'defect'}: the mode is {mode:o}, it was 600")
