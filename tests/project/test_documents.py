"""What the documents say about the code is true: names, paths, links, written parts."""

from __future__ import annotations

import configparser
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import echosvc
from tests import architecture
from tests.architecture import MODULES
from tests.support.packages import nodes_of
from tests.support.process import ROOT

_TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
DOCUMENTS = sorted([*(ROOT / name for name in _TOP), *(ROOT / "docs").rglob("*.md")])
#: Documents about other code: Node's, that of a release or that of a measured run.
_OTHER_CODE = {"node.md", "CHANGELOG.md", "performance.md"}
#: Names of Twisted, of Node and of a load balancer that no source uses, and names of files.
_FOREIGN = {
    "resetAndDestroy", "setTimeout", "ConnectionSettings", "IdleTimeout",
    "ClientService", "ReactorBase.mainLoop", "StandardIOEndpoint", "echosvc.log", "mainLoop", "md",
}  # fmt: skip
#: A middlebox, the peer, a pending connection, admission, the operator; "Return", not "Give".
_RIDDLES = re.compile(
    r"something between|the far end|\bstrangers?\b|\bthe door\b|\bwhoever\b|\btold of\b"
    r'|"""(?:Give|Tell)\b',
    re.IGNORECASE,
)
#: They say what their last run said.
_WRITTEN_BY_RUNS = {"performance.md", "reliability.md"}
_CODE = re.compile(r"`([^`\n]+)`")
_REFERENCE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([\w.]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_DOTTED = re.compile(r"\b(?:echosvc|tests|benchmarks)(?:\.[A-Za-z_]\w*)+")
_PATH = re.compile(r"\b(?:echosvc|tests|benchmarks|docs|examples|twisted)/[\w./*-]*")
_CAMEL = re.compile(r"\b[A-Z][a-z]+[A-Z]\w*(?:\.\w+)*")
_ATTRIBUTE = re.compile(r"(?<![\w.])([A-Z]\w*)\.(\w+)")
_CALL = re.compile(r"^(?:[\w.]+\.)?([a-z_]\w*)\([^)]*\)$")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def code(path: Path) -> list[str]:
    """The passages in a document that are set as code within a sentence or a table."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return _CODE.findall(re.sub(r"^    .*$", "", prose, flags=re.MULTILINE))


@cache
def known() -> frozenset[str]:
    """All identifiers in the sources, those of Twisted that they name included."""
    sources = [each for name in ("echosvc", "docs", "examples", "tests", "twisted")
               for each in (ROOT / name).rglob("*.py")]  # fmt: skip
    return frozenset(name for path in sources for name in _identifiers(path))


def _identifiers(path: Path) -> Iterator[str]:
    if path == Path(__file__):
        return
    for node in nodes_of(path.read_text("utf-8")):
        for field in ("id", "attr", "arg", "name", "asname"):
            value = vars(node).get(field)
            if isinstance(value, str):
                yield from value.split(".")


def exists(dotted: str) -> bool:
    """Return whether a dotted name is a module, or can be reached from one."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        return _has(found, parts[size:])
    return False


def _has(found: object, names: list[str]) -> bool:
    for position, name in enumerate(names):
        if not hasattr(found, name):
            last = position == len(names) - 1
            return last and isinstance(found, type) and name in instance_attributes(found)
        found = getattr(found, name)
    return True


@cache
def instance_attributes(kind: type) -> set[str]:
    """The attributes that instances of a class get, by its own code and that of its bases."""
    kinds = [each for each in kind.__mro__ if each.__module__.startswith(("echosvc", "twisted"))]
    sources = [inspect.getsource(each) for each in kinds]
    declared = {name for each in kinds for name in inspect.get_annotations(each)}
    return declared | set(re.findall(r"\bself\.(\w+)(?:: [^=\n]+)? =", "\n".join(sources)))


@cache
def classes() -> dict[str, list[type]]:
    """The classes of echosvc by their names."""
    found: dict[str, list[type]] = {}
    for name in MODULES:
        module = importlib.import_module(f"echosvc.{name}" if name != "__init__" else "echosvc")
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__ == module.__name__:
                found.setdefault(each.__name__, []).append(each)
    return found


def wrong_names(path: Path) -> Iterator[str]:
    """The names in a document that no source has."""
    for passage in code(path):
        dotted = _DOTTED.findall(passage)
        yield from (name for name in dotted if name not in _FOREIGN and not exists(name))
        yield from (f"{kind}.{name}" for kind, name in _ATTRIBUTE.findall(passage)
                    if not is_attribute(kind, name))  # fmt: skip
        named = _CAMEL.findall(passage) + [call[1] for call in [_CALL.match(passage)] if call]
        yield from (name for name in named if not set(name.split(".")) <= known() | _FOREIGN)


def is_attribute(kind: str, name: str) -> bool:
    """Return whether a class has an attribute; of a class that is not echosvc's, whether it may."""
    if kind in classes():
        return any(_has(each, [name]) for each in classes()[kind])
    return name in known() | _FOREIGN


@each_document
def test_every_name_of_the_code_exists(path: Path) -> None:
    if path.name not in _OTHER_CODE:
        assert sorted(set(wrong_names(path))) == []


@each_document
def test_every_path_of_the_repository_exists(path: Path) -> None:
    if path.name in _OTHER_CODE:
        return
    named = {found.rstrip("./") for passage in code(path) for found in _PATH.findall(passage)}
    assert [each for each in sorted(named) if not list(ROOT.glob(each))] == []


@each_document
def test_every_link_leads_to_a_file(path: Path) -> None:
    links = [link.partition("#")[0] for link in _LINK.findall(path.read_text("utf-8"))]
    inside = {link for link in links if link and "://" not in link}
    assert [link for link in sorted(inside) if not (path.parent / link).exists()] == []


def test_every_reference_in_a_docstring_has_a_target() -> None:
    wrong = []
    for name, path in MODULES.items():
        for target in _REFERENCE.findall(path.read_text("utf-8")):
            kind, _, attribute = target.partition(".")
            if target.startswith("echosvc."):
                right = exists(target)
            elif kind in classes() and attribute:
                right = is_attribute(kind, attribute)
            else:
                right = target.startswith("twisted.") or set(target.split(".")) <= known()
            if not right:
                wrong.append(f"{name}: {target}")
    assert wrong == []


def test_no_text_uses_words_that_the_glossary_replaces() -> None:
    """CONTRIBUTING, "Prose": what is here has a term of the field, or is a riddle."""
    places = [ROOT / name for name in ("echosvc", "examples", "twisted")]
    sources = [path for place in places for path in place.rglob("*.py")]
    texts = [*sources, *(path for path in DOCUMENTS if path.name not in _WRITTEN_BY_RUNS)]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in texts
        for match in _RIDDLES.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_the_drawings_name_only_what_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    drawings = "\n".join(re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    top = "|".join(sorted({name.partition(".")[0] for name in MODULES} - {"__init__"}))
    named = set(re.findall(rf"\b(?:{top})(?:\.\w+)+", drawings)) - {
        f"{each}.py" for each in MODULES
    }
    assert len(named) > 10
    assert [each for each in sorted(named) if not exists(f"echosvc.{each}")] == []


def test_the_renamed_names_exist_by_their_new_ones() -> None:
    section = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("### Renamed")[2]
    rows = re.findall(r"^\| `[^`]+` \| `([^`]+)` \|", section, re.MULTILINE)
    new = [re.sub(r"\([^)]*\)", "", row) for row in rows]
    assert new
    assert [name for name in new if not exists(name) and not set(name.split(".")) <= known()] == []


#: Public paths of the documents and examples of the time before the modules were in packages.
_PUBLIC_BEFORE = (
    *(f"echosvc.{name}" for name in echosvc.__all__),
    "echosvc.certificates.Demands",
    "echosvc.clock.make_monotonic",
    "echosvc.endpoints.EndpointError",
    "echosvc.endpoints.client_endpoint",
    "echosvc.endpoints.server_endpoint",
    "echosvc.report.VerificationError",
    "echosvc.secure.TLSListener",
    "echosvc.testing.EchoServer",
    "echosvc.testing.Mischief",
    "echosvc.testing.Relay",
    "echosvc.testing.echo_server",
    "echosvc.testing.misbehaving_relay",
)


@pytest.mark.parametrize("path", _PUBLIC_BEFORE)
def test_a_path_that_was_documented_before_the_packages_is_there_or_renamed(path: str) -> None:
    section = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("### Renamed")[2]
    rows = re.findall(r"^\| (.*) \| .* \|$", section, re.MULTILINE)
    renamed = {name for row in rows for name in _DOTTED.findall(row)}
    assert exists(path) or path in renamed


def test_every_dependency_has_its_line() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    wanted = [settings["options"]["install_requires"], *settings["options.extras_require"].values()]
    names = set(re.findall(r"^([A-Za-z][\w-]*)", "\n".join(wanted), re.MULTILINE))
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)
    assert len(names) > 5
    assert names - set(re.findall(r"[A-Za-z][\w-]*", "\n".join(rows))) == set()


def test_the_written_parts_of_the_architecture_are_up_to_date() -> None:
    text = architecture.DOCUMENT.read_text("utf-8")
    assert architecture.parts(text) == [*architecture.WRITTEN]
    assert all(write().count("\n") > 5 for write in architecture.WRITTEN.values())
    assert architecture.written(text) == text, "run: python -m tests.architecture --write-docs"


def test_a_changed_table_of_imports_changes_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    text = architecture.DOCUMENT.read_text("utf-8")
    monkeypatch.setitem(architecture.ALLOWED, "config", {"wire", "net"})
    assert "`net`, `wire` |" in architecture.written(text)
    with pytest.raises(AssertionError):
        test_the_written_parts_of_the_architecture_are_up_to_date()
