"""What a check has found out about its path, for the probes that run later. No I/O, no Twisted."""

from __future__ import annotations

from dataclasses import dataclass, field

from echosvc.probe.engine.damage import Damage
from echosvc.probe.engine.size_limit import SizeLimit

_LINE_ENDS = b"\r\n"


@dataclass
class Knowledge:
    """What the probes, and the experiments after their failures, have found out.

    :ivar changed_values: byte values that do not come back as they were sent, and what they come
        back as.
    :ivar changed_pairs: the same for two bytes of which each alone comes back.
    :ivar cutting: byte values that are lost with everything that follows them in a message.
    :ivar trimmed: byte values that are removed at the ends of messages.
    :ivar lifetime: seconds after which a connection is ended though it is busy; 0: none is known.
    :ivar restarts: how often all connections were seen to end at the same moment.
    :ivar restart_age: how old they had become then, seconds; the longest.
    :ivar max_segment: the longest segment that the path carries, bytes, without TCP's options;
        0: the system's. Connections use none that are longer.
    :ivar size_is_no_cause: a long message is not answered, and not because of its size.
    :ivar message_limit: up to which size messages are answered; ``None``: no limit is known.
    :ivar first_message: bytes of the first message of a connection: shorter ones are held back.
    :ivar first_end: what the first message ends with: others are held back.
    :ivar retries: how often a connection that is not answered is replaced by another one: one of
        several servers does not answer.
    :ivar connection_limit: so many are open at once at most; ``None``: no limit is known.
    :ivar mixes: bytes of one connection may come on another one that is open.
    :ivar pace: so many are opened a second at most; 0: no limit is known.
    :ivar volume: bytes after which a connection ends; ``None``: no limit is known.
    :ivar message_count: messages after which a connection ends; ``None``: no limit is known.
    :ivar no_terminal: there is no terminal in the path.
    :ivar fin_unanswered: the peer's end is not waited for: none has come after a FIN.
    :ivar deadlock_size: bytes after which the path stops while both directions are full; 0: it is
        not known to do so.
    :ivar deadlock_free: so many bytes may be on their way for it not to stop.
    :ivar half_close_fails: the client's FIN does not have the effect that it should.
    :ivar damages: the faults of streams that were reported.
    :ivar idle_end: how a connection ended that was idle, and after how many seconds; ``None``:
        not known.
    """

    changed_values: dict[int, bytes] = field(default_factory=dict)
    changed_pairs: dict[bytes, bytes] = field(default_factory=dict)
    cutting: set[int] = field(default_factory=set)
    trimmed: bytes = b""
    lifetime: float = 0.0
    restarts: int = 0
    restart_age: float = 0.0
    max_segment: int = 0
    size_is_no_cause: bool = False
    message_limit: SizeLimit | None = None
    first_message: int = 1
    first_end: bytes = b""
    retries: int = 0
    connection_limit: int | None = None
    mixes: bool = False
    pace: float = 0.0
    volume: int | None = None
    message_count: int | None = None
    no_terminal: bool = False
    fin_unanswered: bool = False
    deadlock_size: int = 0
    deadlock_free: int = 0
    half_close_fails: bool = False
    damages: list[Damage] = field(default_factory=list)
    idle_end: tuple[str, float] | None = None

    @property
    def avoided(self) -> bytes:
        """The values that payloads do not contain, so that the path changes nothing in them."""
        avoided = {*self.changed_values, *self.trimmed}
        avoided |= {value for pair in self.changed_pairs for value in pair}
        if avoided & set(_LINE_ENDS):  # one may depend on the other
            avoided |= set(_LINE_ENDS)
        return bytes(sorted(avoided))
