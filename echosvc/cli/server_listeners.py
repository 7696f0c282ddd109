"""The listeners of a server, from what the command line, the environment and a file say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IStreamServerEndpoint

from echosvc.config.kinds import Choice, Word
from echosvc.config.settings import Setting
from echosvc.config.sources import Given, ListenTable
from echosvc.endpoints.server import server_endpoint
from echosvc.endpoints.strings import EndpointError
from echosvc.net.files import describe_file_error
from echosvc.net.listeners import TCPListener, UNIXListener

TLS_MIN_VERSION = Setting(
    name="tls_min_version",
    default="1.2",
    kind=Choice(dict.fromkeys(("1.2", "1.3"), "")),
    text="The lowest version that TLS listeners accept",
)
TLS_CLIENT_CA = Setting(
    name="tls_client_ca",
    default=None,
    kind=Word("FILE"),
    text="File with the authorities of client certificates. TLS clients that show no certificate"
    " signed by one of them are refused.",
    none="certificates are not asked for",
)
#: The options that one listener may have for itself.
OF_LISTENER = (TLS_MIN_VERSION, TLS_CLIENT_CA)


class ListenerError(ValueError):
    """A listener cannot be as it is described; says why in one line."""


def build_listeners(
    reactor: Any, tables: Sequence[ListenTable], find: Callable[[Setting], Given]
) -> list[IStreamServerEndpoint]:
    """Return the endpoints to listen on.

    :param find: returns the setting of all listeners, and its origin.
    :raises ListenerError: one is wrong.
    """
    found = [_build(reactor, each) for each in tables]
    _check_distinct(tables, found)
    _check_policies(tables, found, find(TLS_CLIENT_CA))
    for table, listener in zip(tables, found, strict=True):
        policy = {each.name: table.own.get(each.name) or find(each) for each in OF_LISTENER}
        _apply_tls_policy(listener, policy)
    return found


def _build(reactor: Any, table: ListenTable) -> IStreamServerEndpoint:
    try:
        return server_endpoint(reactor, table.endpoint)
    except EndpointError as error:
        raise ListenerError(f"{_described(table)}: {error}") from None


def _described(table: ListenTable) -> str:
    """Name a listener: its origin, and its endpoint where that does not stand in the origin."""
    shown = repr(table.endpoint)
    origin = str(table.origin)
    return origin if shown in origin else f"{origin} {shown}"


def _check_distinct(tables: Sequence[ListenTable], listeners: Sequence[object]) -> None:
    """Refuse two listeners on one address, which only the second bind would report.

    :raises ListenerError: there are two.
    """
    for position, (table, second) in enumerate(zip(tables, listeners, strict=True)):
        for other, first in zip(tables[:position], listeners, strict=False):
            if _collide(_below(first), _below(second)):
                raise ListenerError(
                    f"{_described(table)}: has the address of {_described(other)}, too"
                )


def _below(listener: object) -> object:
    """Return the listener of a TLS listener."""
    return getattr(listener, "below", listener)


def _collide(first: object, second: object) -> bool:
    if isinstance(first, UNIXListener) and isinstance(second, UNIXListener):
        return first.path == second.path
    if not (isinstance(first, TCPListener) and isinstance(second, TCPListener)):
        return False
    same_host = first.host == second.host or None in (first.host, second.host)
    return first.port == second.port != 0 and same_host


def _speaks_tls(listener: object) -> bool:
    """Return whether it is a TLS listener, without an import of TLS."""
    return hasattr(getattr(listener, "creator", None), "set_client_auth")


def _check_policies(
    tables: Sequence[ListenTable], listeners: Sequence[object], authorities: Given
) -> None:
    speaking = [_speaks_tls(each) for each in listeners]
    for table, speaks in zip(tables, speaking, strict=True):
        for given in table.own.values():
            if not speaks:
                raise ListenerError(f"{given.origin}: the listener does not speak TLS")
    if authorities.value and not any(speaking):
        raise ListenerError(f"{authorities.origin}: no --listen speaks TLS")


def _apply_tls_policy(listener: Any, policy: dict[str, Given]) -> None:
    """Set what a TLS listener demands of its clients.

    With the defaults nothing of TLS is imported here, which a TCP listener does not need.
    """
    version, authorities = policy[TLS_MIN_VERSION.name], policy[TLS_CLIENT_CA.name]
    default = not authorities.value and version.value == TLS_MIN_VERSION.default
    if default or not _speaks_tls(listener):
        return
    from echosvc.tls.context import ClientAuthPolicy
    from echosvc.tls.pem import CertificateError

    try:
        listener.creator.set_client_auth(ClientAuthPolicy(version.value, authorities.value or ""))
    except OSError as error:
        raise ListenerError(f"{authorities.origin}: {describe_file_error(error)}") from None
    except CertificateError as error:
        raise ListenerError(f"{authorities.origin}: {error}") from None
