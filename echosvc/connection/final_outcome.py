"""The final outcome of a lost connection."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure

from echosvc.connection.outcome import Outcome
from echosvc.net.errors import is_network_error


def final_outcome(outcome: Outcome | None, reason: Failure | None, complete: bool) -> Outcome:
    """Return the outcome of a connection that is gone, from its own and the reactor's reason.

    :param reason: ``None``: the transport has given none, which is a clean end.
    :param complete: both sides had finished, and nothing waited to be sent.
    """
    why = None if reason is None else reason.value
    if why is None or isinstance(why, ConnectionDone):
        return outcome or Outcome.FINISHED
    if complete and outcome is Outcome.FINISHED:
        return outcome
    if isinstance(why, ConnectionAborted):
        return outcome or Outcome.ABORTED
    if not is_network_error(why):
        return Outcome.FAILED
    # Broken while it ended well: what was queued may be lost.
    broken = outcome in (None, Outcome.FINISHED, Outcome.CLOSED)
    return Outcome.RESET if outcome is None or broken else outcome
