"""The name of a server in its prefix. No I/O.

Where the prefix was given with fields that name a server, those are its name. Otherwise it is the
prefix without numbers that stand alone, which count something, and without what is no letter or
digit at its ends: ``v1: `` is ``v1``. If nothing is left, the numbers are the name. Two servers
that differ in nothing else have their whole prefixes for names.
"""

from __future__ import annotations

import re

from echosvc.probe.engine.prefix_detection import without_counters
from echosvc.wire.pattern import Match
from echosvc.wire.prefix_matching import prefix_pattern
from echosvc.wire.template import Field, Template

#: Fields that name a server.
_NAMING = ("hostname",)
#: Fields that name a server where no other does.
_NAMING_LAST = ("pid", "local")
_EDGES = re.compile(r"\A[\W_]+|[\W_]+\Z")
_SPACES = re.compile(r"\s+")


def name_text(name: bytes) -> str:
    r"""Return a name as text; bytes that are no UTF-8 become ``\xNN``."""
    return name.decode("utf-8", "backslashreplace")


class PrefixNames:
    """The names of servers by their prefixes.

    :param template: the prefix, as it was given; ``None``: it was not.
    """

    def __init__(self, template: Template | None) -> None:
        self._template, self._fields = template, _naming_fields(template)
        self._names: dict[str, str] = {}  # of each prefix without its numbers

    def name(self, prefix: bytes) -> str:
        """Return the name of the server that has this prefix; "": it has none."""
        if self._template is not None and self._fields:
            match = prefix_pattern(self._template).match_whole(prefix)
            if match is not None:
                return _join(match, self._fields)
        text = name_text(prefix)
        uncounted = without_counters(text)
        return self._unique(uncounted if _EDGES.sub("", uncounted) else text)

    def _unique(self, text: str) -> str:
        """Return the name in a text: shortened, unless another text has that name already."""
        short = _SPACES.sub(" ", _EDGES.sub("", text))
        owner = self._names.setdefault(short, text)
        return short if owner == text else text


def _naming_fields(template: Template | None) -> tuple[str, ...]:
    """Return the fields of a template that name a server."""
    if template is None:
        return ()
    names = [part.name for part in template.parts if isinstance(part, Field)]
    naming = [name for name in names if name in _NAMING]
    naming = naming or [name for name in names if name in _NAMING_LAST]
    return tuple(dict.fromkeys(naming))


def _join(match: Match, fields: tuple[str, ...]) -> str:
    return " ".join(match.fields[name].decode("ascii") for name in fields)
