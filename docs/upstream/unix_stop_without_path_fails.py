"""A UNIX server whose path is gone cannot stop listening.

Somebody has removed the path: an administrator, or a clean-up of /tmp. ``stopListening``
fails with ``FileNotFoundError`` before it has closed the socket, and the factory's
``doStop`` is not called. It should close the socket all the same.
"""

import os
import signal
import tempfile

from twisted.internet import protocol, reactor


def stopped(result):
    print("defect:" if port.connected else "mended:", "stopListening gave", repr(result))
    reactor.stop()


signal.alarm(10)
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "socket")
    port = reactor.listenUNIX(path, protocol.Factory())
    os.unlink(path)
    reactor.callWhenRunning(lambda: port.stopListening().addBoth(stopped))
    reactor.run()
