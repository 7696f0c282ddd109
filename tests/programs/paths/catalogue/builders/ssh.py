"""A daemon of SSH for one user, alone and with a forwarding through it."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs.faults.registry import program
from tests.programs.paths.catalogue.places import (
    Place,
    Sides,
    configured,
    free_port,
    listening,
)

_CONFIG = """\
Port {port}
ListenAddress {host}
HostKey {directory}/key
AuthorizedKeysFile {directory}/key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
"""


@contextmanager
def _daemon(sides: Sides) -> Iterator[tuple[Place, Path]]:
    """Where it listens, and its key, with which one may log in."""
    place, keygen = Place(sides.host, free_port()), program("ssh-keygen")
    text = _CONFIG.replace("{port}", str(place.port)).replace("{host}", place.host)
    with configured("sshd_config", text) as path:
        key = path.with_name("key")
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        with listening([*sides.server, program("sshd"), "-D", "-f", str(path)], place):
            yield place, key


@contextmanager
def sshd(sides: Sides) -> Iterator[Place]:
    """The daemon as a server."""
    with _daemon(sides) as (place, _):
        yield place


@contextmanager
def ssh_forwarding(sides: Sides, target: Place) -> Iterator[Place]:
    """``ssh -L`` through a daemon of its own."""
    with _daemon(sides) as (daemon, key):
        place = Place(sides.host, free_port())
        words = ["-F", "none", "-N", "-L", f"{place}:{target}", "-i", str(key)]
        words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        words += ["-p", str(daemon.port), f"{getpass.getuser()}@{daemon.host}"]
        with listening([*sides.server, program("ssh"), *words], place):
            yield place
