"""How a server answers on a connection, read from its replies to two short messages. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from echosvc._text import quote
from echosvc.probe.engine.prefix_detection import (
    SECOND_TOKEN,
    TOKEN,
    UnclearPrefix,
    detect_form,
    recognize_prefix,
    without_counters,
)
from echosvc.probe.settings import CheckSettings
from echosvc.probe.traffic.replies import ReplyFormat
from echosvc.wire.template import Template

#: So many forms, and servers, are remembered. The connections of one server share a form.
_MAX_FORMS = 1024


@dataclass(frozen=True)
class ServerForm:
    """How a server answers on one connection.

    :ivar replies: what it sends before its replies.
    :ivar greeting: what it sent first.
    :ivar server: who answered, as :func:`server_name` says; "": it is not known.
    """

    replies: ReplyFormat
    greeting: bytes = b""
    server: str = ""


def first_message(framing: str, token: bytes) -> bytes:
    """Return a token as a message, before it is framed."""
    return token + b"\n" * (framing == "line")


def server_name(prefix: bytes) -> str:
    """Return who answers by a prefix: without numbers that stand alone; "": there is no prefix."""
    return without_counters(prefix.decode("utf-8", "surrogateescape")).strip()


class FormReader:
    """Reads the form of a server from what came before its replies to two messages.

    :param framing: the servers'.
    :param prefix: the servers'; ``None``: it is detected, and each may have another one.
    """

    def __init__(self, framing: str, prefix: Template | None = None) -> None:
        self._asked = CheckSettings(prefix=prefix, framing=framing)
        self.read = lru_cache(_MAX_FORMS)(self._read)

    def _read(self, first: bytes, second: bytes) -> ServerForm:
        """Return the form.

        :param first: what came before the reply to :data:`TOKEN`: greeting and prefix.
        :param second: what came before the reply to :data:`SECOND_TOKEN`: the prefix.
        :raises Failed: the two do not go together, or there is no form of which replies can be
            verified.
        """
        asked = self._asked
        template, greeting = detect_form(asked, first, second, (TOKEN, SECOND_TOKEN))
        self._refuse_repeated(greeting)
        bound, prefix = recognize_prefix(asked, template, greeting, first)
        return ServerForm(ReplyFormat(asked.framing, bound), greeting, server_name(prefix))

    def _refuse_repeated(self, greeting: bytes) -> None:
        """Raise :exc:`UnclearPrefix` if a greeting is the reply itself: without a prefix."""
        reply = first_message(self._asked.framing, TOKEN)
        if greeting and not greeting.replace(reply, b""):
            raise UnclearPrefix(
                f"{quote(reply)} was answered {len(greeting) // len(reply) + 1} times",
                "several servers get the same bytes, or a middlebox repeats them",
            )


class Greetings:
    """Tells greetings from bytes that came before the first reply and are none.

    A server greets all its clients or none. So where one did not, what came on its other
    connections is no greeting, and may be the replies of another connection.
    """

    def __init__(self) -> None:
        self._silent: set[str] = set()
        self._greeted: dict[str, Counter[int]] = {}

    def note(self, form: ServerForm) -> Counter[int]:
        """Note what a server sent first.

        :return: of what was no greeting, as is known now: on how many connections so many bytes.
        """
        server, size = form.server, len(form.greeting)
        if len(self._silent) + len(self._greeted) >= _MAX_FORMS:
            return Counter()
        if not size:
            self._silent.add(server)
            return self._greeted.pop(server, Counter())
        if server in self._silent:
            return Counter([size])
        self._greeted.setdefault(server, Counter())[size] += 1
        return Counter()
