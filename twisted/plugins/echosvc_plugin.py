"""Makes ``twistd echosvc`` and ``twist echosvc`` known to Twisted."""

from twisted.application.service import ServiceMaker

echosvc = ServiceMaker(
    "echosvc",
    "echosvc.service",
    "An echo service: answers every message with a prefix and the message.",
    "echosvc",
)
