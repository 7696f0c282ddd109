"""Makes ``twistd echosvc``, ``twist echosvc`` and ``--reactor=lean`` known to Twisted."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

echosvc = ServiceMaker(
    "echosvc",
    "echosvc.service",
    "An echo service: answers every message with a prefix and the message.",
    "echosvc",
)
lean = Reactor("lean", "echosvc.reactor", "epoll for many small events, on a monotonic clock")
