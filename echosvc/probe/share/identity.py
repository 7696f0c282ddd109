"""Names that a regular expression of the user's finds, many texts in one search."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from echosvc.probe.engine.server_names import no_match, search_names
from echosvc.probe.share.names import name_text

#: Names that are remembered at most.
_MOST_KNOWN = 10_000


class IdentitySearch:
    """Finds names in texts.

    Each search is a process (:mod:`~echosvc.probe.engine.server_names`), so what is asked while one
    runs is searched by the next one together.

    :param expression: the user's; its first group is the name, or else all of the match.
    :param seconds: time limit of a search.
    """

    def __init__(self, reactor: Any, expression: str, seconds: float) -> None:
        self._reactor, self._expression, self._seconds = reactor, expression, seconds
        self._known: dict[str, str | None] = {}
        self._asked: dict[str, list[Deferred[str | None]]] = {}
        self._searching = False

    async def name_in(self, text: str) -> str:
        """Return the name in a text.

        :raises Failed: the expression does not match, or takes too long.
        """
        if text in self._known:
            name = self._known[text]
        else:
            waiting: Deferred[str | None] = Deferred()
            self._asked.setdefault(text, []).append(waiting)
            if not self._searching:
                self._searching = True
                self._reactor.callLater(0, self._begin)
            name = await waiting
        if name is None:
            raise no_match(self._expression, text.encode())
        return name

    def _begin(self) -> None:
        asked, self._asked = self._asked, {}
        searching = Deferred.fromCoroutine(
            search_names(
                self._reactor, self._expression, [each.encode() for each in asked], self._seconds
            )
        )
        searching.addCallback(self._found, asked)
        searching.addErrback(self._failed, asked)

    def _found(self, names: list[str | None], asked: dict[str, list[Deferred[str | None]]]) -> None:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        for text, found in zip(asked, names, strict=True):
            name = None if found is None else name_text(found.encode("utf-8", "surrogateescape"))
            self._known[text] = name
            _fire(asked[text], name)
        self._go_on()

    def _failed(self, failure: Failure, asked: dict[str, list[Deferred[str | None]]]) -> None:
        for waiting in asked.values():
            for each in waiting:
                if not each.called:
                    each.errback(failure)
        self._go_on()

    def _go_on(self) -> None:
        self._searching = bool(self._asked)
        if self._asked:
            self._reactor.callLater(0, self._begin)


def _fire(waiting: list[Deferred[str | None]], name: str | None) -> None:
    for each in waiting:
        if not each.called:  # it was cancelled
            each.callback(name)
