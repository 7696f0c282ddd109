"""A pytest plugin: ``-p tests.support.lean --reactor=lean``. A conftest would come too late."""

import pytest_twisted

from echosvc.net.reactor import LeanReactor, install

pytest_twisted.reactor_installers["lean"] = lambda: pytest_twisted._install_reactor(
    reactor_installer=install, reactor_type=LeanReactor
)
