"""What the report's figures add to the style of all: ticks, labels, colours of the leaders."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import plotly.graph_objects as go

from einsearch.draw.plotly_style import INK, MUTED, figure
from einsearch.report.text import superscript

LEADER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""Okabe and Ito's colours, safe for the colour-blind."""

LEADER_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
LEADER_MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down")

DIVERGING = [[0.0, "#b35806"], [0.25, "#f1a340"], [0.5, "#f7f7f7"], [0.75, "#998ec3"], [1.0, "#542788"]]
"""Brown below 1x, purple above: apart for the colour-blind and, by the outline of the marks, in print."""

LEGEND_BELOW = {
    "orientation": "h",
    "yref": "container",
    "y": 0,
    "yanchor": "bottom",
    "x": 0,
    "tracegroupgap": 0,
}
"""Under the axis title, where it costs a phone no width."""

ROW_HEIGHT = 42
"""Pixels of a row whose text stands above its mark."""


def power_ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks of a log axis at 1, 2 and 5 times powers of ten within [low, high], written 2×10¹¹."""
    values, texts = [], []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in (1, 2, 5):
            if low <= (value := digit * 10.0**power) <= high:
                values.append(value)
                texts.append(f"{'' if digit == 1 else f'{digit}×'}10{superscript(power)}")
    if len(values) > 8:
        kept = [n for n, value in enumerate(values) if math.log10(value) == round(math.log10(value))]
        values, texts = [values[n] for n in kept], [texts[n] for n in kept]
    return {"tickmode": "array", "tickvals": values, "ticktext": texts}


def plain_ticks(low: float, high: float) -> dict[str, Any]:
    """Four to ten round ticks within [low, high], for a log axis that spans less than a decade or two."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    values = [round(n * step, 10) for n in range(first, math.floor(high / step) + 1)]
    return {"tickmode": "array", "tickvals": values, "ticktext": [f"{value:g}" for value in values]}


def log_range(values: list[float], below: float = 0.05, above: float = 0.05) -> tuple[float, float]:
    """Limits of a log axis: the values with a margin of the given shares of their span."""
    low, high = math.log(min(values)), math.log(max(values))
    span = max(high - low, math.log(1.1))
    return math.exp(low - below * span), math.exp(high + above * span)


def row_text(plot: go.Figure, row: int, text: str) -> None:
    """The name of a row above its mark, so that long names cost no width on a phone."""
    label(plot, 0, row, text, xref="paper", xanchor="left", yshift=17, font={"size": 12, "color": INK})


def label(plot: go.Figure, x: float, y: float, text: str, **place: Any) -> None:
    """Small text on white; plotly wants log10 of a place on a log axis here, and nowhere else."""
    style = {"showarrow": False, "font": {"size": 11, "color": MUTED}, "borderpad": 0}
    plot.add_annotation(x=x, y=y, text=escape(text), bgcolor="rgba(255, 255, 255, 0.8)", **(style | place))


def nothing(text: str) -> go.Figure:
    plot = figure(120)
    plot.update_xaxes(visible=False).update_yaxes(visible=False)
    plot.add_annotation(xref="paper", yref="paper", x=0.5, y=0.5, text=text, showarrow=False)
    return plot
