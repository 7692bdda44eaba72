"""The picture of a report: bars for what was measured side by side, lines for what grew."""

from statistics import median

from .model import Figure
from .result import Result
from .session import Plot, Series
from .svg import FAINT, INK, Canvas, Scale, number

WIDTH = 960
MARGIN = 24
LABELS = 190
COLUMNS = 3
COLUMN_GAP = 58
ROW = 19
BAR = 12
CHART_HEIGHT = 200
CHART_GAP = 56
LEGEND = "bar: median of the rounds; dark line: from least to most; shorter is better"

COLORS = {
    "tidings": "#0b7285",
    "bun": "#e8890c",
    "socketioxide": "#a61e4d",
    "socket.io": "#495057",
    "floor": "#adb5bd",
    "redis": "#c92a2a",
}
# Variants of one server are told apart by shade, in the order in which they come.
SHADES = ("", "#3bafc4", "#94d8e4", "#c5e8ee")


def draw(results: list[Result], plots: list[Plot]) -> str:
    """A panel for each scenario that no plot is made of, and one for each plot."""
    canvas = Canvas()
    plotted = {id(result) for plot in plots for result in plot.results()}
    canvas.text(MARGIN, MARGIN, LEGEND, color=FAINT)
    y = MARGIN + 12.0
    for plot in plots:
        y = _plot(canvas, plot, y)
    for result in results:
        if id(result) not in plotted:
            y = _panel(canvas, result, y)
    return canvas.render(WIDTH, y + MARGIN, "tidings bench")


def colors(result: Result) -> dict[str, str]:
    """A colour for each entry."""
    seen: dict[str, int] = {}
    found = {}
    for entry in result.scenario.entries:
        family = entry.server.family
        place = seen.get(family, 0)
        seen[family] = place + 1
        shade = SHADES[min(place, len(SHADES) - 1)] if family == "tidings" else ""
        found[entry.name] = shade or COLORS.get(family, INK)
    return found


def _panel(canvas: Canvas, result: Result, y: float) -> float:
    """The entries of a scenario below each other, the figures that are drawn side by side."""
    drawn = [
        figure
        for figure in result.scenario.figures
        if figure.drawn and any(result.values(figure, name) for name in result.reports)
    ]
    canvas.text(MARGIN, y + 32, result.scenario.title, size=15, bold=True)
    top = y + 60
    for place, name in enumerate(result.reports):
        canvas.text(MARGIN + LABELS - 10, top + ROW * place + BAR, name, anchor="end")
    drawn = drawn[:COLUMNS]
    width = (WIDTH - 2 * MARGIN - LABELS) / max(len(drawn), 1) - COLUMN_GAP
    for place, figure in enumerate(drawn):
        left = MARGIN + LABELS + place * (width + COLUMN_GAP)
        _column(canvas, result, figure, (left, left + width), top)
    return top + ROW * len(result.reports) + 22


def _column(
    canvas: Canvas, result: Result, figure: Figure, sides: tuple[float, float], top: float
) -> None:
    """A bar for each entry, with the scale below."""
    rows = {name: result.values(figure, name) for name in result.reports}
    logarithmic = result.scenario.logarithmic
    every = [value for values in rows.values() for value in values]
    scale = Scale.over(every, *sides, logarithmic)
    note = " (log scale)" if logarithmic else ""
    canvas.text(sides[0], top - 6, f"{figure.title}{note}", color=FAINT, bold=True)
    bottom = top + ROW * len(rows) + 2
    for tick in scale.ticks():
        canvas.line(scale.at(tick), top, scale.at(tick), bottom)
        canvas.text(
            scale.at(tick), bottom + 12, number(tick), size=10, anchor="middle", color=FAINT
        )
    shades = colors(result)
    for place, (name, values) in enumerate(rows.items()):
        _bar(canvas, values, scale, shades[name], top + ROW * place)


def _bar(canvas: Canvas, values: list[float], scale: Scale, color: str, y: float) -> None:
    if not values:
        canvas.text(scale.start + 6, y + BAR, "no valid run", color=FAINT)
        return
    middle, least, most = (scale.at(value) for value in (median(values), min(values), max(values)))
    canvas.rect(scale.start, y + 3, middle - scale.start, BAR, color)
    canvas.line(least, y + 3 + BAR / 2, most, y + 3 + BAR / 2, INK, 1.5)
    canvas.text(max(most, middle) + 5, y + BAR, number(median(values)), size=11)


def _plot(canvas: Canvas, plot: Plot, y: float) -> float:
    """Charts beside each other, one for each figure, and what their colours mean."""
    y += 30
    canvas.text(MARGIN, y, f"{plot.title}: by {plot.axis}", size=15, bold=True)
    first = plot.results()[0]
    shades = colors(first)
    x = float(MARGIN)
    y += 22
    for name in first.reports:
        canvas.rect(x, y - 9, 14, 10, shades[name])
        canvas.text(x + 20, y, name)
        x += 40 + 7 * len(name)
    width = (WIDTH - 2 * MARGIN) / COLUMNS - CHART_GAP
    for place, (figure, series) in enumerate(plot.charts):
        left = MARGIN + CHART_GAP + place * (width + CHART_GAP)
        _chart(canvas, series, figure, (left, left + width), y + 34, shades)
    return y + 34 + CHART_HEIGHT + 40


def _chart(
    canvas: Canvas, series: Series, figure: Figure, sides: tuple[float, float], top: float,
    shades: dict[str, str],
) -> None:  # fmt: skip
    """A line for each entry over the sizes, which are on a logarithmic scale."""
    left, right = sides
    bottom = top + CHART_HEIGHT
    every = [
        value
        for result in series.values()
        for name in result.reports
        for value in result.values(figure, name)
    ]
    across = Scale(min(series), max(series), left + 10, right - 10, logarithmic=True)
    up = Scale.over(every, bottom, top)
    canvas.text(left, top - 10, figure.title, color=FAINT, bold=True)
    for tick in up.ticks():
        canvas.line(left, up.at(tick), right, up.at(tick))
        canvas.text(left - 6, up.at(tick) + 4, number(tick), size=10, anchor="end", color=FAINT)
    for size in series:
        canvas.text(
            across.at(size), bottom + 16, number(size), size=10, anchor="middle", color=FAINT
        )
    for name in next(iter(series.values())).reports:
        _line(canvas, {size: result.values(figure, name) for size, result in series.items()},
              (across, up), shades[name])  # fmt: skip


def _line(
    canvas: Canvas, values: dict[int, list[float]], scales: tuple[Scale, Scale], color: str
) -> None:
    """The medians, and at each size the span from least to most."""
    across, up = scales
    known = {across.at(size): found for size, found in values.items() if found}
    for x, found in known.items():
        canvas.line(x, up.at(min(found)), x, up.at(max(found)), color)
    canvas.curve([(x, up.at(median(found))) for x, found in known.items()], color)
