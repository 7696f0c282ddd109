"""The syntax of endpoint strings: from a string to a kind, its words and its options.

It is Twisted's, ``kind:word:name=value``, plus the short forms ``PORT``, ``:PORT``,
``HOST:PORT`` and ``[IPV6]:PORT`` and URLs such as ``tcp://HOST:PORT``.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.plugin import getPlugins

from echosvc._text import printable, read_whole
from echosvc.net.addresses import unix_name
from echosvc.net.errors import describe_error
from echosvc.net.files import describe_file_error
from echosvc.net.hosts import is_ipv6

_Endpoint = TypeVar("_Endpoint")
ParsedEndpoint = tuple[str, list[str], dict[str, str]]

#: Longest path of a UNIX socket, bytes (unix(7): sun_path without its NUL).
MAX_UNIX_PATH = 107

#: Kinds that are not looked up among Twisted's; each is for clients, listeners, or both.
KINDS = frozenset(("tcp", "tcp6", "unix", "ssl", "tls", "systemd", "stdio", "haproxy"))
#: An IPv6 address in brackets, with or without a zone.
_BRACKETED = r"\[[0-9A-Fa-f:.]+(?:%[^\s/\\\[\]:]+)?\]"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_HOST_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([^:\[\]]*))?", re.DOTALL)
#: An option whose value has the colons of an IPv6 address without brackets.
_UNBRACKETED_OPTION = re.compile(r"=([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(?=:[A-Za-z]\w*=|\Z)")
#: The opening bracket of an IPv6 address without the closing one.
_UNCLOSED_BRACKET = re.compile(r"[:=]\[[0-9A-Fa-f]*:[^\]]*\Z")
#: The names of arguments in messages, where they differ.
_ARGUMENT_NAMES = {"address": "path"}


class EndpointError(ValueError):
    """An endpoint string that cannot be used; the message says why on one printable line."""

    def __init__(self, why: str) -> None:
        # The message may contain parts of the string and names of files.
        super().__init__(printable(why))


def parse_number(name: str, text: str, least: int, most: int = 2**31 - 1) -> int:
    """Parse a whole number.

    :raises EndpointError: it is none, or is not from ``least`` to ``most``.
    """
    number = read_whole(text, most)
    if number is None or number < least:
        raise EndpointError(f"{name} must be a whole number from {least} to {most}, not {text!r}")
    return number


def parse_endpoint(description: str) -> ParsedEndpoint:
    """Split ``kind:word:name=value`` at its unescaped colons; a backslash escapes.

    Addresses in brackets may contain colons: ``tcp:[::1]:8107``.

    :return: kind, words, and options by their names.
    :raises EndpointError: a backslash or a bracket is wrong, or an option is given twice.
    """
    if re.search(r"(?<!\\)(\\\\)*\\\Z", description):
        raise EndpointError("it ends with a backslash, which escapes nothing")
    if _UNCLOSED_BRACKET.search(description):
        raise EndpointError("the bracket before an IPv6 address is not closed: write [ADDRESS]")
    if (bare := _UNBRACKETED_OPTION.search(description)) and is_ipv6(bare[1]):
        raise EndpointError(f"write an IPv6 address in brackets: [{bare[1]}]")
    kind, *parts = re.findall(rf"((?:\\.?|{_BRACKETED}|[^:\\])*)(?::|$)", description, re.DOTALL)
    words: list[str] = []
    options: dict[str, str] = {}
    for part in parts[:-1]:  # the last match is the empty one at the end
        name, equals, value = part.partition("=")
        if name in options:
            raise EndpointError(f"argument {name!r} is given twice")
        if equals and name.isidentifier():
            options[name] = _unescape(value)
        else:
            words.append(_unescape(part))
    return kind, words, options


def _unescape(text: str) -> str:
    bare = text[1:-1] if re.fullmatch(_BRACKETED, text) else text
    return re.sub(r"\\(.?)", r"\1", bare, flags=re.DOTALL)


@dataclass(frozen=True)
class EndpointSyntax:
    """The forms of endpoint strings of one side, clients or listeners.

    :ivar is_kind: returns whether a word is a kind of endpoint.
    :ivar schemes: kinds that may be written as URLs with host and port.
    :ivar advice: the accepted forms, for messages.
    """

    is_kind: Callable[[str], bool]
    schemes: tuple[str, ...]
    advice: str


def parse_short_form(description: str, syntax: EndpointSyntax) -> tuple[str, str, str] | None:
    """Parse a URL or a short form; ``None``: the string has Twisted's syntax.

    A string that begins with a known kind and a colon has Twisted's syntax. A host of that name
    is written ``tcp:HOST:PORT``.

    :return: kind, host (``""`` = not given), port.
    :raises EndpointError: it has none of these forms.
    """
    if url := _URL.fullmatch(description):
        return _parse_url(url[1], url[2], syntax)
    if re.fullmatch("[0-9]+", description):
        return "tcp", "", description
    if re.fullmatch(r"\s*[-+]?[\d_]+\s*", description):
        raise EndpointError(f"the port must be digits alone, such as 8107, not {description!r}")
    kind = description.partition(":")[0]
    if syntax.is_kind(kind):
        return None
    if kind != kind.lower() and syntax.is_kind(kind.lower()):
        raise EndpointError(f"unknown kind {kind!r}: kinds are in lower case")
    return ("tcp", *_parse_host_port(description, syntax))


def _parse_url(scheme: str, rest: str, syntax: EndpointSyntax) -> tuple[str, str, str] | None:
    kind = scheme.lower()  # RFC 3986, 3.1
    if kind not in syntax.schemes:
        if syntax.is_kind(scheme):
            return None
        if syntax.is_kind(kind):
            raise EndpointError(f"unknown kind {scheme!r}: kinds are in lower case")
        raise EndpointError(f"{scheme}:// is no kind of endpoint: write tcp://HOST:PORT")
    if "@" in rest:
        raise EndpointError("a user or a password is not supported: remove what is before @")
    place = rest.removesuffix("/")
    if re.search(r"[/?#]", place):
        raise EndpointError(f"a path or a query is not supported: write {kind}://HOST:PORT")
    host, port = _split_host_port(place, f"{kind}://", syntax)
    return kind, host.replace("%25", "%") if is_ipv6(host) else host, port  # RFC 6874, 2


def _parse_host_port(description: str, syntax: EndpointSyntax) -> tuple[str, str]:
    if not description:
        raise EndpointError(f"it is empty: write {syntax.advice}")
    host, port = _split_host_port(description, "", syntax)
    if not port.isascii() or not port.isdecimal():
        if host in ("", "localhost") or ":" in host or "." in host or re.search(r"\d", port):
            raise EndpointError(f"the port must be digits alone, such as 8107, not {port!r}")
        raise EndpointError(
            f"{host!r} is no kind of endpoint, and no port follows it: write {syntax.advice}"
        )
    return host, port


def _split_host_port(text: str, scheme: str, syntax: EndpointSyntax) -> tuple[str, str]:
    """Split host and port; the host may be empty."""
    head, _, last = text.rpartition(":")
    if is_ipv6(head) and re.fullmatch("[0-9]{1,5}", last):
        either = f", or {scheme}[{text}]:PORT" if is_ipv6(text) else ""
        raise EndpointError(f"write an IPv6 address in brackets: {scheme}[{head}]:{last}{either}")
    if is_ipv6(text):
        raise EndpointError(f"write an IPv6 address in brackets: {scheme}[{text}]:PORT")
    found = _HOST_PORT.fullmatch(text)
    if found is None:
        raise EndpointError(_explain_host_port(text, scheme.removesuffix("://") or "tcp", syntax))
    host, port = found.groups()
    if not port:
        raise EndpointError(f"the port is missing: write {scheme}{host or 'HOST'}:PORT")
    if host.startswith("["):
        host = host[1:-1]
        if not is_ipv6(host):
            raise EndpointError(f"brackets are for an IPv6 address, not {host!r}")
    return host, port


def _explain_host_port(text: str, kind: str, syntax: EndpointSyntax) -> str:
    first, second, *_ = [*text.split(":"), ""]
    if second.isascii() and second.isdecimal():
        return f"options need the kind before the host: {kind}:{text}"
    return f"unknown kind {first!r}: write {syntax.advice}"


def call_with_arguments(
    build: Callable[..., _Endpoint],
    reactor: object,
    words: list[str],
    options: dict[str, str],
    form: str,
) -> _Endpoint:
    """Call ``build`` with the words and options of an endpoint string as arguments.

    :param form: how the kind is written, for messages.
    :raises EndpointError: the words and options are not its arguments.
    """
    parameters = list(inspect.signature(build).parameters.values())[1:]  # without the reactor
    names = [each.name for each in parameters]
    needed = [each.name for each in parameters if each.default is each.empty]
    _check_words(words, names, form)
    _check_options(options, names, names[: len(words)])
    base = dict(zip(names, words, strict=False)) | options
    if missing := [_ARGUMENT_NAMES.get(name, name) for name in needed if not base.get(name)]:
        are = "is" if len(missing) == 1 else "are"
        raise EndpointError(f"the {' and the '.join(missing)} {are} missing: write {form}")
    return build(reactor, **base)


def _check_words(words: list[str], names: list[str], form: str) -> None:
    for count in range(3, len(words) + 1):
        if is_ipv6(bare := ":".join(words[:count])):
            raise EndpointError(f"write an IPv6 address in brackets: [{bare}]")
    if len(words) > len(names):
        raise EndpointError(f"{words[len(names)]!r} is one argument too many: write {form}")


def _check_options(options: dict[str, str], names: list[str], taken: list[str]) -> None:
    if unknown := options.keys() - set(names):
        raise EndpointError(f"unknown argument {min(unknown)!r}: it takes {', '.join(names)}")
    if twice := options.keys() & set(taken):
        raise EndpointError(f"argument {min(twice)!r} is given twice")
    if empty := [name for name, value in options.items() if not value and name != "interface"]:
        raise EndpointError(f"{empty[0]} is empty")


def is_kind(interface: Any, kind: str) -> bool:
    """Return whether this is a kind of endpoint, of Twisted's or of a plugin."""
    if kind in KINDS:
        return True
    is_word = re.fullmatch(r"[\w-]+", kind)  # loading the plugins is slow
    return bool(is_word) and any(each.prefix == kind for each in getPlugins(interface))


