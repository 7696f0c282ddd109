"""Twisted's language of endpoints: a string to a kind, its words and its options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TypeVar

_Endpoint = TypeVar("_Endpoint")


class EndpointError(ValueError):
    """An endpoint string that cannot be used; says why in one line."""


def number(name: str, text: str, least: int, most: int = 2**31 - 1) -> int:
    """Read a whole number.

    :raises EndpointError: it is none, or not one from ``least`` to ``most``.
    """
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise EndpointError(f"{name} must be a whole number from {least} to {most}, not {text!r}")
    return int(text)


def tokens(description: str) -> tuple[str, list[str], dict[str, str]]:
    """Cut ``kind:word:name=value`` at its unescaped colons; a backslash escapes.

    Addresses in brackets may hold colons: ``tcp:[::1]:8107``.

    :return: kind, words, and options by their names.
    :raises EndpointError: it is not cut anywhere like this.
    """
    if re.search(r"(?<!\\)(\\\\)*\\\Z", description):
        raise EndpointError("it ends with a backslash, which escapes nothing")
    kind, *parts = re.findall(
        r"((?:\\.?|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^:\\])*)(?::|$)", description
    )
    words: list[str] = []
    options: dict[str, str] = {}
    for part in parts[:-1]:  # the last match is the empty one at the end
        name, equals, value = part.partition("=")
        if name in options:
            raise EndpointError(f"argument {name!r} is given twice")
        if equals and name.isidentifier():
            options[name] = _plain(value)
        else:
            words.append(_plain(part))
    return kind, words, options


def _plain(text: str) -> str:
    bare = text[1:-1] if re.fullmatch(r"\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]", text) else text
    return re.sub(r"\\(.?)", r"\1", bare)


def built(
    build: Callable[..., _Endpoint], reactor: object, words: list[str], options: dict[str, str]
) -> _Endpoint:
    """Call ``build``, with a wrong argument told in words.

    :raises EndpointError: the words and options are not its arguments.
    """
    if empty := [name for name, value in options.items() if not value and name != "interface"]:
        raise EndpointError(f"{empty[0]} is empty")
    signature = inspect.signature(build)
    if unknown := options.keys() - signature.parameters.keys():
        raise EndpointError(f"unknown argument {min(unknown)!r}")
    try:
        arguments = signature.bind(reactor, *words, **options)
    except TypeError as error:
        raise EndpointError(str(error)) from None
    return build(*arguments.args, **arguments.kwargs)
