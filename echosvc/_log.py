"""The logger of the package."""

from __future__ import annotations

from twisted.logger import Logger

#: All log events of the package go through this logger. It belongs to a module and not to a class,
#: because Twisted replaces the namespace of a class's logger by the name of the class.
log = Logger(namespace="echosvc")
