"""Makes ``twistd echosvc``, ``twist echosvc`` and ``--reactor=lean`` known to Twisted."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

from echosvc.cli.standard_descriptors import hold_standard

hold_standard()  # before the reactor is made, unless --reactor has had it made by now
echosvc = ServiceMaker(
    "echosvc",
    "echosvc.cli.twistd",
    "An echo service: answers every message with a prefix and the message.",
    "echosvc",
)
lean = Reactor("lean", "echosvc.net.reactor", "epoll for many small events, on a monotonic clock")
