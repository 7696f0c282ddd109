"""The servers that are compared, how each is started, and which are absent."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.process import free_port, run

PROGRAMS = Path(__file__).resolve().parent / "peers"
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")
#: Everything that guards the service against its clients, turned on.
PROTECTIONS = (
    *("--idle-timeout", "0.5", "--idle-action", "close", "--keep-alive", "60"),
    *("--allow", "127.0.0.0/8", "--max-per-peer", "20000", "--max-lifetime", "3600"),
)

#: The part of it that an idle connection must remember, with time-outs that none reaches.
LIMITS = (
    *("--keep-alive", "60", "--max-per-peer", "20000"),
    *("--idle-timeout", "3600", "--idle-action", "close"),
)
#: How the C server can work, as :file:`floor.c` says. No one of them is the cheapest always. None
#: reads more than 64 KiB at once, as no other server here does: a longer read has fewer prefixes in
#: its reply, which is another answer.
FLOORS = (
    *(("send", size) for size in ("4", "16", "32", "60")),
    *(("writev", "64"), ("drain", "32"), ("drain", "60"), ("eager", "60"), ("threads", "60")),
)


@dataclass(frozen=True)
class Place:
    """Where a server listens, and what it needs for that.

    :ivar address: ``127.0.0.1:PORT`` or a path.
    :ivar directory: its own temporary directory.
    :ivar floor: the compiled C server.
    :ivar files: certificate and key, for TLS.
    """

    address: str
    directory: Path
    floor: Path
    files: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        """As an endpoint string of Twisted."""
        if self.address.startswith("/"):
            return f"unix:{self.address}"
        port = self.address.rpartition(":")[2]
        if self.files:
            certificate, key = self.files
            return f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        return f"tcp:{port}:interface=127.0.0.1"

    @property
    def words(self) -> list[str]:
        """As the arguments of the programs in ``peers``."""
        return [self.address, *self.files]


@dataclass(frozen=True)
class Peer:
    """One kind of server.

    :ivar name: what ``--peers`` calls it.
    :ivar title: what tables and charts call it.
    :ivar command: how it is started.
    :ivar absent: why it cannot be, or "".
    :ivar keeps_last: what is on its way survives the client's FIN.
    :ivar prefix_varies: it begins with "S" and ends with ": ", and that is all that is known.
    :ivar installed: it is not of this checkout, but what its Python finds by itself.
    :ivar variants: arguments of which each may be added to the command; the cheapest under a
        workload is the one that takes part.
    """

    name: str
    title: str
    command: Callable[[Place], list[str]]
    absent: Callable[[], str] = lambda: ""
    keeps_last: bool = True
    prefix_varies: bool = False
    installed: bool = False
    variants: tuple[tuple[str, ...], ...] = ()

    def with_options(self, *options: str) -> Peer:
        """The same server with more arguments."""
        return replace(self, command=lambda place: [*self.command(place), *options])


def _echosvc(*options: str, reactor: str = "") -> Callable[[Place], list[str]]:
    """Our server's command; ``reactor`` is one of ``twistd --help-reactors``."""

    def command(place: Place) -> list[str]:
        twistd = [*TWISTD, *([f"--reactor={reactor}"] if reactor else [])]
        return [*twistd, "echosvc", "--log", "quiet", "-l", place.endpoint, *options]

    return command


def _defaults(place: Place) -> list[str]:
    """Our server as people run it: no option of its own, and the log in a file."""
    log = f"--logfile={place.directory / 'log'}"
    return [*TWISTD, log, "echosvc", "-l", place.endpoint]


def _python(program: str, *options: str) -> Callable[[Place], list[str]]:
    """The command of a program in ``peers``."""
    return lambda place: [sys.executable, str(PROGRAMS / program), *options, *place.words]


def _node(*options: str) -> Callable[[Place], list[str]]:
    """Node's command."""
    return lambda place: ["node", str(PROGRAMS / "node_peer.js"), *options, *place.words]


def _floor(place: Place) -> list[str]:
    """The C server's command."""
    return [str(place.floor), place.address]


def _no_uvloop() -> str:
    """Why uvloop is absent, or ""."""
    return "" if importlib.util.find_spec("uvloop") else "uvloop is not installed"


def _no_node() -> str:
    """Why Node is absent, or ""."""
    return "" if shutil.which("node") else "node is not installed"


def _no_lean() -> str:
    """Why the lean reactor is absent, or ""."""
    said = run([*TWISTD[:3], "--help-reactors"], 30)
    names = {line.split()[0] for line in said.stdout.splitlines() if line.strip()}
    return "" if "lean" in names else "twistd knows no reactor of that name"


#: In the order of every table.
PEERS = (
    Peer("c", "C (floor)", _floor, variants=FLOORS),
    Peer("bare", "Python (floor)", _python("bare_python.py")),
    Peer("lean", "echosvc, lean", _echosvc(reactor="lean"), _no_lean),
    Peer("ours", "echosvc", _echosvc()),
    Peer("defaults", "echosvc, all defaults", _defaults),
    Peer(
        "lean-guarded", "echosvc, lean, guarded", _echosvc(*PROTECTIONS, reactor="lean"), _no_lean
    ),
    Peer("guarded", "echosvc, guarded", _echosvc(*PROTECTIONS)),
    Peer("limited", "echosvc, limits", _echosvc(*LIMITS)),
    Peer("lifetime", "echosvc, --max-lifetime", _echosvc("--max-lifetime", "3600")),
    Peer(
        "peer-prefix",
        "echosvc, {peer} prefix",
        _echosvc("--prefix", "Sending to {peer}: "),
        prefix_varies=True,
    ),
    Peer("uvloop", "uvloop", _python("asyncio_peer.py", "--uvloop"), _no_uvloop),
    Peer("asyncio", "asyncio", _python("asyncio_peer.py")),
    Peer("node", "Node", _node(), _no_node),
    Peer("node-log", "Node, logging", _node("--log"), _no_node),
    Peer("plain", "plain Twisted", _python("plain_twisted.py"), keeps_last=False),
)
BY_NAME = {peer.name: peer for peer in PEERS}


def free_place(kind: str, directory: Path, floor: Path, files: tuple[str, ...]) -> Place:
    """A place for one more server.

    :param kind: tcp, unix or tls.
    :param directory: made for it.
    """
    directory.mkdir()
    if kind == "unix":
        return Place(str(directory / "s"), directory, floor)
    return Place(f"127.0.0.1:{free_port()}", directory, floor, files if kind == "tls" else ())