def check_unix_path(text: str) -> str:
    """Return the path of a UNIX socket; of ``unix:///run/echo.sock``, what follows ``//``.

    :raises EndpointError: no socket can have this path.
    """
    path = text[2:] if text.startswith("//") else text
    if path is not text and not path.startswith(("/", "@")):
        raise EndpointError(f"a URL's path begins with a third slash: unix:///{path}")
    if path in ("", "@"):
        raise EndpointError("the path is empty")
    name = os.fsencode(unix_name(path))
    if b"\0" in name[1:] or path.startswith("\0"):
        raise EndpointError("the path contains a NUL; an abstract name is written @NAME")
    if len(name) > MAX_UNIX_PATH:
        raise EndpointError(f"the path is longer than {MAX_UNIX_PATH} bytes")
    return path


def describe_endpoint_error(error: Exception) -> str:
    """Return the reason of an error in words, also if Python's own are about calls or codecs."""
    if isinstance(error, OSError) and error.filename is not None:
        return describe_file_error(error)
    if isinstance(error, UnicodeError) or "null byte" in str(error):
        return "it has a character that no file or host name can have"
    if isinstance(error, TypeError):  # wrong arguments for a plugin
        return _describe_wrong_call(str(error))
    if found := re.search(r"invalid literal for \w+\(\).*: (.*)", str(error)):
        return f"{found[1]} is no number"
    if isinstance(error, (ValueError, OSError)) and str(error):
        return describe_error(error)
    return "this kind of endpoint does not accept it"


def _describe_wrong_call(text: str) -> str:
    named = " and ".join(re.findall(r"'([^']*)'", text))
    if "missing" in text and named:
        return f"missing: {named}"
    if "unexpected" in text:
        return f"unknown argument {named!r}"
    return f"{named} is given twice" if "multiple" in text else "it has too many arguments"
