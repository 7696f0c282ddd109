"""Servers at the end of a path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.programs.faults.registry import program
from tests.programs.paths.catalogue.builders.certificates import key_and_certificate
from tests.programs.paths.catalogue.entry import Start
from tests.programs.paths.catalogue.places import (
    Place,
    Sides,
    configured,
    free_port,
    listening,
)


def echosvc(*options: str, tls: bool = False, everywhere: bool = False) -> Start:
    """The service, with these options; by TLS with the certificate of all entries.

    :param everywhere: listen on all addresses.
    """

    @contextmanager
    def start(sides: Sides) -> Iterator[Place]:
        place = Place(sides.host, free_port())
        kind = (
            f"ssl:{place.port}:privateKey={key_and_certificate()}" if tls else f"tcp:{place.port}"
        )
        address = "" if everywhere else f":interface={sides.host}"
        listen = ("--listen", f"{kind}{address}", "--log", "quiet")
        command = [*sides.server, sys.executable, "-m", "echosvc", "serve", *listen, *options]
        with listening(command, place):
            yield place

    return start


@contextmanager
def nobody(sides: Sides) -> Iterator[Place]:
    """An address where nobody listens."""
    yield Place(sides.host, free_port())


def command(*words: str) -> Start:
    """A program that listens on ``{host}`` and ``{port}``, which stand in its words."""

    @contextmanager
    def start(sides: Sides) -> Iterator[Place]:
        place = Place(sides.host, free_port())
        filled = [word.format(host=place.host, port=place.port) for word in words]
        with listening([*sides.server, program(filled[0]), *filled[1:]], place):
            yield place

    return start


def python(text: str) -> Start:
    """A Python program; its arguments are host and port."""
    return command("python3", "-c", text.replace("{", "{{").replace("}", "}}"), "{host}", "{port}")


_INTERNAL = """
defaults
{{
    instances = UNLIMITED
    cps = 0 0
}}
service {kind}
{{
    type = INTERNAL UNLISTED
    id = {kind}-stream
    socket_type = stream
    protocol = tcp
    user = root
    wait = no
    bind = {host}
    port = {port}
    {more}
}}
"""


def xinetd(kind: str, more: str = "") -> Start:
    """A service that xinetd itself has: echo, discard, chargen, daytime or time."""

    @contextmanager
    def start(sides: Sides) -> Iterator[Place]:
        place = Place(sides.host, free_port())
        text = _INTERNAL.format(kind=kind, host=place.host, port=place.port, more=more)
        with configured("xinetd.conf", text) as path:
            words = ["-dontfork", "-f", str(path), "-pidfile", str(path.with_name("pid"))]
            with listening([*sides.server, program("xinetd"), *words], place):
                yield place

    return start
