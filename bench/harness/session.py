"""Runs scenarios: every round a fresh process of each server, every round another one first."""

import sys
from dataclasses import dataclass, field
from subprocess import TimeoutExpired

from .figures import MEMORY
from .load import Invalid
from .model import Entry, Figure, Report, Scenario
from .result import FAILED, Result
from .servers import StartError
from .supplies import Supplies

# The results of one scenario by size.
Series = dict[int, Result]


@dataclass(frozen=True)
class Plot:
    """What grows with size, to be drawn as lines: a chart for each figure and its series."""

    title: str
    # What the size is of.
    axis: str
    charts: tuple[tuple[Figure, Series], ...]

    def results(self) -> list[Result]:
        """Those that it is made of."""
        return [result for _, series in self.charts for result in series.values()]


@dataclass
class Session:
    """One call of `bench/run`."""

    rounds: int
    # Length of a measurement.
    seconds: float
    # Families of servers that take part.
    families: frozenset[str]
    supplies: Supplies
    results: list[Result] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    # What was measured, by name of the server.
    versions: dict[str, str] = field(default_factory=dict)

    def measure(self, scenario: Scenario) -> Result:
        """All rounds of a scenario, with those of its servers that take part."""
        chosen = [entry for entry in scenario.entries if entry.server.family in self.families]
        reports: dict[str, list[Report]] = {entry.name: [] for entry in chosen}
        result = Result(scenario, reports)
        if not chosen:
            return result
        for number in range(self.rounds):
            first = number % len(chosen)
            for entry in chosen[first:] + chosen[:first]:
                report = self._run(scenario, entry)
                reports[entry.name].append(report)
                told = _told(scenario, entry, report)
                say(f"{scenario.title}, {number + 1}/{self.rounds}, {told}")
        self.results.append(result)
        return result

    def add(self, result: Result) -> None:
        """Adds what was worked out from other results."""
        if result.reports:
            self.results.append(result)

    def draw(self, plot: Plot) -> None:
        """Adds a plot to the picture."""
        if any(result.reports for result in plot.results()):
            self.plots.append(plot)

    def _run(self, scenario: Scenario, entry: Entry) -> Report:
        """One round. A server that fails is said to have failed; the others go on."""
        try:
            with entry.server(scenario.setup, self.supplies) as server:
                report = scenario.run(entry, server)
                self.versions[server.name] = server.version
                return {**report, "entry": entry.name, MEMORY: server.memory_kib()}
        except (Invalid, StartError, TimeoutExpired) as error:
            return {FAILED: str(error), "entry": entry.name}


def say(text: str) -> None:
    """Progress, beside the report on standard output."""
    print(f"bench: {text}", file=sys.stderr)


def _told(scenario: Scenario, entry: Entry, report: Report) -> str:
    if FAILED in report:
        return f"{entry.name}: FAILED: {report[FAILED]}"
    told = (
        f"{value:,.{figure.digits}f} {figure.title}"
        for figure in scenario.figures[:3]
        if (value := figure.of(report)) is not None
    )
    return f"{entry.name}: {', '.join(told)}"
