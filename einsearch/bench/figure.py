"""Results as a picture: an SVG, a PNG, or a page with its numbers."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from einsearch.bench.plot import Line, Panel, Plot
from einsearch.bench.record import check_file
from einsearch.draw.style import DPI, FAINT, FONT_SIZE, INK, MUTED, PAPER, house_style, text_width, wrap
from einsearch.errors import EinsearchError
from einsearch.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, safe for the colour-blind; dense is in ink."""

_MARKERS = ("s", "^", "D", "v", "P", "X")
_DASHES = {"row-major": (), "feature-major": (4.0, 1.5), "transposed": (1.0, 1.2)}

_FILLED = {"row-major": None, "feature-major": PAPER, "transposed": FAINT}
"""What markers are filled with; None is the line's colour."""

_PANEL = 3.3, 2.7
"""Inches of a panel with its labels."""

_ACROSS = 3
"""Most panels side by side; two passes of one layer stay beside each other."""

_MARGIN, _ABOVE, _LINE = 0.3, 0.1, 0.21


def check_figure(path: Path) -> None:
    """Raise EinsearchError where a figure cannot be written to a path, before anything is measured."""
    if path.suffix.lower() not in _FORMATS:
        shown = f"has the suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise EinsearchError(f"figure {path} {shown}; write one of {', '.join(f'FILE{s}' for s in _FORMATS)}")
    check_file(path, "figure")


def render(plot: Plot, caption: str, format: str) -> bytes:
    """The figure as svg or png, with the caption under it."""
    with house_style():
        figure = _compose(plot, caption)
        buffer = io.BytesIO()
        if format == "svg":
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(buffer, format="svg", metadata=nothing)
        else:
            figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_figure(path: Path, plot: Plot, caption: str) -> Path:
    """Write the figure and return its path. Raises EinsearchError as :func:`check_figure`."""
    check_figure(path)
    return replace_file(path, _FORMATS[path.suffix.lower()](plot, caption), "figure", make_folder=False)


def _compose(plot: Plot, caption: str) -> Figure:
    from matplotlib.figure import Figure

    across = min(len(plot.panels), 2 if len(plot.panels) <= 4 else _ACROSS)
    down = math.ceil(len(plot.panels) / across)
    width = 2 * _MARGIN + max(across, 2) * _PANEL[0]
    styles = _styles(plot)
    columns = _legend_columns([line.text for line in styles], width - 2 * _MARGIN)
    lines = wrap(caption, width - 2 * _MARGIN, FONT_SIZE - 1.5)
    below = _MARGIN + _LINE * (len(lines) + math.ceil(len(styles) / columns)) + 0.1
    height = below + down * _PANEL[1] + _ABOVE
    figure = Figure(figsize=(width, height), facecolor="white")
    for n, panel in enumerate(plot.panels):
        left, bottom = _MARGIN + (n % across) * _PANEL[0], height - _ABOVE - (n // across + 1) * _PANEL[1]
        place = left + 0.6, bottom + 0.5, _PANEL[0] - 0.85, _PANEL[1] - 1.0
        axes = figure.add_axes((place[0] / width, place[1] / height, place[2] / width, place[3] / height))
        _draw(axes, plot, panel, styles)
    handles = [_handle(styles[line], line.text) for line in styles]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(_MARGIN / width, (_MARGIN + _LINE * len(lines)) / height),
        ncols=columns,
        frameon=False,
        fontsize=FONT_SIZE - 1,
        handlelength=3.2,
        borderpad=0,
        borderaxespad=0,
    )
    for n, text in enumerate(reversed(lines)):
        y = (_MARGIN - 0.08 + _LINE * n) / height
        figure.text(_MARGIN / width, y, text, size=FONT_SIZE - 1.5, color=MUTED)
    return figure


def _styles(plot: Plot) -> dict[Line, dict[str, object]]:
    """How each line of the plot looks, without its points: one entry of the legend each."""
    found: dict[Line, dict[str, object]] = {}
    names = [line.name for panel in plot.panels for line in panel.lines if line.name not in plot.dense]
    colours = {name: n for n, name in enumerate(dict.fromkeys(names))}
    for panel in plot.panels:
        for line in panel.lines:
            n = colours.get(line.name)
            found[Line(line.name, line.layout, ())] = {
                "color": INK if n is None else _COLOURS[n % len(_COLOURS)],
                "markerfacecolor": _FILLED[line.layout],
                "marker": "o" if n is None else _MARKERS[n % len(_MARKERS)],
                "dashes": _DASHES[line.layout],
                "linewidth": 1.4,
                "markersize": 4.5,
            }
    return found


