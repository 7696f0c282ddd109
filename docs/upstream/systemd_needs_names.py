"""Inherited sockets are ignored where they have no names.

``LISTEN_PID`` and ``LISTEN_FDS`` are the whole protocol of socket activation as
sd_listen_fds(3) reads it; ``LISTEN_FDNAMES`` is for those who ask for names. Launchers
other than systemd leave it out. Without it Twisted drops the descriptors, and
``systemd:domain=INET:index=0`` fails with ``IndexError``. They should be taken.
"""

import os

from twisted.python.systemd import ListenFDs

environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
found = ListenFDs.fromEnvironment(environment).inheritedDescriptors()
print("mended:" if found == [3] else "defect:", "found", found, "where [3] was inherited")
