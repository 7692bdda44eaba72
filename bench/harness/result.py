"""What the rounds of a scenario showed: medians, spread, ratios and verdicts."""

from dataclasses import dataclass
from statistics import median

from .model import Bar, Figure, Report, Scenario

# A run that cannot count has this in place of figures.
FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """A scenario and, by entry, the report of each round."""

    scenario: Scenario
    reports: dict[str, list[Report]]

    def values(self, figure: Figure, entry: str) -> list[float]:
        """A figure in each round that has it."""
        found = (_figure(figure, report) for report in self.reports[entry])
        return [value for value in found if value is not None]

    def median(self, figure: Figure, entry: str) -> float | None:
        """The middle of the rounds."""
        values = self.values(figure, entry)
        return median(values) if values else None

    def ratios(
        self, figure: Figure, entry: str, against: str, theirs: Figure | None = None
    ) -> list[float]:
        """An entry's figure over another's, round by round: what disturbs a round disturbs both."""
        pairs = (
            (_figure(figure, ours), _figure(theirs or figure, other))
            for ours, other in zip(self.reports[entry], self.reports[against])
        )
        return [ours / other for ours, other in pairs if ours is not None and other]

    def failures(self) -> list[tuple[str, int, str]]:
        """Entry, round and reason of the runs that cannot count."""
        return [
            (entry, number, report[FAILED])
            for entry, reports in self.reports.items()
            for number, report in enumerate(reports, 1)
            if FAILED in report
        ]

    def table(self) -> list[list[str]]:
        """A row per entry: median, and the span from least to most; after the first figure, its
        ratio to the first entry's."""
        first, *others = (figure.title for figure in self.scenario.figures)
        head = ["server", first, f"× {next(iter(self.reports))}", *others]
        return [head, *(self._row(name) for name in self.reports)]

    def _row(self, entry: str) -> list[str]:
        main = self.scenario.figures[0]
        values = ((self.values(figure, entry), figure) for figure in self.scenario.figures)
        first, *others = (spread(found, figure.digits) for found, figure in values)
        ratio = spread(self.ratios(main, entry, next(iter(self.reports))), 2)
        return [entry, first, ratio, *others]

    def judged(self) -> list[Bar]:
        """The bars of which both sides were run; `--only` may have left one out."""
        return [bar for bar in self.scenario.bars if bar.sides <= self.reports.keys()]

    def judge(self, bar: Bar) -> tuple[list[str], bool]:
        """A row that says whether a bar was met by the median. A round that failed on the bar's
        own side is a miss: a server that breaks must not look better for it."""
        if bar.against:
            values = self.ratios(bar.figure, bar.entry, bar.against, bar.their_figure)
        else:
            values = self.values(bar.figure, bar.entry)
        failed = any(FAILED in report for report in self.reports[bar.entry])
        met = bool(values) and not failed and median(values) <= bar.at_most
        verdict = "met" if met else "MISSED"
        return [bar.title, f"≤ {bar.at_most:.3g}", spread(values, 2), verdict], met


def spread(values: list[float], digits: int) -> str:
    """Median (least–most)."""
    if not values:
        return "–"
    middle, least, most = (
        f"{value:,.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return middle if least == most else f"{middle} ({least}–{most})"


def _figure(figure: Figure, report: Report) -> float | None:
    return None if FAILED in report else figure.of(report)
