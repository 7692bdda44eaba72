"""The picture of a report: bars for what was measured side by side, lines for what grew."""

from .model import Figure
from .result import Result
from .session import Plot
from .svg import FAINT, INK, Canvas, Scale, number

WIDTH = 900
MARGIN = 24
LABELS = 200
VALUES = 150
ROW = 20
BAR = 13
TICK_LABELS = 18
CHART_HEIGHT = 200
CHART_GAP = 56
LEGEND = "bar: median of the rounds; line: least to most; shorter is better"

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
    plotted = {id(result) for plot in plots for result in plot.results.values()}
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
    """The figures of a scenario that are drawn, one group of bars each."""
    y += 30
    canvas.text(MARGIN, y, result.scenario.title, size=15, bold=True)
    for figure in result.scenario.figures:
        if figure.drawn and any(result.values(figure, name) for name in result.reports):
            y = _group(canvas, result, figure, y + 22)
    return y


def _group(canvas: Canvas, result: Result, figure: Figure, y: float) -> float:
    """A bar for each entry, with the values' scale below."""
    rows = {name: result.values(figure, name) for name in result.reports}
    logarithmic = result.scenario.logarithmic
    scale = Scale.over(
        (value for values in rows.values() for value in values),
        MARGIN + LABELS, WIDTH - MARGIN - VALUES, logarithmic,
    )  # fmt: skip
    note = " (logarithmic scale)" if logarithmic else ""
    canvas.text(MARGIN + LABELS, y, f"{figure.title}{note}", color=FAINT, bold=True)
    top, bottom = y + 6, y + 8 + ROW * len(rows)
    for tick in scale.ticks():
        canvas.line(scale.at(tick), top, scale.at(tick), bottom)
        canvas.text(
            scale.at(tick), bottom + 12, number(tick), size=10, anchor="middle", color=FAINT
        )
    shades = colors(result)
    for place, (name, values) in enumerate(rows.items()):
        _bar(canvas, name, result.median(figure, name), values, scale, shades[name], top + ROW * place)
    return bottom + TICK_LABELS


def _bar(
    canvas: Canvas, name: str, middle: float | None, values: list[float], scale: Scale,
    color: str, y: float,
) -> None:  # fmt: skip
    baseline = y + BAR
    canvas.text(MARGIN + LABELS - 8, baseline, name, anchor="end")
    if middle is None:
        canvas.text(scale.start + 6, baseline, "no valid run", color=FAINT)
        return
    canvas.rect(scale.start, y + 3, scale.at(middle) - scale.start, BAR, color)
    center = y + 3 + BAR / 2
    least, most = scale.at(min(values)), scale.at(max(values))
    canvas.line(least, center, most, center, INK, 1.5)
    canvas.text(max(most, scale.at(middle)) + 6, baseline, number(middle))


def _plot(canvas: Canvas, plot: Plot, y: float) -> float:
    """Charts beside each other, one for each figure, and what their colours mean."""
    y += 30
    canvas.text(MARGIN, y, f"{plot.title}: by {plot.axis}", size=15, bold=True)
    first = next(iter(plot.results.values()))
    shades = colors(first)
    x = float(MARGIN)
    y += 22
    for name in first.reports:
        canvas.rect(x, y - 9, 14, 10, shades[name])
        canvas.text(x + 20, y, name)
        x += 40 + 7 * len(name)
    width = (WIDTH - 2 * MARGIN - CHART_GAP * len(plot.figures)) / 3
    for place, figure in enumerate(plot.figures):
        left = MARGIN + CHART_GAP + place * (width + CHART_GAP)
        _chart(canvas, plot, figure, (left, left + width), y + 34, shades)
    return y + 34 + CHART_HEIGHT + 40


def _chart(
    canvas: Canvas, plot: Plot, figure: Figure, sides: tuple[float, float], top: float,
    shades: dict[str, str],
) -> None:  # fmt: skip
    """A line for each entry over the sizes, which are on a logarithmic scale."""
    left, right = sides
    bottom = top + CHART_HEIGHT
    every = [
        value
        for result in plot.results.values()
        for name in result.reports
        for value in result.values(figure, name)
    ]
    if not every:
        return
    across = Scale(min(plot.results), max(plot.results), left + 10, right - 10, logarithmic=True)
    up = Scale.over(every, bottom, top)
    canvas.text(left, top - 10, figure.title, color=FAINT, bold=True)
    for tick in up.ticks():
        canvas.line(left, up.at(tick), right, up.at(tick))
        canvas.text(left - 6, up.at(tick) + 4, number(tick), size=10, anchor="end", color=FAINT)
    for size in plot.results:
        canvas.text(
            across.at(size), bottom + 16, number(size), size=10, anchor="middle", color=FAINT
        )
    for name in next(iter(plot.results.values())).reports:
        _series(canvas, plot, figure, name, (across, up), shades[name])


def _series(
    canvas: Canvas, plot: Plot, figure: Figure, name: str, scales: tuple[Scale, Scale], color: str
) -> None:
    across, up = scales
    points = []
    for size, result in plot.results.items():
        if values := result.values(figure, name):
            x = across.at(size)
            canvas.line(x, up.at(min(values)), x, up.at(max(values)), color)
            points.append((x, up.at(result.median(figure, name))))
    canvas.curve(points, color)
