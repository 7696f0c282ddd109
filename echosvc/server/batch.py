"""Replies that leave in one piece."""

from __future__ import annotations

from collections.abc import Callable

from echosvc._log import log
from echosvc.connection.outcome import Outcome
from echosvc.wire.framing import MessageTooLong, MessageTruncated


class ReplyBatch(list[bytes]):
    """Replies to messages that were read together, and what reply() writes between them.

    It is a list, since a method in Python to add a reply takes a tenth of a message's time.

    :ivar reply_bytes: bytes of the replies alone.
    :ivar outcome: with which to close once the batch is sent; ``None``: stay open.
    """

    reply_bytes = 0
    outcome: Outcome | None = None

    def joined(self) -> bytes:
        """Return everything in one piece."""
        return self[0] if len(self) == 1 else b"".join(self)

    def end_after(self, outcome: Outcome) -> None:
        """Close once the batch is sent. The first outcome counts, unless one is a failure."""
        if self.outcome is None or outcome is Outcome.FAILED:
            self.outcome = outcome

    def fill(self, add_replies: Callable[[ReplyBatch], bool]) -> bool:
        """Have replies added; an exception ends the connection, after those that are there.

        :return: what ``add_replies`` returns, or ``False`` after an exception.
        """
        try:
            return add_replies(self)
        except MessageTooLong:
            self.end_after(Outcome.TOO_LONG)
        except MessageTruncated:
            self.end_after(Outcome.TRUNCATED)
        except BaseException:  # asyncio's CancelledError, too, ends this connection alone
            log.failure("Server Error: the reply to a message failed")
            self.end_after(Outcome.FAILED)
        return False
