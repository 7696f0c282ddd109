"""The first exchange of a check: with a server of which nothing is known.

If the first message is not answered soon, other connections are asked in other ways, all at once:
in other framings, in other protocols, with a longer message, with several messages. What is
answered is the cause. If nothing is, the first message is sent once more and its answer waited for
with the whole time-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from echosvc._text import quote
from echosvc.probe.checks.framing_detection import FIN_CAUSE, FramingTrial, framing_trials
from echosvc.probe.checks.longer_message import ControlTrial, LongerMessageTrial
from echosvc.probe.checks.message_trial import MessageTrial, explain_by_form
from echosvc.probe.checks.protocol_detection import ProtocolTrial, protocols
from echosvc.probe.engine.connection import LONG_MESSAGE, ConnectionEnded, ProbeConnection
from echosvc.probe.engine.findings import Failed, HeldBack, Unanswered
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.prefix_detection import UnclearPrefix
from echosvc.probe.engine.protocols import name_protocol, name_talker

#: How long the server may speak first, seconds.
LISTEN_TIME = 0.2
#: How long an answer is waited for before other questions are asked: seconds, and round trips in
#: addition.
_ANSWER_TIME = 1.0
_ROUND_TRIPS = 4
#: The part of that time for each of several messages.
_SHARE = 0.35
#: How long other protocols may still answer once one has, seconds, and round trips.
_GRACE, _GRACE_TRIPS = 0.2, 2

_OTHER_CAUSE = (
    "another connection is answered: a limit of connections, or one of several servers is dead"
)
_ONCE_CAUSE = "the server answers one message of each connection, in another framing (--framing)"
_HELD_CAUSE = (
    "something looks at the first bytes of a connection and waits for more of them (nginx"
    " ssl_preread, HAProxy inspect-delay, Envoy tls_inspector)"
)
_CONTENT_CAUSE = (
    "something looks at the first bytes of a connection, and waits while they may be the beginning"
    " of a protocol that it knows (Envoy http_inspector)"
)


async def first_exchange(path: Path) -> ProbeConnection:
    """Open a connection to an unknown server, and detect its prefix.

    :raises Failed: it does not answer; the failure has the cause, if it was found.
    """
    connection = await path.connect()
    known = connection.client.handshake
    rtt = known.seconds if known else 0.0
    limit = min(path.settings.timeout, _ANSWER_TIME + _ROUND_TRIPS * rtt)
    if greeted := await _listen(connection):
        return await _try_greeter(connection, limit, greeted)
    try:
        await connection.detect_prefix(limit)
    except Unanswered as failed:
        unanswered = failed
    except UnclearPrefix as failed:
        raise await explain_by_form(path, failed, limit) from None
    else:
        return connection
    path.close()
    explained = await _explain(path, unanswered, limit, rtt)
    if unanswered.end == "silence" and limit < path.settings.timeout and _may_come_later(explained):
        return await _ask_again(path, explained)
    raise explained


def _may_come_later(failed: Failed) -> bool:
    """Return whether an answer may come only later: nothing was answered there, but a FIN.

    A middlebox that waits for a time ends the wait at a FIN, too. One of several servers may be
    slow, though others answered at once.
    """
    return not failed.came if isinstance(failed, Unanswered) else failed.cause == FIN_CAUSE


async def _ask_again(path: Path, explained: Failed) -> ProbeConnection:
    """Send the first message once more, and wait for its answer with the whole time-out."""
    try:
        return await path.open_once()
    except Unanswered as failed:
        if not isinstance(explained, Unanswered):
            raise explained from None
        failed.cause, failed.at_opening = explained.cause, explained.at_opening
        raise


async def _listen(connection: ProbeConnection) -> Failed | None:
    """Wait whether the server speaks first; return the failure if it seems to be another one.

    :raises Failed: it certainly is another one.
    """
    ended = ""
    try:
        came = await connection.listen(LISTEN_TIME)
    except ConnectionEnded as end:
        came, ended = connection.unread, end.reason
    talker = name_talker(came, ended == "FIN")
    if not talker:
        return None
    what = f"{quote(came)} came before anything was sent"
    failed = Failed(f"{what}, then {ended}" if ended else what, talker, end=ended)
    if ended or talker != name_protocol(came):
        raise failed
    return failed


async def _try_greeter(
    connection: ProbeConnection, limit: float, failed: Failed
) -> ProbeConnection:
    """Exchange messages with a server whose greeting is that of another protocol: it may echo.

    :raises Failed: it does not.
    """
    try:
        await connection.detect_prefix(limit)
    except Failed:
        raise failed from None
    return connection


class _Trials:
    """What is tried where a first message is not answered, all at once."""

    def __init__(self, path: Path, failed: Unanswered, limit: float) -> None:
        self.framings = framing_trials(path, failed.came, limit)
        self.spoken = [ProtocolTrial(path, each) for each in protocols(path)]
        self.longer = LongerMessageTrial(path, limit / 2)
        self.messages, self.control = _several(path, failed, limit), ControlTrial(path)
        self._failed = failed

    async def run(self, path: Path, limit: float, grace: float) -> None:
        """Run all of them, until those that settle it have ended, and some time longer."""
        settling = [Deferred.fromCoroutine(each.run()) for each in self.spoken]
        settling += [Deferred.fromCoroutine(each.run()) for each in (self.longer, self.messages)]
        others = [Deferred.fromCoroutine(each.run()) for each in self.framings]
        others.append(Deferred.fromCoroutine(self.control.run()))
        await _run_all(path, settling, others, limit, grace)
        path.close()

    @property
    def by_content(self) -> list[FramingTrial]:
        """Other first bytes that were answered: they are looked at for what they are."""
        # What came shows that nothing was held back.
        return [] if self._failed.came else [each for each in self.framings if each.is_by_content]

    @property
    def premature(self) -> bool:
        """Whether a message was answered that none of them expects to be."""
        framings = [each for each in self.framings if each not in self.by_content]
        return self.longer.premature or any(each.premature for each in framings)


async def _explain(path: Path, failed: Unanswered, limit: float, rtt: float) -> Failed:
    """Find out why a message is not answered; return the failure with its cause, or as it is."""
    trials = _Trials(path, failed, limit)
    await trials.run(path, limit, _GRACE + _GRACE_TRIPS * rtt)
    if trials.premature:
        if not failed.came:  # this one was answered, too, if not as it should
            path.context.history.note_answered()
            failed.cause, failed.at_opening = _OTHER_CAUSE, True
        return failed
    for trial in trials.spoken:
        if trial.answered:
            return trial.explain(failed)
    if trials.control.answered:
        return failed
    if trials.by_content:
        return await _held_by_content(path, failed, trials.by_content[0], limit / 2)
    return await _explain_by_messages(path, failed, limit, trials)


async def _explain_by_messages(
    path: Path, failed: Unanswered, limit: float, trials: _Trials
) -> Failed:
    """Return what several messages, and a longer one, show."""
    messages, longer = trials.messages, trials.longer
    answers = _describe_answers(failed, messages)
    if answers is None and longer.answered:
        path.context.knowledge.first_message = LONG_MESSAGE
        if await _is_answered(path, limit / 2):
            finding = f"{failed.finding}; a message of {LONG_MESSAGE} bytes was answered"
            return HeldBack(finding, _HELD_CAUSE)
        path.context.knowledge.first_message = 1
    if answers is None and (longer.answered or messages.is_late):
        messages = _several(path, failed, limit)
        await messages.run()
        answers = _describe_answers(failed, messages)
    return answers or _conclude(failed, trials.framings, messages)


async def _held_by_content(
    path: Path, failed: Unanswered, other: FramingTrial, seconds: float
) -> Failed:
    """Return that other first bytes were answered, fewer than a message of any framing has.

    Where a line is answered at once, that is the first message from now on.
    """
    path.context.knowledge.first_end = b"\n"
    if await _is_answered(path, seconds):
        line = quote(path.context.token)
        return HeldBack(f"{failed.finding}; {line} was answered at once", _CONTENT_CAUSE)
    path.context.knowledge.first_end = b""
    finding = f"{failed.finding}; {quote(other.sent)} was answered at once by {quote(other.came)}"
    return Failed(finding, _CONTENT_CAUSE)


def _several(path: Path, failed: Unanswered, limit: float) -> MessageTrial:
    return MessageTrial(path, _SHARE * limit, failed.came)


def _describe_answers(failed: Unanswered, messages: MessageTrial) -> Failed | None:
    """Return what several messages showed; ``None``: they were not answered."""
    if (times := messages.times) is not None:
        times.finding = f"{failed.finding}; {times.finding}"
    return messages.form or times


async def _run_all(
    path: Path,
    settling: Sequence[Deferred[bool]],
    others: Sequence[Deferred[None]],
    limit: float,
    grace: float,
) -> None:
    """Wait until all trials are over, or for ``grace`` seconds after one has found the cause.

    :param settling: those that return whether they have found it.
    :param limit: seconds that one half of a trial takes.
    """
    over: Deferred[None] = Deferred()
    trials: list[Deferred[Any]] = [*settling, *others]

    def note(answered: object) -> None:
        if answered and not over.called:
            over.callback(None)

    for each in trials:
        each.addErrback(lambda _: False)
    for each in settling:
        each.addCallback(note)
    DeferredList(trials).addCallback(note)
    try:
        turns = len(trials) / path.pace if path.pace else 0.0
        await over.addTimeout(2 * limit + turns, path.reactor)
        await deferLater(path.reactor, grace)
    except defer.TimeoutError:
        pass
    finally:
        for each in trials:
            each.cancel()


async def _is_answered(path: Path, seconds: float) -> bool:
    """Return whether another first message is answered at once.

    :param seconds: a part of the time that the one before was waited for.
    """
    try:
        await path.open_once(seconds=seconds)
    except Failed:
        return False
    return True


def _conclude(failed: Unanswered, tries: Sequence[FramingTrial], messages: MessageTrial) -> Failed:
    """Return what the trials of framings showed."""
    for each in tries:
        if each.answered:
            return Failed(failed.finding, each.cause, facts={**failed.facts, **each.facts})
    others = [each for each in tries if each.came and each.came != failed.came]
    for each in others:
        finding = f"{failed.finding}; {quote(each.sent)} was answered by {quote(each.came)}"
        if each.first_answered:
            return Failed(finding, _ONCE_CAUSE)
        if not failed.came:
            return Failed(finding, name_protocol(each.came) or "no echo server")
    return messages.foreign or failed
