"""Just so much SVG as charts need: shapes, text, and scales with round ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
INK = "#212529"
FAINT = "#6c757d"
GRID = "#dee2e6"
PAPER = "#ffffff"


@dataclass
class Canvas:
    """Elements in the order in which they are painted."""

    elements: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, text: str, *, size: int = 12, anchor: str = "start",
        color: str = INK, bold: bool = False,
    ) -> None:  # fmt: skip
        """A line of text; `y` is its baseline."""
        weight = ' font-weight="600"' if bold else ""
        self.elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
            f' fill="{color}"{weight}>{escape(text)}</text>'
        )

    def rect(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """A filled rectangle."""
        self.elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}"'
            f' fill="{color}"/>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, color: str = GRID, width: float = 1
    ) -> None:
        """A straight line."""
        self.elements.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"'
            f' stroke-width="{width:g}"/>'
        )

    def curve(self, points: Iterable[tuple[float, float]], color: str) -> None:
        """Straight lines from point to point, and a dot on each."""
        points = list(points)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.elements.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>'
        )
        for x, y in points:
            self.elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>')

    def render(self, width: float, height: float, title: str) -> str:
        """The whole document."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}" font-family={quoteattr(FONT)} role="img">\n'
            f"<title>{escape(title)}</title>\n"
            f'<rect width="100%" height="100%" fill="{PAPER}"/>\n'
            + "\n".join(self.elements)
            + "\n</svg>\n"
        )


@dataclass(frozen=True)
class Scale:
    """Maps values from `least` to `most` onto a stretch of the picture."""

    least: float
    most: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(
        cls, values: Iterable[float], start: float, end: float, logarithmic: bool = False
    ) -> "Scale":
        """From nothing, or on a logarithmic scale from the power of ten below, to a round value
        above the greatest."""
        found = [value for value in values if value > 0] or [1.0]
        if logarithmic:
            least = 10.0 ** math.floor(math.log10(min(found)) - 1e-9)
            most = 10.0 ** math.ceil(math.log10(max(found)))
            return cls(least, max(most, least * 10), start, end, True)
        step = _step(max(found))
        return cls(0.0, math.ceil(max(found) / step - 1e-9) * step, start, end)

    def at(self, value: float) -> float:
        """Where a value is; one below the least is at the start."""
        if self.logarithmic:
            span = math.log(self.most / self.least)
            share = math.log(max(value, self.least) / self.least) / span
        else:
            share = value / self.most
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values that cover it."""
        if self.logarithmic:
            powers = round(math.log10(self.most / self.least))
            return [self.least * 10**power for power in range(powers + 1)]
        step = _step(self.most)
        return [step * number for number in range(round(self.most / step) + 1)]


def number(value: float) -> str:
    """A value in as few characters as tell it."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.3g}"


def _step(most: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are two to five of it."""
    power = 10.0 ** math.floor(math.log10(most / 2))
    steps = (power * factor for factor in (1, 2, 5, 10))
    return next(step for step in steps if most / step <= 5)
