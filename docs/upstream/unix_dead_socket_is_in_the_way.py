"""A UNIX server cannot start where a dead one has left its socket.

Nobody listens on it: a server that was killed cannot remove its path. The bind fails, and
goes on to fail until somebody removes the path by hand. To connect to it would tell a dead
socket, which may be removed, from a live one. (``wantPID`` helps only where the dead
server used it too.)
"""

import os
import socket
import tempfile

from twisted.internet import error, protocol, reactor

with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "socket")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    try:
        reactor.listenUNIX(path, protocol.Factory())
        print("mended: the dead socket was replaced")
    except error.CannotListenError as failed:
        print("defect:", failed.socketError)
