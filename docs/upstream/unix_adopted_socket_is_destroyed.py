"""Stopping to listen on an adopted UNIX socket ends it for everybody.

The listening socket belongs to somebody else as well: systemd, or a worker beside this
one. ``stopListening`` removes its path and shuts the socket down, so that nobody can
connect any more; for TCP that was mended long ago. It should close its own descriptor and
nothing else (systemd.socket(5): the path must not be unlinked).
"""

import os
import signal
import socket
import tempfile

from twisted.internet import protocol, reactor

signal.alarm(10)
with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
    path = os.path.join(directory, "socket")
    listener.bind(path)
    listener.listen()
    os.link(path, path + "2")
    port = reactor.adoptStreamPort(listener.fileno(), socket.AF_UNIX, protocol.Factory())
    reactor.callWhenRunning(lambda: port.stopListening().addCallback(lambda _: reactor.stop()))
    reactor.run()
    there = os.path.exists(path)
    alive = socket.socket(socket.AF_UNIX).connect_ex(path + "2") == 0
print("mended:" if there and alive else "defect:", f"path there: {there}, listening: {alive}")
