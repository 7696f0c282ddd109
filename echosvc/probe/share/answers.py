"""The languages of echo servers that say in lines who they are. No I/O.

``istio`` is ``samples/tcp-echo`` of Istio: the reply to a line is a word, a space and the line.
``gateway-api`` is the TCP server of the Gateway API's conformance tests (``echo-basic``): it greets
with a line, and answers the line ``TEST`` with one line of JSON, which has its pod.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod

from echosvc._text import quote
from echosvc.probe.share.names import name_text
from echosvc.wire.gateway_api import WELCOME

#: Longest answer that is read, bytes.
MAX_ANSWER = 65536


class WrongAnswerError(Exception):
    """What came is no answer in this language; says why in one line."""


class LineDialect(ABC):
    """A language of lines: what is asked, and where in the answer the server's name is."""

    @abstractmethod
    def question(self, number: int) -> bytes:
        """Return what is sent on a connection.

        :param number: the connection's.
        """

    @abstractmethod
    def name_in(self, came: bytes, number: int) -> str | None:
        """Return the name in an answer; ``None``: more of it must come.

        :raises WrongAnswerError: it is none.
        """


class IstioDialect(LineDialect):
    """The reply to a line is a word, a space and the line."""

    def question(self, number: int) -> bytes:
        """Return a line that no other connection sends."""
        return b"echosvc share %d\n" % number

    def name_in(self, came: bytes, number: int) -> str | None:
        """Return what stands before the line."""
        line, end, more = came.partition(b"\n")
        if not end:
            _check_size(came)
            return None
        word = (line + end).removesuffix(b" " + self.question(number))
        if more or word == line + end:
            raise WrongAnswerError(
                f"{quote(came)} came, not a word, a space and {quote(self.question(number))}"
            )
        return name_text(word)


class GatewayAPIDialect(LineDialect):
    """A greeting, then one line of JSON for the line ``TEST``."""

    def question(self, number: int) -> bytes:  # noqa: ARG002 - it is always the same
        """Return the line ``TEST``."""
        return b"TEST\n"

    def name_in(self, came: bytes, number: int) -> str | None:  # noqa: ARG002
        """Return the pod."""
        begin = came[: len(WELCOME)]
        if not WELCOME.startswith(begin):
            raise WrongAnswerError(f"{quote(came)} came first, not the greeting {quote(WELCOME)}")
        line, end, more = came[len(WELCOME) :].partition(b"\n")
        if not end:
            _check_size(came)
            return None
        if more:
            raise WrongAnswerError(f"{quote(more)} came after the answer to TEST")
        return _pod(line)


#: The languages of lines by their names.
LINE_DIALECTS: dict[str, LineDialect] = {
    "istio": IstioDialect(),
    "gateway-api": GatewayAPIDialect(),
}


def _check_size(came: bytes) -> None:
    """Check that what came without the end of a line is not too long.

    :raises WrongAnswerError: it is.
    """
    if len(came) > MAX_ANSWER:
        raise WrongAnswerError(f"{len(came)} bytes came, and no end of a line: {quote(came)}")


def _pod(line: bytes) -> str:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise WrongAnswerError(f"the answer to TEST is no JSON: {quote(line)}") from None
    pod = answer.get("pod") if isinstance(answer, dict) else None
    if not isinstance(pod, str):
        raise WrongAnswerError(f"the answer to TEST has no pod: {quote(line)}")
    return name_text(pod.encode("utf-8", "surrogatepass"))
