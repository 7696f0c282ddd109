"""A UNIX server that stops removes the path of the one that has taken over.

The new server puts its socket in the place of the old one's, so that no client is ever
refused; then the old one is told to stop, and removes whatever lies at its path. It should
remove the path only while its own socket is there.
"""

import os
import signal
import socket
import tempfile

from twisted.internet import protocol, reactor

signal.alarm(10)
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "socket")
    old = reactor.listenUNIX(path, protocol.Factory())
    socket.socket(socket.AF_UNIX).bind(path + ".new")  # by another process, in earnest
    os.rename(path + ".new", path)
    reactor.callWhenRunning(lambda: old.stopListening().addCallback(lambda _: reactor.stop()))
    reactor.run()
    there = os.path.exists(path)
print("mended: the new socket is there" if there else "defect: the new socket was removed")
