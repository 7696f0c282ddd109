"""An echo service and its client, for Twisted: the honest other end of a TCP path."""

from echosvc._version import __version__
from echosvc.client import EchoClient, EchoClientFactory, connect
from echosvc.config import Config, ConfigError
from echosvc.factory import EchoFactory
from echosvc.report import Outcome
from echosvc.server import EchoProtocol
from echosvc.service import EchoService

__all__ = [
    "Config",
    "ConfigError",
    "EchoClient",
    "EchoClientFactory",
    "EchoFactory",
    "EchoProtocol",
    "EchoService",
    "Outcome",
    "__version__",
    "connect",
]
