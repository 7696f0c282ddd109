"""``load`` for programs: a whole run, from an endpoint and options to its result."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypedDict

from twisted.internet.interfaces import IStreamClientEndpoint

from echosvc.probe.arguments import global_reactor, read_endpoint, read_prefix
from echosvc.probe.load.generator import Load
from echosvc.probe.load.options import LoadOptions, LoadOptionsError
from echosvc.probe.traffic.load_result import LoadResult

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11


class LoadKeywords(TypedDict, total=False):
    """The fields of :class:`~echosvc.probe.load.options.LoadOptions` but the prefix, by keyword."""

    connections: int
    size: int
    max_size: int
    duration: float
    rate: float
    depth: int
    arrivals: str
    connect_rate: float
    lifetime: float
    warmup: float
    grace: float
    seed: int | None
    shard: tuple[int, int]
    start_at: float | None
    framing: str
    timeout: float
    max_send_lag: float
    max_cpu_wait: float


async def load(
    endpoint: str | IStreamClientEndpoint,
    *,
    reactor: Any = None,
    prefix: str | bytes | None = None,
    **options: Unpack[LoadKeywords],
) -> LoadResult:
    """Load a server with messages, and verify every reply.

    Cancelling it ends the run: what is in flight is abandoned.

    :param endpoint: one of Twisted's, or its string, such as ``tcp:192.0.2.7:8107``.
    :param reactor: what to run on; ``None`` = the global one.
    :param prefix: the server's, a template or bytes; ``None``: it is detected on each connection.
    :param options: the other fields of :class:`~echosvc.probe.load.options.LoadOptions`.
    :raises EndpointError: the endpoint cannot be understood.
    :raises LoadOptionsError: options that make no sense.
    :raises TemplateError: a prefix that is no template.
    :raises RuntimeError: asyncio runs, and no reactor: :func:`~echosvc.load_async` is for that.
    """
    reactor = reactor or global_reactor("load", "load_async")
    template = read_prefix(prefix, LoadOptionsError)
    known = {field.name for field in fields(LoadOptions)}
    if unknown := set(options) - known:
        raise LoadOptionsError(f"there is no option {min(unknown)!r}; there are {sorted(known)}")
    asked = LoadOptions(prefix=template, **options)
    target, name = read_endpoint(reactor, endpoint)
    return await Load(reactor, target, asked, name).run()


async def load_async(
    endpoint: str, *, prefix: str | bytes | None = None, **options: Unpack[LoadKeywords]
) -> LoadResult:
    """Do the same as :func:`~echosvc.load`, in a coroutine of asyncio.

    :param endpoint: a string such as ``tcp:192.0.2.7:8107``.
    """
    from echosvc.probe.aio import run_on_asyncio

    def start(reactor: Any) -> Coroutine[Any, Any, LoadResult]:
        return load(endpoint, reactor=reactor, prefix=prefix, **options)

    return await run_on_asyncio(endpoint, "load_async", start)
