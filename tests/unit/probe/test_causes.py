"""Causes of a failure are asked in their order, within their time, and reported once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.endpoints.client import ClientTarget
from echosvc.net.errors import TLSError
from echosvc.probe.causes.damage import explain_by_same_damage
from echosvc.probe.causes.registry import Cause, CauseTable
from echosvc.probe.check import MAX_RUNS, Check
from echosvc.probe.checks.registry import Probe
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.probe.result import CheckResult
from echosvc.probe.settings import CheckSettings

FAILED = Failed("7 bytes lost")
FOUND = Cause("bytes", "0xff never comes back", "a middlebox eats it", {"value": 255})
OTHER = Cause("limit", "5 of 10 were answered")
LOST = Fault(FaultKind.LOST, 5000, 7, sent=5001, came=5010)


def _zero(_: CheckSettings) -> float:
    return 0.0


class PathTests(SynchronousTestCase):
    """A path to nowhere, on a clock: no experiment of these tests connects."""

    def setUp(self) -> None:
        self.clock, self.table = Clock(), CauseTable()
        endpoint: Any = None
        self.target = ClientTarget(endpoint, "nowhere:1")
        self.path = Path(self.clock, self.target, CheckSettings(timeout=10.0))
        self.asked: list[str] = []

    def know(self, name: str, order: int, answer: Cause | Exception | None, **more: Any) -> None:
        """Register a function that answers so, or raises it."""

        @self.table.register(order=order, **more)
        async def explain(path: Path, failed: Failed) -> Cause | None:
            self.asked.append(name)
            if isinstance(answer, Exception):
                raise answer
            return answer


class CauseTableTests(PathTests):
    def find(self) -> Deferred[Cause | None]:
        return Deferred.fromCoroutine(self.table.find(self.path, FAILED))

    def test_functions_are_asked_in_their_order_until_one_knows_the_cause(self) -> None:
        self.know("third", 30, OTHER)
        self.know("second", 20, FOUND)
        self.know("first", 10, None)
        self.assertIs(self.successResultOf(self.find()), FOUND)
        self.assertEqual(self.asked, ["first", "second"])

    def test_where_none_knows_it_the_probe_is_judged_by_its_own_subject(self) -> None:
        self.know("first", 10, None)
        self.assertIsNone(self.successResultOf(self.find()))

    def test_an_experiment_that_fails_itself_has_found_nothing(self) -> None:
        errors = Failed("no answer"), ConnectionResetError(), TLSError("x"), Skipped("too long")
        for order, error in enumerate(errors):
            self.know(str(order), order, error)
        self.know("last", 9, FOUND)
        self.assertIs(self.successResultOf(self.find()), FOUND)
        self.assertEqual(self.asked, ["0", "1", "2", "3", "last"])

    def test_an_error_of_echosvc_in_an_experiment_leaves_the_other_causes_to_be_found(self) -> None:
        self.know("broken", 1, KeyError("\x1b[31m"))
        self.know("right", 2, FOUND)
        self.assertIs(self.successResultOf(self.find()), FOUND)

    def test_where_no_cause_is_found_an_error_of_echosvc_is_told_and_the_path_not_accused(
        self,
    ) -> None:
        self.know("broken", 1, KeyError("\x1b[31m"))
        self.know("none", 2, None)
        cause = self.successResultOf(self.find())
        self.assertEqual((cause.name, cause.avoidable), ("internal-error", False))
        self.assertIn("KeyError", cause.finding)
        self.assertTrue(cause.finding.isprintable(), cause.finding)
        self.assertIn("not of the path", cause.advice)

    def test_an_experiment_ends_after_its_time_and_the_time_out(self) -> None:
        waiting: Deferred[None] = Deferred()

        @self.table.register(order=10, seconds=5.0)
        async def explain(path: Path, failed: Failed) -> Cause | None:
            await waiting
            return OTHER

        self.know("next", 20, FOUND)
        finding = self.find()
        self.clock.advance(14.9)
        self.assertNoResult(finding)
        self.clock.advance(0.2)
        self.assertIs(self.successResultOf(finding), FOUND)
        self.assertTrue(waiting.called)  # it was cancelled

    def test_an_order_is_taken_once(self) -> None:
        self.know("first", 10, None)
        with self.assertRaisesRegex(ValueError, "the order 10 is taken by another cause"):
            self.know("second", 10, None)


class CheckTests(PathTests):
    """What a check makes of a cause."""

    def check(self, *outcomes: Callable[[int], Finding]) -> CheckResult:
        """Run a check of probes that are judged by how often they were run, counted from 1."""
        return self.run_probes(*(self.probe(n, each) for n, each in enumerate(outcomes, 1)))

    def run_probes(self, *probes: Probe) -> CheckResult:
        settings = CheckSettings(timeout=10.0)
        check = Check(
            self.clock, self.target, settings, "nowhere", probes=probes, causes=self.table
        )
        return self.successResultOf(Deferred.fromCoroutine(check.run()))

    def probe(self, number: int, outcome: Callable[[int], Finding]) -> Probe:
        runs = []

        async def run(path: Path) -> Finding:
            runs.append(number)
            self.asked.append(f"run {number}")
            return outcome(len(runs))

        return Probe(f"probe{number}", number, "", run, _zero, _zero, lambda _: True, "")

    def lines(self, result: CheckResult) -> list[tuple[str, str, str]]:
        return [(each.name, each.result, each.finding) for each in result.probes]

    def fail(self, run: int) -> Finding:
        raise Failed("7 bytes lost")

    def fail_once(self, run: int) -> Finding:
        return self.fail(run) if run == 1 else Finding("all is well")

    def test_a_failure_without_a_cause_is_the_probes_own(self) -> None:
        self.assertEqual(self.lines(self.check(self.fail)), [("probe1", "fail", "7 bytes lost")])

    def test_a_cause_is_reported_once_and_the_probes_refer_to_it(self) -> None:
        self.know("known", 10, FOUND)
        result = self.check(self.fail, self.fail)
        self.assertEqual(
            self.lines(result),
            [
                ("bytes", "fail", "0xff never comes back"),
                ("probe1", "skip", "see bytes: 7 bytes lost"),
                ("probe2", "skip", "see bytes: 7 bytes lost"),
            ],
        )
        self.assertEqual(result.probes[0].cause, "a middlebox eats it")
        self.assertEqual(result.probes[0].facts, {"value": 255})
        self.assertEqual(self.asked.count("run 1"), 1)

    def test_causes_of_one_name_and_of_two_kinds_are_each_reported_once(self) -> None:
        found = {
            "5 of 10 at once": Cause("limit", "5 at once", avoidable=True, kind="open"),
            "8 of 20 in turn": Cause("limit", "8 a second", avoidable=True, kind="rate"),
        }

        @self.table.register(order=10)
        async def explain(path: Path, failed: Failed) -> Cause | None:
            return found[failed.finding]

        def fail_twice(run: int) -> Finding:
            if run <= len(found):
                raise Failed([*found][run - 1])
            return Finding("all is well")

        self.assertEqual(
            self.lines(self.check(fail_twice, fail_twice)),
            [
                ("limit", "fail", "5 at once"),
                ("limit", "fail", "8 a second"),
                ("probe1", "pass", "all is well"),
                ("probe2", "pass", "all is well"),
            ],
        )

    def test_a_probe_is_run_again_where_the_cause_is_avoided(self) -> None:
        self.know("known", 10, Cause("bytes", "0xff", avoidable=True))
        self.assertEqual(
            self.lines(self.check(self.fail_once)),
            [("bytes", "fail", "0xff"), ("probe1", "pass", "all is well")],
        )

    def test_a_probe_that_fails_each_time_is_skipped_after_a_few_runs(self) -> None:
        self.know("known", 10, Cause("bytes", "0xff", avoidable=True))
        self.assertEqual(
            self.lines(self.check(self.fail)),
            [("bytes", "fail", "0xff"), ("probe1", "skip", "see bytes: 7 bytes lost")],
        )
        self.assertEqual(self.asked.count("run 1"), MAX_RUNS)

    def test_after_a_final_cause_nothing_is_asked(self) -> None:
        self.know("known", 10, Cause("outage", "nothing answers any more", final=True))
        result = self.check(self.fail, self.fail)
        self.assertEqual(
            self.lines(result),
            [
                ("outage", "fail", "nothing answers any more"),
                ("probe1", "skip", "see outage: 7 bytes lost"),
                ("probe2", "skip", "see outage"),
            ],
        )
        self.assertNotIn("run 2", self.asked)

    def test_where_no_cause_is_known_a_control_tells_what_a_failure_is_about(self) -> None:
        other = Failed("1 MiB: 7 bytes lost", fault=LOST, subject="sizes")
        result = self.check(self.fail_with_control(other))
        self.assertEqual(
            self.lines(result),
            [
                ("sizes", "fail", "1 MiB: 7 bytes lost"),
                ("probe1", "skip", "see sizes: 1 MiB: 7 bytes lost"),
            ],
        )
        self.assertEqual(self.asked, ["run 1", "control"])

    def test_where_a_cause_is_known_no_control_is_asked(self) -> None:
        self.know("known", 10, FOUND)
        self.check(self.fail_with_control(FAILED))
        self.assertNotIn("control", self.asked)

    def test_a_control_that_passes_leaves_the_failure_to_the_probe_and_asks_no_cause_again(
        self,
    ) -> None:
        self.know("known", 10, None)
        result = self.check(self.fail_with_control(None))
        self.assertEqual(self.lines(result), [("probe1", "fail", "7 bytes lost")])
        self.assertEqual(self.asked, ["run 1", "known", "control"])

    def test_an_error_of_echosvc_ends_one_probe_and_not_the_check(self) -> None:
        def broken(run: int) -> Finding:
            raise KeyError("size")

        result = self.check(broken, lambda _: Finding("right"))
        self.assertEqual(
            self.lines(result),
            [
                ("internal-error", "fail", "the probe probe1 failed: KeyError: 'size'"),
                ("probe1", "skip", "see internal-error: not found out"),
                ("probe2", "pass", "right"),
            ],
        )
        self.assertFalse(result.ok)

    def test_a_fault_of_streams_that_was_reported_explains_the_same_one(self) -> None:
        self.table.register(order=2)(explain_by_same_damage)
        again = replace(LOST, offset=4990, sent=5001)
        result = self.check(self.fail_by(LOST), self.fail_by(again))
        self.assertEqual(
            self.lines(result),
            [("probe1", "fail", "7 bytes lost"), ("probe2", "skip", "see probe1: 7 bytes lost")],
        )
        self.assertEqual(result.probes[1].facts["see"], "probe1")

    def test_another_fault_of_streams_is_reported_too(self) -> None:
        self.table.register(order=2)(explain_by_same_damage)
        other = replace(LOST, kind=FaultKind.REPEATED)
        result = self.check(self.fail_by(LOST), self.fail_by(other))
        self.assertEqual([probe.result for probe in result.probes], ["fail", "fail"])

    def fail_by(self, fault: Fault) -> Callable[[int], Finding]:
        def outcome(run: int) -> Finding:
            raise Failed("7 bytes lost", fault=fault)

        return outcome

    def fail_with_control(self, other: Failed | None) -> Callable[[int], Finding]:
        failed = Failed("7 bytes lost", fault=LOST)

        async def control() -> Failed:
            self.asked.append("control")
            return other or failed

        def outcome(run: int) -> Finding:
            failed.control = control
            raise failed

        return outcome

    def test_a_probe_that_another_one_needs_is_run_and_not_reported(self) -> None:
        needed = replace(self.probe(1, self.fail), enabled=lambda _: False)
        asked = replace(self.probe(2, lambda _: Finding("well")), needs=("probe1",))
        result = self.run_probes(needed, asked)
        self.assertEqual(self.lines(result), [("probe2", "pass", "well")])
        self.assertEqual(self.asked, ["run 1", "run 2"])

    def test_a_cause_of_the_name_of_a_probe_is_its_result(self) -> None:
        self.know("known", 10, Cause("probe2", "5 of 10 got no answer"))
        self.assertEqual(
            self.lines(self.check(self.fail, self.fail)),
            [
                ("probe2", "fail", "5 of 10 got no answer"),
                ("probe1", "skip", "see probe2: 7 bytes lost"),
            ],
        )
