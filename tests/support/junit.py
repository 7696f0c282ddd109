"""What readers of JUnit XML accept: that in which two widely used schemas agree.

These are the one for Ant's ``junitreport`` (JUnit.xsd) and the one of Jenkins' xUnit plugin
(junit-10.xsd). The first demands more; the second allows milliseconds at most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, fromstring

ANY, NAME, COUNT, TIME = r"(?s:.*)", r"(?s:.*\S.*)", r"\d+", r"\d+\.\d{3}"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


@dataclass(frozen=True)
class Rule:
    """How an element may be.

    :ivar children: a pattern of the names of its children, each with a blank behind it.
    :ivar attributes: patterns of their values; all are required.
    :ivar text: whether it may contain text.
    """

    children: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    text: bool = False


RULES = {
    "testsuites": Rule("(testsuite )*"),
    "testsuite": Rule(
        "properties (testcase )*system-out system-err ",
        {
            "id": COUNT, "package": NAME, "name": NAME, "hostname": NAME, "timestamp": STAMP,
            "tests": COUNT, "failures": COUNT, "errors": COUNT, "skipped": COUNT, "time": TIME,
        },
    ),
    "properties": Rule("(property )*"),
    "property": Rule("", {"name": NAME, "value": ANY}),
    "testcase": Rule(
        "(skipped |failure |error )?", {"name": NAME, "classname": NAME, "time": TIME}
    ),
    "skipped": Rule("", {"message": ANY}),
    "failure": Rule("", {"message": ANY, "type": ANY}, text=True),
    "error": Rule("", {"message": ANY, "type": ANY}, text=True),
    "system-out": Rule(text=True),
    "system-err": Rule(text=True),
}  # fmt: skip


def accepted(document: str) -> Element:
    """The one suite of a document, if readers accept the document."""
    root = fromstring(document.encode("utf-8"))
    assert root.tag == "testsuites"
    for each in root.iter():
        _check(each, RULES[each.tag])
    (suite,) = root
    counted = {
        "tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped",
    }  # fmt: skip
    for name, tags in counted.items():
        assert int(suite.attrib[name]) == len(list(suite.iter(tags))), name
    return suite


def _check(each: Element, rule: Rule) -> None:
    assert re.fullmatch(rule.children, "".join(f"{child.tag} " for child in each)), each.tag
    assert each.attrib.keys() == rule.attributes.keys(), each.tag
    for name, pattern in rule.attributes.items():
        assert re.fullmatch(pattern, each.attrib[name]), (each.tag, name, each.attrib[name])
    assert rule.text or not (each.text or "").strip(), each.tag
    assert not (each.tail or "").strip(), each.tag
