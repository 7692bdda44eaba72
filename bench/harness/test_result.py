"""`python3 -m unittest discover -s bench -t bench` runs these."""

import unittest
from pathlib import Path

from .model import Bar, Figure, Scenario, entries, entry
from .report import is_met, markdown
from .result import FAILED, Result
from .servers import SocketIo, Tidings
from .session import Session
from .suites import SUITES
from .suites.idle import _extrapolated
from .supplies import Supplies

CPU = Figure("cpu", lambda report: report["cpu"])
HALF = Bar("cpu, of Socket.IO's", CPU, 0.5, SocketIo.name)
FEW = Bar("cpu", CPU, 3.0)


def result(ours: list[float | None], theirs: list[float | None], *bars: Bar) -> Result:
    """A result of these figures, a round each."""
    scenario = Scenario("a load", lambda *_: {}, entries(SocketIo, Tidings), (CPU,), bars)
    reports = {SocketIo.name: theirs, Tidings.name: ours}
    return Result(
        scenario, {name: [{"cpu": value} for value in found] for name, found in reports.items()}
    )


class Unmeasured(Session):
    """Remembers the scenarios that it should have measured."""

    def __init__(self):
        super().__init__(1, 1.0, frozenset(), Supplies(Path()))
        self.scenarios: list[Scenario] = []

    def measure(self, scenario: Scenario) -> Result:
        self.scenarios.append(scenario)
        return Result(scenario, {})


def told(*results: Result) -> tuple[str, bool]:
    """The report of a session with these results, and whether its bars are met."""
    session = Unmeasured()
    session.results += results
    return markdown(session, {"fact": "x"}, "x.svg"), is_met(session)


class ResultTest(unittest.TestCase):
    def test_ratio_is_taken_round_by_round(self):
        # The medians' own ratio, 4 / 10, would say that the bar was met.
        found = result([4.0, 40.0, 2.0], [10.0, 40.0, 2.5], HALF)
        self.assertEqual(found.ratios(CPU, "tidings", "socket.io"), [0.4, 1.0, 0.8])
        row, met = found.judge(HALF)
        self.assertFalse(met)
        self.assertEqual(row[1:], ["≤ 0.5", "0.80 (0.40–1.00)", "MISSED"])

    def test_a_round_that_one_side_lacks_makes_no_ratio(self):
        found = result([4.0, 6.0, 2.0], [8.0, None, 8.0])
        self.assertEqual(found.ratios(CPU, "tidings", "socket.io"), [0.5, 0.25])

    def test_two_sides_may_have_different_figures(self):
        twice = Figure("twice", lambda report: 2 * report["cpu"])
        bar = Bar("cpu, of twice Socket.IO's", CPU, 1.0, SocketIo.name, their_figure=twice)
        row, met = result([10.0], [10.0], bar).judge(bar)
        self.assertEqual((row[2], met), ("0.50", True))

    def test_every_bar_must_be_met(self):
        text, met = told(result([2.0, 4.0], [10.0, 10.0], HALF, FEW))
        self.assertTrue(met)
        self.assertIn("- fact: x\n\n## Bars\n\n", text)
        self.assertIn("\n| server | cpu | × socket.io |\n| --- | ---: | ---: |\n", text)
        self.assertIn("| tidings | 3.00 (2.00–4.00) | 0.30 (0.20–0.40) |", text)
        self.assertIn("| cpu, of Socket.IO's | ≤ 0.5 | 0.30 (0.20–0.40) | met |", text)
        self.assertFalse(told(result([2.0, 4.1], [10.0, 10.0], HALF, FEW))[1])

    def test_a_bar_without_its_peer_is_not_judged(self):
        alone = result([2.0], [], HALF, FEW)
        del alone.reports[SocketIo.name]
        text, met = told(alone)
        self.assertTrue(met)
        self.assertNotIn(HALF.title, text)
        self.assertIn("| cpu | ≤ 3 | 2.00 | met |", text)

    def test_nothing_measured_is_not_met(self):
        found = result([None], [10.0], FEW)
        self.assertEqual(found.table()[-1], ["tidings", "–", "–"])
        self.assertFalse(found.judge(FEW)[1])

    def test_a_failed_round_is_told_and_misses_the_bar(self):
        found = result([2.0, 2.0], [10.0, 10.0], HALF)
        found.reports["tidings"][1] = {FAILED: "lost\n2 clients"}
        self.assertEqual(found.values(CPU, "tidings"), [2.0])
        text, met = told(found)
        self.assertFalse(met)
        self.assertIn("- tidings failed in round 2: lost 2 clients", text)

    def test_a_peer_that_failed_leaves_the_rounds_that_it_did_not(self):
        found = result([2.0, 2.0], [10.0, 10.0], HALF)
        found.reports["socket.io"][0] = {FAILED: "lost"}
        self.assertEqual(found.judge(HALF), ([HALF.title, "≤ 0.5", "0.20", "met"], True))

    def test_options_of_an_entry_come_before_those_of_its_scenario(self):
        given: list[dict[str, object]] = []

        def run(_, options: dict[str, object]) -> dict:
            given.append(options)
            return {}

        chosen = entry(Tidings, "one", in_flight=3)
        Scenario("x", run, (chosen,), (CPU,), options={"in-flight": 1, "rate": 2}).run(chosen, None)
        self.assertEqual(given, [{"in-flight": 3, "rate": 2}])


class SuitesTest(unittest.TestCase):
    def test_bars_judge_every_target(self):
        session = Unmeasured()
        SUITES["bars"].measure(session)
        bars = [(bar, scenario) for scenario in session.scenarios for bar in scenario.bars]
        found = {(bar.against, round(bar.at_most, 3)) for bar, _ in bars}
        targets = {
            ("bun", 1.1), ("socket.io", 0.45), ("socketioxide", 0.6),  # one emit per flush
            ("bun", 0.8), ("socket.io", 0.083), ("bun", 1.0),  # flat out
            (None, 10.0),  # acknowledgements, and the stream API
            ("tidings", 0.5), (None, 0.0),  # conflation, and nobody refused
            (None, 4.0), (None, 20.0), (None, 1.5),  # memory
            ("socket.io", 0.167), ("socketioxide", 1.0), ("socket.io", 0.25),  # connecting
        }  # fmt: skip
        self.assertEqual(targets - found, set())
        for bar, scenario in bars:
            self.assertLessEqual(bar.sides, {entry.name for entry in scenario.entries}, bar.title)
            self.assertIn(bar.figure, scenario.figures)

    def test_every_suite_runs_through_although_nothing_is_measured(self):
        for name, suite in SUITES.items():
            session = Unmeasured()
            suite.measure(session)
            names = [entry.name for scenario in session.scenarios for entry in scenario.entries]
            self.assertTrue(names, name)

    def test_memory_beyond_what_is_measured_goes_by_the_slope(self):
        few, many = ({"kib_per_connection": kib, "entry": "x"} for kib in (4.0, 3.0))
        found = _extrapolated(few, many)
        self.assertAlmostEqual(found["slope_kib"], 14_000 / 8_000)
        self.assertAlmostEqual(found["mib"]["50000"], (54_000 + 32_000 * 1.75) / 1024)


if __name__ == "__main__":
    unittest.main()
