"""What an import costs and where imports may point."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import echosvc

HOUSE = Path(echosvc.__file__).parent
PROBE = sorted(path.stem for path in (HOUSE / "probe").glob("*.py") if path.stem != "__init__")
MODULES = sorted(path.stem for path in HOUSE.glob("*.py") if path.stem != "__init__")

#: Rooms of the house from the ground up: each may import what stands before it.
LOWER = (
    "_version", "framing", "prefix", "report", "config", "sweep", "deadlines", "transport",
    "replies", "batch", "stream", "group", "accepting", "flow", "sending", "layer",
    "records", "handshake", "identity", "tls", "link", "connection", "answering",
)  # fmt: skip
UPPER = ("server", "factory", "client", "service", "options", "cli")

_NO_REACTOR = """
import sys
for name in {names!r}:
    __import__(name)
    if "twisted.internet.reactor" in sys.modules:
        sys.exit(name + " installs a reactor")
"""


def imported(name: str) -> set[str]:
    """The modules of the package that a module imports when it is imported."""
    found: set[str] = set()
    tree = ast.parse((HOUSE / f"{name}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("echosvc."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.ImportFrom):
            is_house = node.level or node.module == "echosvc"
            found.update(alias.name for alias in node.names if is_house)
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found.update(parts[1] for parts in names if parts[0] == "echosvc" and parts[1:])
    return found - _for_types_only(tree)


def _for_types_only(tree: ast.Module) -> set[str]:
    blocks = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    froms = [node for block in blocks for node in ast.walk(block)]
    return {str(node.module).split(".")[-1] for node in froms if isinstance(node, ast.ImportFrom)}


class ImportTests(SynchronousTestCase):
    def test_every_public_name_is_there_and_no_other(self) -> None:
        for name in echosvc.__all__:
            self.assertIn(name, dir(echosvc))
            self.assertIsNotNone(getattr(echosvc, name))
        with self.assertRaisesRegex(AttributeError, "no attribute 'nonsense'"):
            echosvc.nonsense  # noqa: B018

    def test_a_server_does_not_import_the_client(self) -> None:
        code = "import sys, echosvc; echosvc.EchoFactory; sys.exit('echosvc.client' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", code]).returncode, 0)

    def test_no_import_installs_a_reactor(self) -> None:
        names = ["echosvc", *(f"echosvc.{name}" for name in MODULES)]
        names += [f"echosvc.probe.{name}" for name in PROBE]
        names.append("twisted.plugins.echosvc_plugin")
        command = [sys.executable, "-c", _NO_REACTOR.format(names=names)]
        done = subprocess.run(
            command, cwd=HOUSE.parent, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_the_lower_rooms_import_no_upper_one(self) -> None:
        for name in LOWER:
            self.assertEqual(imported(name) & set(UPPER), set(), name)

    def test_no_two_modules_import_each_other(self) -> None:
        graph = {name: imported(name) & set(MODULES) for name in MODULES}
        while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
            for name in leaves:
                del graph[name]
        self.assertEqual(graph, {})

    def test_what_is_no_io_imports_no_twisted(self) -> None:
        for name in (
            "framing",
            "prefix",
            "pattern",
            "answer",
            "unprefixed",
            "config",
            "limits",
            "throttle",
            "proxy",
            "mischief",
            "replies",
        ):
            text = (HOUSE / f"{name}.py").read_text("utf-8")
            self.assertNotIn("import twisted", text)
            self.assertNotIn("from twisted", text)

    def test_what_judges_streams_imports_no_twisted(self) -> None:
        for name in ("payload", "marks", "diagnosis", "verify", "learning", "settings", "result"):
            text = (HOUSE / "probe" / f"{name}.py").read_text("utf-8")
            self.assertNotIn("import twisted", text)
            self.assertNotIn("from twisted", text)

    def test_only_the_command_line_asks_probes(self) -> None:
        for name in MODULES:
            if name not in ("cli", "__init__"):
                self.assertNotIn("probe", imported(name), name)

    def test_only_the_command_lines_see_options(self) -> None:
        for name in MODULES:
            if name not in ("options", "service", "serving", "cli", "__main__"):
                self.assertEqual(imported(name) & {"options", "cli", "service"}, set(), name)

    def test_the_public_names_are_there(self) -> None:
        for name in echosvc.__all__:
            self.assertTrue(hasattr(echosvc, name), name)
        self.assertEqual(echosvc.__all__, sorted(echosvc.__all__))
        wanted = {"EchoFactory", "EchoProtocol", "EchoClient", "EchoClientFactory", "connect"}
        self.assertLessEqual(wanted, set(echosvc.__all__))
