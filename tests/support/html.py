"""An HTML page, read as a browser reads it, and what must hold for every page of a report."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

#: Elements without an end tag.
VOID = {"meta", "link", "img", "br", "hr", "input"}
#: What could load something, or run.
ACTIVE = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "video"}
#: What a picture consists of: nothing that refers to something else, moves or runs.
PICTURE = {"svg", "path", "text"}


class Reader(HTMLParser):
    """The elements and the texts of a page.

    :ivar elements: each tag and its attributes, in order.
    :ivar inside: each tag and the tags that contain it, in order.
    :ivar title: of the page.
    :ivar style: of the page.
    :ivar text: of the body, elements separated by blanks.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, tuple[str, ...]]] = []
        self.style = self.title = ""
        self._texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, self._open
        self.text = " ".join(self._texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.elements.append((tag, dict(attrs)))
        self.inside.append((tag, tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        elif self._open[-1:] == ["title"]:
            self.title += data
        elif data.strip():
            self._texts.append(data)

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def read(page: str) -> Reader:
    """A page, if it stands alone, is well formed, and can be read by a screen reader."""
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    reader = Reader(page)
    _check_it_loads_nothing(reader)
    _check_references(reader)
    _check_structure(reader)
    _check_pictures(reader)
    return reader


def _check_it_loads_nothing(reader: Reader) -> None:
    for tag, attributes in reader.elements:
        assert tag not in ACTIVE, tag
        assert not [name for name in attributes if name.startswith("on") or name == "src"], tag
        assert (attributes.get("href") or "#").startswith("#"), attributes
    assert not re.search(r"url\(|@import|https?:", reader.style)


def _check_references(reader: Reader) -> None:
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(set(ids)) == len(ids), ids
    for _, attributes in reader.elements:
        if target := attributes.get("href"):
            assert target[1:] in ids, target
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def _check_structure(reader: Reader) -> None:
    tags = [tag for tag, _ in reader.elements]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == tags.count("main") == tags.count("title") == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert tags.count("caption") == tags.count("table")
    assert all(each.get("scope") in ("row", "col") for each in reader.tags("th"))


def _check_pictures(reader: Reader) -> None:
    """Every picture says what it shows, or is hidden from those who do not see it."""
    assert {tag for tag, inside in reader.inside if "svg" in inside} <= PICTURE
    for attributes in reader.tags("svg"):
        named = attributes.get("role") == "img" and attributes.get("aria-label")
        assert named or attributes.get("aria-hidden") == "true", attributes
    pictures = [each for each in reader.tags("svg") if each.get("role") == "img"]
    tables = [inside for tag, inside in reader.inside if tag == "table" and "figure" in inside]
    assert len(pictures) == len(reader.tags("figure")) == len(tables)
    assert all("details" in inside for inside in tables)
    for attributes in reader.tags("div"):
        if "tabindex" in attributes:
            assert attributes.get("role") == "region", attributes
            assert attributes.get("aria-label"), attributes
