"""`python3 -m unittest discover -s bench -t bench` runs these."""

import unittest

from .report import Result, markdown
from .scenarios import Bar, Figure, Scenario
from .servers import SocketIo, Tidings

CPU = Figure("cpu", lambda report: report["cpu"])
HALF = Bar("cpu, of Socket.IO's", CPU, 0.5, SocketIo.name)
FEW = Bar("cpu", CPU, 3.0)


def result(ours: list[float | None], theirs: list[float], *bars: Bar) -> Result:
    """A result of these figures, a round each."""
    scenario = Scenario("a load", "fanout", (SocketIo, Tidings), (CPU,), bars)
    reports = {SocketIo.name: theirs, Tidings.name: ours}
    return Result(
        scenario, {name: [{"cpu": value} for value in found] for name, found in reports.items()}
    )


class ReportTest(unittest.TestCase):
    def test_ratio_is_taken_round_by_round(self):
        # The medians' own ratio, 4 / 10, would say that the bar was met.
        found = result([4.0, 40.0, 2.0], [10.0, 40.0, 2.5], HALF)
        self.assertEqual(found.ratios(CPU, "tidings", "socket.io"), [0.4, 1.0, 0.8])
        row, met = found.judge(HALF)
        self.assertFalse(met)
        self.assertEqual(row[1:], ["≤ 0.5", "0.80 (0.40–1.00)", "MISSED"])

    def test_every_bar_must_be_met(self):
        text, met = markdown([result([2.0, 4.0], [10.0, 10.0], HALF, FEW)], {"fact": "x"})
        self.assertTrue(met)
        self.assertIn("- fact: x\n\n## a load\n\n", text)
        self.assertIn("\n| server | cpu | × socket.io |\n| --- | ---: | ---: |\n", text)
        self.assertIn("| tidings | 3.00 (2.00–4.00) | 0.30 (0.20–0.40) |", text)
        self.assertIn("| cpu, of Socket.IO's | ≤ 0.5 | 0.30 (0.20–0.40) | met |", text)
        _, met = markdown([result([2.0, 4.1], [10.0, 10.0], HALF, FEW)], {})
        self.assertFalse(met)

    def test_a_bar_without_its_peer_is_not_judged(self):
        alone = result([2.0], [], HALF, FEW)
        del alone.reports[SocketIo.name]
        text, met = markdown([alone], {})
        self.assertTrue(met)
        self.assertNotIn(HALF.title, text)
        self.assertIn("| cpu | ≤ 3 | 2.00 | met |", text)

    def test_nothing_measured_is_not_met(self):
        found = result([None], [10.0], FEW)
        self.assertIn("| tidings | – | – |", found.table())
        self.assertFalse(found.judge(FEW)[1])


if __name__ == "__main__":
    unittest.main()
