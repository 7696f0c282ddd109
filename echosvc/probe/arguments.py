"""The arguments of the functions that programs call: reactor, endpoint and prefix."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from echosvc.endpoints.client import ClientTarget, client_endpoint
from echosvc.wire.template import Template


def global_reactor(function: str, in_asyncio: str = "") -> Any:
    """Return the global reactor.

    :param function: the name of the function that is called.
    :param in_asyncio: of the one that is for asyncio; "": there is none.
    :raises RuntimeError: asyncio runs and the reactor does not. A reactor on asyncio's own loop
        must be run, too: its threads start with it.
    """
    asyncio, known = map(sys.modules.get, ("asyncio", "twisted.internet.reactor"))
    in_loop = asyncio is not None and asyncio._get_running_loop() is not None
    if in_loop and not getattr(known, "running", False):
        advice = f"; in asyncio it is {in_asyncio}()" if in_asyncio else ""
        raise RuntimeError(f"{function}() runs on Twisted's reactor{advice}")
    from twisted.internet import reactor

    return reactor


def read_prefix(prefix: object, error: type[ValueError]) -> Template | None:
    """Return the template of a prefix that is text or bytes; ``None``: none was given.

    :param error: raised if it is something else.
    :raises TemplateError: the text is no template.
    """
    if prefix is None:
        return None
    if isinstance(prefix, bytes):
        return Template.literal(prefix)
    if isinstance(prefix, str):
        return Template.parse(prefix)
    raise error(f"prefix must be text or bytes, not {prefix!r}")


def read_endpoint(reactor: Any, endpoint: str | IStreamClientEndpoint) -> tuple[ClientTarget, str]:
    """Return the server that is meant, and its name in results.

    :param endpoint: one of Twisted's, or its string, such as ``tcp:192.0.2.7:8107``.
    :raises EndpointError: the endpoint cannot be understood.
    """
    if isinstance(endpoint, str):
        return client_endpoint(reactor, endpoint), endpoint
    kind = type(endpoint)
    name = kind.__name__ if kind.__repr__ is object.__repr__ else repr(endpoint)
    return ClientTarget(endpoint, name), name
