"""``share`` for programs: who answers how many of the connections."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypedDict

from twisted.internet.interfaces import IStreamClientEndpoint

from echosvc.probe.arguments import global_reactor, read_endpoint, read_prefix
from echosvc.probe.share.expectation import parse_expectations
from echosvc.probe.share.result import ShareResult
from echosvc.probe.share.settings import ShareSettings, ShareSettingsError, validate
from echosvc.probe.share.survey import Survey

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11


class ShareOptions(TypedDict, total=False):
    """The fields of :class:`~echosvc.probe.share.settings.ShareSettings`, by keyword.

    Without what is given as text: the prefix and the expected shares.
    """

    dialect: str
    framing: str
    identity: str | None
    connections: int
    concurrency: int
    rate: float
    timeout: float
    source_ports: tuple[int, int] | None
    watch: float


async def share(
    endpoint: str | IStreamClientEndpoint,
    *,
    reactor: Any = None,
    expect: str = "",
    prefix: str | bytes | None = None,
    **settings: Unpack[ShareOptions],
) -> ShareResult:
    """Find out who answers how many of the connections over a path.

    :param endpoint: one of Twisted's, or its string, such as ``tcp:192.0.2.7:8107``.
    :param reactor: what to run on; ``None`` = the global one.
    :param expect: the expected shares, such as ``v1=80±5,v2=20±5``; "": they are only shown.
    :param prefix: the servers', a template or bytes; ``None``: it is detected.
    :param settings: the other fields of :class:`~echosvc.probe.share.settings.ShareSettings`.
    :raises EndpointError: the endpoint cannot be understood.
    :raises ExpectationError: expected shares that make no sense.
    :raises ShareSettingsError: settings that make no sense.
    :raises TemplateError: a prefix that is no template.
    :raises RuntimeError: asyncio runs, and no reactor: :func:`~echosvc.share_async` is for that.
    """
    reactor = reactor or global_reactor("share", "share_async")
    if unknown := set(settings) - set(ShareOptions.__annotations__):
        known = ", ".join(ShareOptions.__annotations__)
        raise ShareSettingsError(f"there is no setting {min(unknown)!r}; there are {known}")
    expected = parse_expectations(expect) if expect else ()
    template = read_prefix(prefix, ShareSettingsError)
    asked = ShareSettings(expect=expected, prefix=template, **settings)
    validate(asked)
    target, name = read_endpoint(reactor, endpoint)
    return await Survey(reactor, target, asked, name).run()


async def share_async(
    endpoint: str,
    *,
    expect: str = "",
    prefix: str | bytes | None = None,
    **settings: Unpack[ShareOptions],
) -> ShareResult:
    """Do the same as :func:`~echosvc.share`, in a coroutine of asyncio.

    :param endpoint: a string such as ``tcp:192.0.2.7:8107``.
    """
    from echosvc.probe.aio import run_on_asyncio

    def start(reactor: Any) -> Coroutine[Any, Any, ShareResult]:
        return share(endpoint, reactor=reactor, expect=expect, prefix=prefix, **settings)

    return await run_on_asyncio(endpoint, "share_async", start)
