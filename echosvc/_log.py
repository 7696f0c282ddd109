"""The logger of the package."""

from __future__ import annotations

from twisted.logger import Logger

#: Everything that the package has to say goes through this. A module's own, not a
#: class's: Twisted gives a class's logger the name of the class for a namespace.
log = Logger(namespace="echosvc")
