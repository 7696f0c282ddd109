"""A message that was sent, and which of several are damaged and which are missing."""

from __future__ import annotations

from collections.abc import Iterable

from echosvc.probe.traffic.messages import STAMP_SIZE


class SentMessage:
    """A message that was sent, and is not answered yet.

    :ivar number: of its connection.
    :ivar reply: the whole reply that is due, with its head.
    :ivar size: of the message, bytes; it is the end of the reply.
    :ivar intended: when it was due.
    :ivar sent: when it was sent.
    :ivar marked: a prefix must come before it.
    """

    __slots__ = ("intended", "marked", "number", "reply", "sent", "size")

    def __init__(
        self, number: int, reply: bytes, size: int, intended: float, sent: float, marked: bool
    ) -> None:
        self.number, self.reply, self.size = number, reply, size
        self.intended, self.sent, self.marked = intended, sent, marked

    @property
    def stamp(self) -> bytes:
        """What names the message."""
        start = len(self.reply) - self.size
        return self.reply[start : start + STAMP_SIZE]


def select_damaged(junk: bytes, due: Iterable[SentMessage]) -> list[SentMessage]:
    """Return which messages were damaged; the others are missing.

    A message whose stamp came is damaged. Of the others as many are missing as there are bytes
    missing, the first ones first.

    :param junk: what came in their place; nothing: all are missing.
    """
    due = list(due)
    if not junk:
        return []
    missing, damaged = sum(len(each.reply) for each in due) - len(junk), []
    for each in due:
        if len(each.reply) <= missing and each.stamp not in junk:
            missing -= len(each.reply)
        else:
            damaged.append(each)
    return damaged
