"""Declares ``twistd echosvc``, ``twist echosvc`` and ``--reactor=lean`` for Twisted.

Twisted imports every plugin at each start of ``twistd``, so this one imports no service.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

from echosvc.cli.standard_descriptors import reserve_descriptors

reserve_descriptors()  # before the reactor is made, unless --reactor made it
echosvc = ServiceMaker(
    "echosvc",
    "echosvc.cli.twistd",
    "An echo service: it answers every message with a prefix and the message.",
    "echosvc",
)
lean = Reactor("lean", "echosvc.net.reactor", "epoll for many small events, on a monotonic clock")