def _legend_columns(texts: Sequence[str], width: float) -> int:
    """How many columns of the legend fit."""
    widest = max(text_width(text, FONT_SIZE - 1) for text in texts) + 0.75
    return max(1, min(len(texts), int(width / widest)))


def _handle(style: dict[str, object], text: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=text, **style)  # type: ignore[arg-type]


def _draw(axes: Axes, plot: Plot, panel: Panel, styles: dict[Line, dict[str, object]]) -> None:
    from matplotlib.ticker import NullLocator

    sizes = sorted({x for line in panel.lines for x, _ in line.points})
    for line in panel.lines:
        axes.plot(*zip(*line.points, strict=True), **styles[Line(line.name, line.layout, ())])  # type: ignore[arg-type]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{x:,}" for x in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    if len(sizes) == 1:
        axes.set_xlim(sizes[0] / 2, sizes[0] * 2)
    axes.set_ylim(*limits([y for line in panel.lines for _, y in line.points]))
    axes.set_yticks(values := ticks(*axes.get_ylim()), [f"{value:g}" for value in values])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=FONT_SIZE - 1.5)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_title(panel), loc="left", x=-0.2, y=1.1, size=FONT_SIZE, weight="bold")
    axes.text(-0.2, 1.05, panel.detail, transform=axes.transAxes, size=FONT_SIZE - 1, color=MUTED)
    axes.set_xlabel(plot.x, size=FONT_SIZE - 1, labelpad=2)
    axes.set_ylabel(plot.y, size=FONT_SIZE - 1, labelpad=2)


def _title(panel: Panel) -> str:
    """The title, cut where the panel ends."""
    title = panel.title
    while text_width(title, FONT_SIZE, bold=True) > _PANEL[0] - 0.3:
        title = f"{title.rstrip('…')[:-1]}…"
    return title


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Room around the values, and for two ticks at least."""
    low, high = min(values) / 1.2, max(values) * 1.2
    if len(ticks(low, high)) < 2:
        low = max(tick for tick in ticks(low / 10, low)) / 1.05
        high = min(tick for tick in ticks(high, high * 10)) * 1.05
    return low, high


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within a range, the powers alone where these are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    return found if len(found) <= 7 else [value for value in found if math.log10(value).is_integer()]


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<link rel="icon" href="data:,">
<title>einsearch bench</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
img { width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin-top: 1.5rem; }
th, td { padding: .2rem .6rem .2rem 0; text-align: right; border-bottom: 1px solid #d8dce2; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>einsearch bench</h1>
<img src="data:image/svg+xml;base64,{{ picture }}" alt="{{ plot.y }} over {{ plot.x }}: the numbers are in the tables">
{%- for panel in plot.panels %}
<table>
<caption>{{ panel.title }}, {{ panel.detail }}: {{ plot.y }}</caption>
{%- set sizes = panel.lines[0].points %}
<thead><tr><th scope="col"></th>
{%- for x, _ in sizes %}<th scope="col">{{ plot.x }} {{ x }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for line in panel.lines %}
<tr><td>{{ line.text }}</td>
{%- for x, _ in sizes %}<td>
{%- for own, y in line.points if own == x %}{{ "%.4g" % y }}{% else %}-{% endfor %}</td>{% endfor %}</tr>
{%- endfor %}
</tbody>
</table>
{%- endfor %}
</body>
</html>
"""


def _page(plot: Plot, caption: str) -> bytes:
    """A page that needs nothing else: the figure, and its numbers as tables."""
    picture = base64.b64encode(render(plot, caption, "svg")).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_PAGE).render(plot=plot, picture=picture).encode()


_FORMATS: dict[str, Callable[[Plot, str], bytes]] = {
    ".svg": lambda plot, caption: render(plot, caption, "svg"),
    ".png": lambda plot, caption: render(plot, caption, "png"),
    ".html": _page,
}
"""How a figure is made, by the suffix of its file."""
