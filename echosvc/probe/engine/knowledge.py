"""What a check has found out about its path, for the probes that run later. No I/O, no Twisted."""

from __future__ import annotations

from dataclasses import dataclass, field

from echosvc.probe.engine.size_limit import SizeLimit


@dataclass
class Knowledge:
    """What the probes, and the experiments after their failures, have found out.

    :ivar changed_values: byte values that do not come back as they were sent, and what they come
        back as. Payloads do not contain them.
    :ivar lifetime: seconds after which a connection is ended though it is busy; 0: none is known.
    :ivar max_segment: the longest segment that the path carries, bytes, without TCP's options;
        0: the system's. Connections use none that are longer.
    :ivar size_is_no_cause: a long message is not answered, and not because of its size.
    :ivar message_limit: up to which size messages are answered; ``None``: no limit is known.
    """

    changed_values: dict[int, bytes] = field(default_factory=dict)
    lifetime: float = 0.0
    max_segment: int = 0
    size_is_no_cause: bool = False
    message_limit: SizeLimit | None = None
