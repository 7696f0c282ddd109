"""What the connections of one path share: settings, detected prefix, progress."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from echosvc.probe.engine.findings import Skipped
from echosvc.probe.engine.history import ConnectionHistory
from echosvc.probe.engine.knowledge import Knowledge
from echosvc.probe.engine.payload import Payload
from echosvc.probe.engine.prefix_detection import SECOND_TOKEN, TOKEN
from echosvc.probe.engine.progress import Progress
from echosvc.probe.engine.sent_payloads import SentPayloads
from echosvc.probe.engine.verifier import Verifier
from echosvc.probe.settings import CheckSettings
from echosvc.wire.template import Template


class ProbeContext:
    """What the connections of one path share.

    It opens no connection and knows none. A path makes one and passes it to each
    :class:`~echosvc.probe.engine.connection.ProbeConnection`.

    :param reactor: what everything runs on.
    :param sends: whether the peer has taken more of a long message since the last call; see
        :class:`~echosvc.probe.engine.progress.Progress`.
    :ivar encrypted: TLS is spoken on the path.
    :ivar lookup_seconds: how long the look-up of the server's name took.
    :ivar template: the server's prefix; ``None``: not known yet.
    :ivar greeting: what the server sends first.
    :ivar seed: of the last payload; another seed makes another payload.
    :ivar progress: of all connections.
    :ivar knowledge: what was found out about the path so far.
    :ivar history: of the connections so far.
    :ivar sent_payloads: of the connections so far.
    """

    def __init__(
        self, reactor: Any, settings: CheckSettings, sends: Callable[[], bool] = bool
    ) -> None:
        self.reactor, self.settings = reactor, settings
        self.encrypted = False
        self.lookup_seconds = 0.0
        self.template: Template | None = None
        self.greeting = b""
        self.seed = random.getrandbits(30)
        self.progress = Progress(reactor, settings.timeout, sends)
        self.knowledge = Knowledge()
        self.history = ConnectionHistory(reactor.seconds)
        self.sent_payloads = SentPayloads()
        self._verifiers: list[Verifier] = []

    @property
    def token(self) -> bytes:
        """The message that the prefix is detected with."""
        return self.tokens[0]

    @property
    def tokens(self) -> tuple[bytes, bytes]:
        """The first message, and another one of the same size, which takes turns with it."""
        size, end = self.knowledge.first_message, self.knowledge.first_end
        return TOKEN * size + end, SECOND_TOKEN * size + end

    def adopt(self, other: ProbeContext) -> None:
        """Know what another context knows of the same server, now and later."""
        self.encrypted, self.lookup_seconds = other.encrypted, other.lookup_seconds
        self.template, self.greeting = other.template, other.greeting
        self.knowledge, self.sent_payloads = other.knowledge, other.sent_payloads

    def payload(self, size: int, excluded: bytes = b"", numbered: bool = False) -> Payload:
        """Return a payload that was not sent before, in lines where the framing has lines.

        It contains no value that the path is known to change.

        :param excluded: bytes that must not occur in it.
        :param numbered: each 64 bytes begin with their number.
        :raises Skipped: the path changes all values.
        """
        self.seed += 1
        excluded += self.knowledge.avoided
        try:
            return Payload(size, self.seed, excluded, self.settings.framing == "line", numbered)
        except ValueError:
            why = "see bytes: no value is left that comes back as it was sent"
            raise Skipped(why, see="bytes") from None

    def track(self, verifier: Verifier) -> Verifier:
        """Count what ``verifier`` verifies, until :meth:`forget_verifiers`."""
        self._verifiers.append(verifier)
        return verifier

    def verified_bytes(self) -> int:
        """Return how many bytes came back as they were sent; 0 where one did not."""
        if any(verifier.wrong for verifier in self._verifiers):
            return 0
        return sum(verifier.offset for verifier in self._verifiers)

    def forget_verifiers(self) -> None:
        """Count from 0 again."""
        self._verifiers.clear()
