"""The form in which a server answers, found before a load begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from echosvc.endpoints.client import ClientTarget
from echosvc.probe.engine.path import Path
from echosvc.probe.settings import CheckSettings
from echosvc.probe.traffic.replies import ReplyFormat
from echosvc.wire.template import Template


@dataclass(frozen=True)
class ServerForm:
    """How a server answers.

    :ivar replies: what it sends before its replies.
    :ivar greeting: what it sends first on each connection.
    """

    replies: ReplyFormat
    greeting: bytes = b""


async def find_server_form(
    reactor: Any, target: ClientTarget, framing: str, prefix: Template | None, timeout: float
) -> ServerForm:
    """Return how a server answers: as it was given, or as it answers two short messages.

    :param prefix: ``None``: one connection is opened to detect it, and a greeting.
    :param timeout: seconds that each step may take.
    :raises Failed: no answer, or none that can be verified.
    """
    if prefix is not None:
        return ServerForm(ReplyFormat(framing, prefix))
    path = Path(reactor, target, CheckSettings(framing=framing, timeout=timeout))
    try:
        await path.open()
    finally:
        path.close()
    template = path.context.template or Template.literal(b"")
    return ServerForm(ReplyFormat(framing, template), path.context.greeting)
