"""``soak`` for programs: connections that are kept open, and when they were not answered."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypedDict

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from echosvc.probe.arguments import global_reactor, read_endpoint, read_prefix
from echosvc.probe.soak.events import Event
from echosvc.probe.soak.result import SoakResult
from echosvc.probe.soak.session import Soak
from echosvc.probe.soak.settings import SoakSettings, SoakSettingsError

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11


class SoakOptions(TypedDict, total=False):
    """The fields of :class:`~echosvc.probe.soak.settings.SoakSettings` but the prefix."""

    framing: str
    connections: int
    interval: float
    size: int
    silence: float
    timeout: float
    max_wait: float
    duration: float
    max_gap: float | None
    max_breaks: int | None


def _ignore(_: Event) -> None:
    """Do nothing."""


async def soak(
    endpoint: str | IStreamClientEndpoint,
    *,
    reactor: Any = None,
    prefix: str | bytes | None = None,
    until: Deferred[Any] | None = None,
    listen: Callable[[Event], object] = _ignore,
    **settings: Unpack[SoakOptions],
) -> SoakResult:
    """Keep connections open, and note when they are not answered.

    It ends after ``duration`` seconds, or when ``until`` fires, with the result. Cancelling it ends
    it without one.

    :param endpoint: one of Twisted's, or its string, such as ``tcp:192.0.2.7:8107``.
    :param reactor: what to run on; ``None`` = the global one.
    :param prefix: the server's, a template or bytes; ``None``: it is detected on each connection.
    :param until: ends the soak when it fires; its result is not changed.
    :param listen: called with each event of :mod:`echosvc.probe.soak.events` as it happens.
    :param settings: the other fields of :class:`~echosvc.probe.soak.settings.SoakSettings`.
    :raises EndpointError: the endpoint cannot be understood.
    :raises SoakError: the first connection is answered by what cannot be verified.
    :raises SoakSettingsError: settings that make no sense, or no end.
    :raises TemplateError: a prefix that is no template.
    :raises RuntimeError: asyncio runs, and no reactor: :func:`~echosvc.soak_async` is for that.
    """
    reactor = reactor or global_reactor("soak", "soak_async")
    if unknown := set(settings) - set(SoakOptions.__annotations__):
        known = ", ".join(SoakOptions.__annotations__)
        raise SoakSettingsError(f"there is no setting {min(unknown)!r}; there are {known}")
    asked = SoakSettings(prefix=read_prefix(prefix, SoakSettingsError), **settings)
    if until is None and asked.duration == 0:
        raise SoakSettingsError("a soak needs a duration, or until")
    target, name = read_endpoint(reactor, endpoint)
    running = Soak(reactor, target, asked, name, listen)
    if until is not None:
        until.addBoth(_stop, running)
    return await running.run()


def _stop(result: Any, running: Soak) -> Any:
    running.stop()
    return result


async def soak_async(
    endpoint: str,
    *,
    prefix: str | bytes | None = None,
    listen: Callable[[Event], object] = _ignore,
    **settings: Unpack[SoakOptions],
) -> SoakResult:
    """Do the same as :func:`~echosvc.soak`, in a coroutine of asyncio.

    It ends after ``duration`` seconds.

    :param endpoint: a string such as ``tcp:192.0.2.7:8107``.
    """
    from echosvc.probe.aio import run_on_asyncio

    def start(reactor: Any) -> Coroutine[Any, Any, SoakResult]:
        return soak(endpoint, reactor=reactor, prefix=prefix, listen=listen, **settings)

    return await run_on_asyncio(endpoint, "soak_async", start)
