"""A UNIX server that cannot listen leaves its lock behind.

With ``wantPID`` a lock file is made before the path is bound. Where binding fails, the
lock stays, in the name of a process that does not listen. While that process lives, nobody
can take the path, the process itself included. The lock should be taken away.
"""

import os
import socket
import tempfile

from twisted.internet import error, protocol, reactor

with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "socket")
    socket.socket(socket.AF_UNIX).bind(path)  # left by a dead server
    try:
        reactor.listenUNIX(path, protocol.Factory(), wantPID=True)
    except error.CannotListenError:
        left = os.path.lexists(path + ".lock")
        print("defect: the lock is left" if left else "mended: no lock is left")
