"""A client, routers and a server in network namespaces, joined by pairs of veth devices.

    client 10.91.1.2 - 10.91.1.1 router 10.91.2.1 - 10.91.2.2 server

Segmentation is done before the packets leave a host, as on a wire, so that rules see the packets
as a network card sends them.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.programs.faults.registry import program
from tests.programs.paths.catalogue.entry import Net
from tests.programs.paths.catalogue.places import Sides, Unsupported

CLIENT, SERVER = "10.91.1.2", "10.91.2.2"
_ROUTES = {"client": "10.91.1.1", "server": "10.91.2.1"}
#: Device, namespace and address of both ends of each wire; ``north`` leads to the client.
_WIRES = (
    (("eth0", "client", CLIENT), ("north", "router", _ROUTES["client"])),
    (("eth0", "server", SERVER), ("south", "router", _ROUTES["server"])),
)
_numbers = itertools.count(1)


def network(*rules: str) -> Net:
    """A network whose rules are commands on the router.

    :param rules: each a command of the shell. One that begins with ``client:`` or ``server:``
        runs there.
    """

    @contextmanager
    def make() -> Iterator[Sides]:
        if os.geteuid():
            raise Unsupported("network namespaces need root")
        ip = program("ip")
        spaces = {name: f"paths-{os.getpid()}-{next(_numbers)}-{name}" for name in _SPACES}
        with ExitStack() as stack:
            for space in spaces.values():
                _run(f"{ip} netns add {space}")
                stack.callback(_run, f"{ip} netns delete {space}")
            for command in _wiring(ip, spaces):
                _run(command)
            for rule in rules:
                _apply(rule, spaces)
            inside = {name: (ip, "netns", "exec", space) for name, space in spaces.items()}
            yield Sides(SERVER, inside["client"], inside["server"])

    return make


_SPACES = ("client", "router", "server")


def _wiring(ip: str, spaces: dict[str, str]) -> Iterator[str]:
    for one, other in _WIRES:
        ends = [f"{device} netns {spaces[side]}" for device, side, _ in (one, other)]
        yield f"{ip} link add {ends[0]} type veth peer name {ends[1]}"
        for device, side, address in (one, other):
            inside = f"{ip} -n {spaces[side]}"
            yield f"{ip} netns exec {spaces[side]} ethtool -K {device} tso off gso off gro off"
            yield f"{inside} address add {address}/24 dev {device}"
            yield f"{inside} link set {device} up"
            yield f"{inside} link set lo up"
    for side, gateway in _ROUTES.items():
        yield f"{ip} -n {spaces[side]} route add default via {gateway}"
    yield f"{ip} netns exec {spaces['router']} sysctl -qw net.ipv4.ip_forward=1"


def _apply(rule: str, spaces: dict[str, str]) -> None:
    """Apply a rule.

    :raises Unsupported: the kernel or this machine cannot.
    """
    side, colon, words = rule.partition(":")
    if not colon or side not in spaces:
        side, words = "router", rule
    try:
        _run(f"ip netns exec {spaces[side]} sh -c '{words.strip()}'")
    except subprocess.CalledProcessError as error:
        raise Unsupported(f"{words.strip()}: {error.stderr.strip().splitlines()[-1:]}") from None


def _run(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True, timeout=30)
