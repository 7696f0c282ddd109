"""What an import costs and where imports may point."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

import echosvc
from echosvc import endpoints
from tests.support.packages import (
    ABOVE_ALL,
    ALLOWED,
    EVERYWHERE,
    HOME,
    MODULES,
    is_allowed,
    matches,
    named_modules,
    nodes_of,
)

#: Modules that load no Twisted, zope or OpenSSL.
PURE = (
    "wire",
    "config",
    "reports",
    "_text",
    "connection.outcome",
    "connection.blocks",
    "connection.phase",
    "connection.timeouts",
    "faults.spec",
    "faults.engine",
    "faults.plan",
    "net.hosts",
    "cli.standard_descriptors",
    "tls.alerts",
    "tls.records",
    "probe.settings",
    "probe.result",
    "probe.engine.payload",
    "probe.engine.diagnosis",
    "probe.engine.alignment",
    "probe.engine.fault",
    "probe.engine.hypotheses",
    "probe.engine.sent_payloads",
    "probe.engine.several_faults",
    "probe.causes.known_mappings",
    "probe.engine.verifier",
    "probe.engine.findings",
    "probe.engine.knowledge",
    "probe.engine.prefix_detection",
    "probe.engine.reply_forms",
    "probe.engine.reply_times",
    "probe.engine.size_limit",
    "probe.engine.silence",
    "probe.engine.tcp_info",
    "probe.soak.backoff",
    "probe.soak.beat",
    "probe.soak.limits",
    "probe.soak.stall_watch",
    "probe.soak.statistics",
    "probe.soak.timeline",
    "probe.traffic",
    "probe.share.answers",
    "probe.share.changes",
    "probe.share.confidence",
    "probe.share.decision",
    "probe.share.expectation",
    "probe.share.failures",
    "probe.share.names",
    "probe.share.result",
    "probe.share.settings",
    "probe.share.source_ports",
    "probe.share.tally",
    "probe.share.timeline",
)


#: Private names of Twisted, pyOpenSSL and Python that have no public equal.
UPSTREAM = {
    "_accept",
    "_disconnectSelectable",
    "_doReadOrWrite",
    "_exit",
    "_fromListeningDescriptor",
    "_get_running_loop",
    "_hostnameASCII",
    "_internalReaders",
    "_registerAsIOThread",
    "_replace",
    "_tempDataLen",
    "_writeDisconnected",
}


DECLARATIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


_LOADED = """
import sys
{code}
for name in {names!r}:
    if name in sys.modules:
        sys.exit(name + " is loaded")
