"""`python3 -m unittest discover -s bench -t bench` runs these."""

import unittest
from xml.etree import ElementTree

from .model import Figure, Scenario, entries
from .picture import colors, draw
from .result import FAILED, Result
from .servers import ConflatedTidings, SocketIo, Tidings
from .session import Plot
from .svg import Scale, number

CPU = Figure("cpu & all", lambda report: report["cpu"], drawn=True)


def result(title: str, *values: float) -> Result:
    """A result in which Socket.IO's rounds all failed."""
    scenario = Scenario(title, lambda *_: {}, entries(Tidings, SocketIo), (CPU,))
    reports = {"tidings": [{"cpu": value} for value in values], "socket.io": [{FAILED: "lost"}]}
    return Result(scenario, reports)


def texts(svg: str) -> list[str]:
    """What can be read in a picture; it must be XML."""
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


class ScaleTest(unittest.TestCase):
    def test_a_linear_scale_starts_at_nothing_and_ends_round(self):
        scale = Scale.over([3.3, 8.1], 100, 200)
        self.assertEqual(scale.ticks(), [0, 2, 4, 6, 8, 10])
        self.assertEqual((scale.at(0), scale.at(5), scale.at(10)), (100, 150, 200))

    def test_a_logarithmic_scale_goes_by_powers_of_ten(self):
        scale = Scale.over([0.2, 30], 0, 300, logarithmic=True)
        self.assertEqual([round(tick, 6) for tick in scale.ticks()], [0.1, 1, 10, 100])
        self.assertAlmostEqual(scale.at(1), 100)
        self.assertEqual(scale.at(0), 0)

    def test_a_round_greatest_value_is_the_end(self):
        self.assertEqual(Scale.over([5.0], 0, 1).most, 5)
        self.assertEqual(Scale.over([1.0], 0, 1, logarithmic=True).ticks(), [0.1, 1])

    def test_nothing_to_show_is_no_error(self):
        self.assertEqual(Scale.over([], 0, 1).most, 1)

    def test_numbers_are_short(self):
        said = [number(value) for value in (0, 0.0412, 3.456, 12, 45.67, 1234, 18_000)]
        self.assertEqual(said, ["0", "0.0412", "3.46", "12", "45.7", "1,234", "18k"])


class PictureTest(unittest.TestCase):
    def test_bars_have_medians_and_what_failed_has_none(self):
        said = texts(draw([result("a < b", 1.0, 4.0, 2.0)], []))
        for text in ("a < b", "cpu & all", "tidings", "socket.io", "2", "no valid run"):
            self.assertIn(text, said)

    def test_a_scenario_of_a_plot_has_no_bars(self):
        series = {10: result("small", 1.0), 100: result("large", 2.0)}
        said = texts(draw(list(series.values()), [Plot("growth", "clients", ((CPU, series),))]))
        self.assertIn("growth: by clients", said)
        self.assertNotIn("small", said)

    def test_variants_of_a_server_have_shades(self):
        scenario = Scenario("x", lambda *_: {}, entries(Tidings, ConflatedTidings, SocketIo), ())
        self.assertEqual(len(set(colors(Result(scenario, {})).values())), 3)


if __name__ == "__main__":
    unittest.main()
