"""A UNIX server that cannot listen leaves its socket to the garbage collector.

The path is taken, ``listenUNIX`` raises, and the socket that was to be bound is closed
whenever nothing refers to the exception any more. For TCP the socket is closed at once since
26.10; for UNIX it should be, too.
"""

import contextlib
import os
import tempfile
import warnings

from twisted.internet import error, protocol, reactor

with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    path = os.path.join(directory, "socket")
    reactor.listenUNIX(path, protocol.Factory())
    with contextlib.suppress(error.CannotListenError):
        reactor.listenUNIX(path, protocol.Factory())
    leaked = [warning for warning in seen if warning.category is ResourceWarning]
print("defect: it was never closed" if leaked else "mended: it was closed")
