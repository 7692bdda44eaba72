"""`python3 -m unittest discover -s bench -t bench` runs these."""

import unittest
from types import SimpleNamespace

from .model import Bar, Figure, Scenario, entries, entry
from .report import is_met, markdown
from .result import FAILED, Result
from .servers import SocketIo, Tidings
from .suites import SUITES

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


def told(*results: Result) -> tuple[str, bool]:
    """The report of a session with these results, and whether its bars are met."""
    session = SimpleNamespace(results=list(results))
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


class BarsTest(unittest.TestCase):
    def test_every_suite_is_told_apart(self):
        self.assertEqual(len({suite.about for suite in SUITES.values()}), len(SUITES))


if __name__ == "__main__":
    unittest.main()
