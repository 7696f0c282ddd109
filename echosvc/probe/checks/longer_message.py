"""Whether a first message is held back until more bytes come.

A middlebox that looks at the first bytes of a connection (for the name in a ClientHello, for
example) passes nothing on until it has seen enough of them.
"""

from __future__ import annotations

from contextlib import suppress

from echosvc.probe.engine.connection import LONG_MESSAGE, ConnectionEnded
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.prefix_detection import TOKEN
from echosvc.probe.engine.receiving import receive_answer


class ControlTrial:
    """The first message once more, while other questions are asked.

    If it is answered meanwhile, the answers to these may be due to the time that has passed.

    :ivar answered: it was answered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.answered = False

    async def run(self) -> None:
        """Send the message, until there is an answer, or the connection ends."""
        with suppress(Failed, ConnectionEnded):
            connection = await self._path.connect()
            await connection.request()
            self.answered = True


class LongerMessageTrial:
    """A short message, and a long one behind it where that is not answered.

    The long one is sent only after a wait without an answer. So an answer was caused by it, not by
    another server or by another state of this one.

    :param wait: seconds within which an answer would have come.
    :ivar premature: the short message was answered.
    :ivar answered: both were, together.
    """

    def __init__(self, path: Path, wait: float) -> None:
        self._path, self._wait = path, wait
        self.premature = self.answered = False

    async def run(self) -> bool:
        """Send, until there is an answer, or the connection ends; return whether there is one."""
        path = self._path
        end = b"\n" * (path.settings.framing == "line")
        short, long = TOKEN + end, TOKEN * LONG_MESSAGE + end
        with suppress(Failed, ConnectionEnded):
            connection = await path.connect()
            connection.write(short).addErrback(lambda _: None)
            if await connection.listen(self._wait):
                self.premature = connection.unread.endswith(short)
                return False
            connection.write(long).addErrback(lambda _: None)
            came = await receive_answer(connection, lambda came: came.endswith(long))
            # One that has swallowed the short message has not held it back.
            self.answered = came.endswith(long) and short in came.removesuffix(long)
        return self.answered
