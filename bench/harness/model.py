"""What a suite is made of: figures, bars, and scenarios with an entry for each line of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .servers import Server, Tidings
from .supplies import Setup

Report = dict
# Measures a server that serves, with the options of a scenario and an entry.
Runner = Callable[[Server, Mapping[str, object]], Report]


@dataclass(frozen=True)
class Figure:
    """A number to compare, taken from the report of a run."""

    title: str
    of: Callable[[Report], float | None]
    digits: int = 2
    # In the picture; the others are in the table only.
    drawn: bool = False


@dataclass(frozen=True)
class Bar:
    """A promise: an entry's figure, as such or as a ratio to another's, stays below a limit."""

    title: str
    figure: Figure
    at_most: float
    against: str | None = None
    # What the other entry is measured by, if not by the same figure.
    their_figure: Figure | None = None
    entry: str = Tidings.name

    @property
    def sides(self) -> set[str]:
        """The entries that must have been run to judge it."""
        return {self.entry, self.against or self.entry}


@dataclass(frozen=True)
class Entry:
    """A line of a table: a server, and what is particular about its load."""

    server: type[Server]
    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """One load, on several servers."""

    title: str
    runner: Runner
    entries: tuple[Entry, ...]
    figures: tuple[Figure, ...]
    bars: tuple[Bar, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    setup: Setup = Setup()
    # Servers that do not take part, and why.
    without: Mapping[str, str] = field(default_factory=dict)
    # Figures in the picture differ by orders of magnitude.
    logarithmic: bool = False

    def run(self, entry: Entry, server: Server) -> Report:
        """One round on a server that serves."""
        return self.runner(server, {**self.options, **entry.options})


def entry(server: type[Server], name: str | None = None, /, **options: object) -> Entry:
    """An entry under the server's own name or another; `_` in options stands for `-`."""
    spelt = {key.replace("_", "-"): value for key, value in options.items()}
    return Entry(server, name or server.name, spelt)


def entries(*servers: type[Server]) -> tuple[Entry, ...]:
    """Servers with the scenario's load as it is."""
    return tuple(entry(server) for server in servers)
