"""When a server answers that does not answer the first message of a connection.

Theory of operation. Different messages are sent one after the other, each after a wait. What has
come before the next one was sent tells what the answers wait for: for the next message, for
several messages, or for a number of bytes. Nothing is named that did not happen twice. An answer
that is only late looks the same, so a first message that is left alone must have no answer
meanwhile. No I/O, no Twisted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from echosvc._text import format_bytes
from echosvc.probe.engine.reply_forms import ENOUGH, Exchange, WrongForm

_SWALLOWED = (
    "the server, or a middlebox, takes the first message of each connection for something else: a"
    " login, a handshake or a header"
)
_LATE = "the server, or a middlebox, passes on what it has read only when it reads again"
_TOGETHER = "the server, or a middlebox, collects so many messages before it passes them on"
_BUFFERED = (
    "the server, or a middlebox, holds answers back until there are more of them (buffered output,"
    " such as stdio's)"
)


def explain_times(exchanges: Sequence[Exchange]) -> WrongForm | None:
    """Return what the answers wait for; the finding goes on where that of the failure ends.

    :return: ``None``: the first message is answered, or it is not known.
    """
    if len(exchanges) < ENOUGH or exchanges[0].came:
        return None
    for explain in (_swallowed, _one_late, _together, _in_blocks):
        found = explain(exchanges)
        if found is not None:
            return found
    return None


def is_enough(exchanges: Sequence[Exchange]) -> bool:
    """Return whether more messages would show nothing more."""
    if len(exchanges) < ENOUGH:
        return False
    size = _group_size(exchanges)
    if size < 2 or (size == 2 and exchanges[2].came):
        return True
    return len(exchanges) >= 2 * size


def _group_size(exchanges: Sequence[Exchange]) -> int:
    """Return after how many messages something came first; 0: nothing has come."""
    return next((number for number, each in enumerate(exchanges, 1) if each.came), 0)


def _swallowed(exchanges: Sequence[Exchange]) -> WrongForm | None:
    first, *others = exchanges
    if not all(each.came.endswith(each.sent) for each in others):
        return None
    rests = [first.sent in each.came.removesuffix(each.sent) for each in others]
    if rests[0] and not any(rests[1:]):  # both were answered together
        return None
    words = "the first message of a connection is not answered, each later one is"
    return WrongForm(words, _SWALLOWED, facts={"unanswered_messages": 1})


def _one_late(exchanges: Sequence[Exchange]) -> WrongForm | None:
    if not all(each.came.endswith(before.sent) for before, each in pairwise(exchanges)):
        return None
    words = "each answer comes only after the next message"
    return WrongForm(words, _LATE, facts={"late_by_messages": 1})


def _together(exchanges: Sequence[Exchange]) -> WrongForm | None:
    size = _group_size(exchanges)
    if size < 2 or len(exchanges) < 2 * size:
        return None
    groups = [exchanges[:size], exchanges[size : 2 * size]]
    if not all(map(_came_together, groups)):
        return None
    words = f"answers come only after {size} messages, then all at once"
    return WrongForm(words, _TOGETHER, facts={"messages_together": size})


def _came_together(group: Sequence[Exchange]) -> bool:
    """Return whether nothing came before the last message of a group, and then all of it."""
    came = group[-1].came
    if any(each.came for each in group[:-1]) or not came.endswith(group[-1].sent):
        return False
    places = [came.find(each.sent) for each in group]
    return places[0] >= 0 and places == sorted(places)


def _in_blocks(exchanges: Sequence[Exchange]) -> WrongForm | None:
    """Return that the first bytes of all answers came once so many bytes had been sent."""
    pieces, last = [each.sent for each in exchanges], exchanges[-1]
    if _group_size(exchanges) != len(exchanges) or len(exchanges) <= ENOUGH:
        return None
    prefix, found, _ = last.came.partition(pieces[0])
    # What waits for more may stand before the server, which then reads all pieces as one message.
    due = (b"".join(prefix + each for each in pieces), prefix + b"".join(pieces))
    if not found or not any(each.startswith(last.came) for each in due):
        return None
    many, size = sum(map(len, pieces)), len(last.came)
    words = f"nothing came until {format_bytes(many)} had been sent, then {format_bytes(size)}"
    return WrongForm(words, _BUFFERED, facts={"sent_bytes": many, "came_bytes": size})
