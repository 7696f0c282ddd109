"""The values of the clients' options, read for ``argparse``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from echosvc._text import BYTE_UNITS, read_whole
from echosvc.config.kinds import Kind, Whole, read_number
from echosvc.faults.spec import FaultSpec, FaultSpecError, parse_named
from echosvc.net.hosts import is_host
from echosvc.probe.settings import find_pattern_error
from echosvc.wire.template import Template, TemplateError


def _reader(kind: Kind) -> Callable[[str], Any]:
    """Return a function that reads a value of a kind as ``argparse`` demands it."""

    def read(text: str) -> Any:
        try:
            value = kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if why := kind.find_error(value):
            raise argparse.ArgumentTypeError(why)
        return value

    return read


connection_count = _reader(Whole(1, 10_000, "connections"))
break_count = _reader(Whole(0, 1_000_000_000, "breaks"))


def connections_a_second(text: str) -> float:
    """Read a number of connections a second, more than 0 and at most 10,000."""
    try:
        value = read_number(float, text, "a number")
    except ValueError:
        value = 0.0
    if not 0 < value <= 10_000:
        expected = "a number of connections a second, more than 0 and at most 10000"
        raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}")
    return value


def names(text: str) -> tuple[str, ...]:
    """Read names, separated by commas."""
    return tuple(name.strip() for name in text.split(","))


def byte_size(text: str) -> int:
    """Read a number of bytes, with a unit ``k``, ``M`` or ``G`` of powers of 1024."""
    digits = text.rstrip("kKmMgG")
    number, unit = read_whole(digits), BYTE_UNITS.get(text[len(digits) :].lower(), 0)
    if number is None or not 0 < number * unit <= 1 << 40:
        raise argparse.ArgumentTypeError(f"must be a number of bytes such as 64M, not {text!r}")
    return number * unit


def template(text: str) -> Template:
    """Read a template."""
    try:
        return Template.parse(text)
    except TemplateError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def pattern(text: str) -> str:
    """Read a regular expression."""
    if why := find_pattern_error(text):
        raise argparse.ArgumentTypeError(why)
    return text


def nonempty(text: str) -> str:
    """Read a text that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def host(text: str) -> str:
    """Read the name or the address of a host."""
    if not is_host(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name and no address")
    return text


def fault(text: str) -> FaultSpec:
    """Read a fault; the error names it.

    :raises argparse.ArgumentTypeError: it makes no sense.
    """
    try:
        return parse_named(text)
    except FaultSpecError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
