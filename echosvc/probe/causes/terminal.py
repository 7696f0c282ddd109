"""A terminal (tty) in the path: it edits lines, and shows control characters as letters."""

from __future__ import annotations

from echosvc._text import quote
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.connect_errors import NotConnected
from echosvc.probe.engine.findings import Failed, Unanswered
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.protocols import TERMINAL_EDITED, TERMINAL_LINE
from echosvc.probe.engine.receiving import receive_answer

#: What is sent, a control character before a line that is edited, and how a terminal echoes it.
_SENT, _ECHOED = b"\x01" + TERMINAL_LINE, b"^Aab"
#: Seconds without anything more after which everything has come.
_QUIET = 0.3


def _may_be(path: Path, failed: Failed) -> bool:
    """Return whether the failure may be a terminal's: something was answered, but not rightly."""
    return path.context.history.answered > 0 and not isinstance(failed, (NotConnected, Unanswered))


@cause(order=6)
async def explain_by_terminal(path: Path, failed: Failed) -> Cause | None:
    """Return that a terminal echoes what is sent, or edits it.

    Its echo comes before the answer of the server behind it. So once the answer is what was sent,
    nothing more is waited for.
    """
    knowledge = path.context.knowledge
    if knowledge.no_terminal or path.settings.framing == "length" or not _may_be(path, failed):
        return None
    connection = await path.open()
    connection.client.write(_SENT).addErrback(lambda _: None)
    quiet = _QUIET + 3 * connection.rtt
    came = await receive_answer(connection, lambda came: came.endswith(_SENT), seconds=quiet)
    if _ECHOED not in came and TERMINAL_EDITED not in came:
        knowledge.no_terminal = True
        return None
    return Cause(
        "terminal",
        f"a terminal (tty) is in the path: {quote(_SENT)} came back as {quote(came)}",
        "the server runs behind a pseudo-terminal that edits lines and echoes them (socat: pty"
        " without raw,echo=0)",
        final=True,
    )
