"""A reply that is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import iscoroutine
from typing import Any, TypeGuard

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

#: What stands for a reply that comes later.
LaterReply = Deferred[Any] | Coroutine[Any, Any, Any]


def is_later(reply: object) -> TypeGuard[LaterReply]:
    """Return whether an answer comes later."""
    if reply is None or isinstance(reply, bytes):  # nearly always, and faster to ask
        return False
    return isinstance(reply, Deferred) or iscoroutine(reply)


class PendingReply:
    """The reply to one message, once its Deferred or coroutine has a result.

    :param later: the Deferred or coroutine.
    :param message: what it answers.
    :ivar done: the result is there.
    """

    __slots__ = ("_arrived", "_deferred", "_result", "done", "message")

    def __init__(self, later: LaterReply, message: bytes) -> None:
        self._deferred: Deferred[Any] = (
            Deferred.fromCoroutine(later) if isinstance(later, Coroutine) else later
        )
        self._arrived: Callable[[PendingReply], None] | None = None
        self._result: object = None
        self.message = message
        self.done = False
        self._deferred.addBoth(self._store)

    def when_done(self, arrived: Callable[[PendingReply], None]) -> None:
        """Call ``arrived`` with this reply once :attr:`done` becomes true."""
        self._arrived = arrived

    def _store(self, result: object) -> None:
        self.done, self._result = True, result
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            arrived(self)

    def result(self) -> object:
        """Return the result, or raise the exception that it is."""
        if isinstance(self._result, Failure):
            self._result.raiseException()
        return self._result

    def cancel(self) -> None:
        """Cancel it: nothing would take the result."""
        self._arrived = None
        self._deferred.cancel()
