"""Text for people: escaped, on one line."""

from __future__ import annotations

import re

#: Longest part of a message that a log line shows, characters.
SHOWN = 200


def escaped(data: bytes | str, limit: int = SHOWN) -> str:
    """Quote ``data`` so that it is safe on a terminal and in a log, cut to ``limit``.

    Control characters and whatever else is not printable become escapes.
    """
    text = repr(data[:limit]).removeprefix("b")
    inner = text[1:-1] if text[0] == "'" else text[1:-1].replace("'", "\\'")
    if len(data) > limit or len(inner) > limit:
        inner = inner[: limit - 3] + "..."
    return f"'{inner}'"


#: Longest line on stderr, characters; of a longer one the middle is left out.
LONGEST_LINE = 500


#: A byte of a word that is not UTF-8, as Python writes it (PEP 383).
_BYTE = re.compile(r"(?<!\\)\\udc([89a-f][0-9a-f])")


def one_line(text: str) -> str:
    """Give ``text`` without anything that could end the line or upset a terminal."""
    text = _BYTE.sub(r"\\x\1", text)
    if len(text) > LONGEST_LINE:
        text = f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 2 :]}"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