"""


@cache
def graph_of_imports() -> dict[str, set[str]]:
    """The modules that each module imports."""
    return {name: set(named_modules(MODULES[name].read_text("utf-8"))) - {name} for name in MODULES}


def circles(graph: dict[str, set[str]]) -> set[str]:
    """The modules that stand in a circle of imports, or between two."""
    while True:
        targets = {target for name in graph for target in graph[name] if target in graph}
        inside = {name for name in graph if name in targets and graph[name] & graph.keys()}
        if inside == graph.keys():
            return inside
        graph = {name: graph[name] for name in inside}


def foreign_private_names(source: str) -> set[str]:
    """The private names that a source reaches on other objects and does not declare itself.

    On ``self`` they may be a hook of the base class.
    """
    nodes = nodes_of(source)
    own = {each.name for each in nodes if isinstance(each, DECLARATIONS)}
    own |= {each.id for each in nodes if isinstance(each, ast.Name)}
    own |= {each.attr for each in nodes if isinstance(each, ast.Attribute) and is_self(each.value)}
    return {
        each.attr
        for each in nodes
        if isinstance(each, ast.Attribute) and re.match("_[^_]", each.attr)
    } - own


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def package(name: str) -> str:
    return name.partition(".")[0]


def fresh(code: str, absent: tuple[str, ...]) -> tuple[int, str]:
    """Run code in a process of its own; which of some modules it has loaded."""
    command = [sys.executable, "-c", _LOADED.format(code=code, names=absent)]
    done = subprocess.run(
        command, cwd=HOME.parent, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


class TableTests(SynchronousTestCase):
    def test_every_module_is_in_a_row_of_the_table(self) -> None:
        rows = ALLOWED.keys() | EVERYWHERE | ABOVE_ALL
        self.assertEqual({package(name) for name in MODULES} - rows, set())
        self.assertEqual(rows - {package(name) for name in MODULES}, set())

    def test_a_package_imports_only_what_its_row_allows(self) -> None:
        wrong = [
            f"{name} -> {target}"
            for name, targets in graph_of_imports().items()
            if package(name) not in ABOVE_ALL
            for target in targets
            if not is_allowed(package(name), target)
        ]
        self.assertEqual(wrong, [])

    def test_what_a_row_allows_is_used(self) -> None:
        """All but what the probe that CONTRIBUTING.md shows imports."""
        graph = graph_of_imports()
        unused = [
            f"{row} -> {each}"
            for row, allowed in ALLOWED.items()
            for each in allowed
            if not any(
                matches(target, each)
                for name in graph
                if package(name) == row
                for target in graph[name]
            )
        ]
        self.assertLessEqual(set(unused), {"probe -> connection.outcome"})

    def test_probes_import_causes_and_both_the_engine_and_never_the_other_way(self) -> None:
        order = ("probe.engine", "probe.causes", "probe.checks")
        wrong = [
            f"{name} -> {target}"
            for name, targets in graph_of_imports().items()
            for target in targets
            for place, lower in enumerate(order)
            for upper in order[place + 1 :]
            if matches(name, lower) and matches(target, upper)
        ]
        self.assertEqual(wrong, [])

    def test_no_modules_import_each_other_in_a_circle(self) -> None:
        self.assertEqual(circles(dict(graph_of_imports())), set())

    def test_no_module_takes_a_private_name_of_another(self) -> None:
        wrong = [
            f"{name}: {alias.name}"
            for name, path in MODULES.items()
            for node in nodes_of(path.read_text("utf-8"))
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("echosvc.")
            for alias in node.names
            if alias.name.startswith("_") and alias.name != "__version__"
        ]
        self.assertEqual(wrong, [])

    def test_no_module_reaches_a_private_name_of_an_object_of_another(self) -> None:
        found = {
            name: foreign_private_names(path.read_text("utf-8")) for name, path in MODULES.items()
        }
        wrong = [f"{name}: {each}" for name in found for each in found[name] - UPSTREAM]
        self.assertEqual(wrong, [])
        self.assertEqual(UPSTREAM - set().union(*found.values()), set())  # each is used

    def test_a_private_name_of_another_is_seen_and_one_of_its_own_module_is_not(self) -> None:
        source = "class A:\n    def f(self):\n        self._x = self._hook()\n        return {}"
        self.assertEqual(foreign_private_names(source.format("other._x")), set())
        self.assertEqual(foreign_private_names(source.format("self.other._y")), {"_y"})


class CostTests(SynchronousTestCase):
    def test_what_is_pure_loads_no_twisted(self) -> None:
        names = [name for name in MODULES if any(matches(name, pure) for pure in PURE)]
        imports = [f"import echosvc.{name}" for name in names]
        impure = ("twisted", "zope", "OpenSSL")
        if fresh("\n".join(imports), impure) != (0, ""):  # which of them?
            self.fail([each for each in imports if fresh(each, impure) != (0, "")])

    def test_no_import_installs_a_reactor(self) -> None:
        names = ["echosvc", *(f"echosvc.{name}" for name in MODULES if not name.startswith("__"))]
        names.append("twisted.plugins.echosvc_plugin")
        code = "\n".join(f"import {name}" for name in names)
        self.assertEqual(fresh(code, ("twisted.internet.reactor",)), (0, ""))

    def test_a_server_loads_no_client(self) -> None:
        absent = tuple(f"echosvc.{name}" for name in ("client", "probe", "cli", "endpoints"))
        self.assertEqual(fresh("import echosvc; echosvc.EchoFactory", absent), (0, ""))

    def test_a_command_that_serves_loads_neither_client_nor_tls(self) -> None:
        unused = ("client", "probe", "endpoints.client", "tls.endpoints")
        absent = tuple(f"echosvc.{name}" for name in unused)
        self.assertEqual(fresh("import echosvc.cli.twistd, echosvc.cli.serve", absent), (0, ""))

    def test_a_check_loads_no_server(self) -> None:
        self.assertEqual(fresh("import echosvc; echosvc.check", ("echosvc.server",)), (0, ""))
        self.assertEqual(fresh("import echosvc; echosvc.load", ("echosvc.server",)), (0, ""))

    def test_a_command_loads_no_other_command(self) -> None:
        others = ("check", "load", "merge", "soak", "share", "compare")
        absent = tuple(f"echosvc.cli.{name}" for name in others)
        run = "from echosvc.cli.main import main; main(['send', '--timeout', 'no'])"
        self.assertEqual(
            fresh(run, (*absent, "echosvc.server", "echosvc.reports", "echosvc.probe.check"))[0], 0
        )


class PublicNameTests(SynchronousTestCase):
    def test_every_public_name_is_there_and_no_other(self) -> None:
        for name in echosvc.__all__:
            self.assertIn(name, dir(echosvc))
            self.assertIsNotNone(getattr(echosvc, name))
        with self.assertRaisesRegex(AttributeError, "no attribute 'nonsense'"):
            echosvc.nonsense  # noqa: B018

    def test_every_public_name_is_the_object_of_its_module(self) -> None:
        for name in set(echosvc.__all__) - {"__version__"}:
            value = getattr(echosvc, name)
            self.assertIs(getattr(sys.modules[value.__module__], name), value)

    def test_the_documented_paths_of_endpoints_are_there(self) -> None:
        for name in ("EndpointError", "ClientTarget", "client_endpoint", "server_endpoint"):
            self.assertIn(name, endpoints.__all__)
            self.assertIsNotNone(getattr(endpoints, name))

    def test_the_public_names_are_sorted(self) -> None:
        self.assertEqual(echosvc.__all__, sorted(echosvc.__all__))
        wanted = {"EchoFactory", "EchoProtocol", "EchoClient", "EchoClientFactory", "connect"}
        self.assertLessEqual(wanted, set(echosvc.__all__))
