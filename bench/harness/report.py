"""Medians, spread and ratios of several rounds; as Markdown, and as JSON lines to work with."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .scenarios import Bar, Figure, Scenario
from .servers import Tidings


@dataclass(frozen=True)
class Result:
    """A scenario and, by server, the report of each round."""

    scenario: Scenario
    reports: dict[str, list[dict]]

    def values(self, figure: Figure, server: str) -> list[float]:
        """A figure in each round that has it."""
        found = (figure.of(report) for report in self.reports[server])
        return [value for value in found if value is not None]

    def ratios(self, figure: Figure, server: str, against: str) -> list[float]:
        """A server's figure over another's, round by round: what disturbs a round disturbs both."""
        pairs = zip(self.values(figure, server), self.values(figure, against))
        return [ours / theirs for ours, theirs in pairs if theirs]

    def table(self) -> str:
        """A row per server: median, and the span from least to most; after the first figure, its
        ratio to the first server's."""
        first, *others = (figure.title for figure in self.scenario.figures)
        head = ["server", first, f"× {next(iter(self.reports))}", *others]
        return _markdown([head, *(self._row(name) for name in self.reports)])

    def _row(self, server: str) -> list[str]:
        main = self.scenario.figures[0]
        values = ((self.values(figure, server), figure) for figure in self.scenario.figures)
        first, *others = (_spread(found, figure.digits) for found, figure in values)
        ratio = _spread(self.ratios(main, server, next(iter(self.reports))), 2)
        return [server, first, ratio, *others]

    def has_both(self, bar: Bar) -> bool:
        """Whether both sides of a bar were run, or `--only` left one out."""
        return {Tidings.name, bar.against or Tidings.name} <= self.reports.keys()

    def judge(self, bar: Bar) -> tuple[list[str], bool]:
        """A row that says whether a bar was met by the median."""
        if bar.against:
            values = self.ratios(bar.figure, Tidings.name, bar.against)
        else:
            values = self.values(bar.figure, Tidings.name)
        met = bool(values) and median(values) <= bar.at_most
        verdict = "met" if met else "MISSED"
        return [bar.title, f"≤ {bar.at_most:g}", _spread(values, 2), verdict], met


def markdown(results: list[Result], facts: dict[str, str]) -> tuple[str, bool]:
    """The whole report, and whether every bar was met."""
    parts = [_facts(facts)]
    judged = []
    for result in results:
        parts.append(f"## {result.scenario.title}\n\n{result.table()}")
        judged += [result.judge(bar) for bar in result.scenario.bars if result.has_both(bar)]
    if judged:
        rows = [["bar", "limit", "measured", ""], *(row for row, _ in judged)]
        parts.append(f"## Bars\n\n{_markdown(rows)}")
    return "\n\n".join(parts) + "\n", all(met for _, met in judged)


def save(folder: Path, name: str, text: str, results: list[Result]) -> Path:
    """Writes NAME.md and, for every round, a line of NAME.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text(text)
    lines = (
        json.dumps({"title": result.scenario.title, "round": number, **report})
        for result in results
        for reports in result.reports.values()
        for number, report in enumerate(reports, 1)
    )
    path.with_suffix(".jsonl").write_text("".join(f"{line}\n" for line in lines))
    return path


def _facts(facts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return "–"
    middle, least, most = (
        f"{value:,.{digits}f}" for value in (median(values), min(values), max(values))
    )
    return middle if least == most else f"{middle} ({least}–{most})"


def _markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
