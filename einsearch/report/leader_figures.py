"""The ranked candidates: their multipliers, and where they lie in the space."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import plotly.graph_objects as go

from einsearch.draw.plotly_style import FAINT, INK, PAPER, figure
from einsearch.frontier import Bound
from einsearch.report.hover import leader_hover
from einsearch.report.ranking import Leader
from einsearch.report.style import (
    DIVERGING,
    LEADER_COLOURS,
    LEGEND_BELOW,
    ROW_HEIGHT,
    log_range,
    nothing,
    plain_ticks,
    row_text,
)

_BOUND_MARKS = {
    Bound.EXACT: ("circle", "measured"),
    Bound.AT_LEAST: ("triangle-right-open", "≥ at least"),
    Bound.AT_MOST: ("triangle-left-open", "≤ at most"),
}
_OMEGA_MARKS = {False: ("circle", "ω = 0"), True: ("diamond", "ω > 0 (shares parameters)")}
_COLOUR_TICKS = (0.0625, 0.125, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0)


def multiplier_figure(leaders: Sequence[Leader]) -> go.Figure:
    """The compute multiplier of every leader, best rank at the top; open triangles are bounds."""
    shown = [(leader, leader.multiplier) for leader in leaders if leader.multiplier is not None]
    if not shown:
        return nothing("No candidate has been compared with dense yet.")
    plot = figure(
        90 + ROW_HEIGHT * len(shown),
        legend=LEGEND_BELOW,
    )
    low, high = log_range([1.0, *(multiplier.value for _, multiplier in shown)], below=0.2, above=0.25)
    plot.update_xaxes(
        type="log",
        range=[math.log10(low), math.log10(high)],
        title_text="compute multiplier",
        **plain_ticks(low, high),
    )
    plot.update_yaxes(visible=False, range=[len(shown) + 0.3, 0.0])
    plot.add_vline(x=1.0, line={"color": INK, "width": 1.5})
    for bound, (symbol, name) in _BOUND_MARKS.items():
        rows = [(row, leader, m) for row, (leader, m) in enumerate(shown, start=1) if m.bound is bound]
        if rows:
            plot.add_scatter(
                x=[m.value for _, _, m in rows],
                y=[row for row, _, _ in rows],
                mode="markers+text",
                marker={"symbol": symbol, "size": 11, "color": LEADER_COLOURS[0], "line": {"width": 2}},
                text=[f" {m} " for _, _, m in rows],
                textposition=["middle right" if m.value >= 1 else "middle left" for _, _, m in rows],
                name=name,
                showlegend=any(m.bound is not Bound.EXACT for _, m in shown),
                hovertext=[leader_hover(leader) for _, leader, _ in rows],
                hoverinfo="text",
            )
    for row, (leader, multiplier) in enumerate(shown, start=1):
        name = f"{leader.rank}. {leader.label}, width {leader.width}, rung {leader.rung}"
        row_text(plot, row, name)
        plot.add_shape(
            type="line", x0=1, x1=multiplier.value, y0=row, y1=row, line={"color": FAINT, "width": 2}, layer="below"
        )
    return plot


def taxonomy_figure(leaders: Sequence[Leader]) -> go.Figure:
    """Every ranked candidate by compute intensity and rank exponent; colour is log2 of the multiplier.

    Candidates at one place are spread in a small spiral around it. Larger marks completed a higher rung.
    """
    shown = [(leader, leader.multiplier) for leader in leaders if leader.multiplier is not None]
    if not shown:
        return nothing("No candidate has been compared with dense yet.")
    plot = figure(460, legend=LEGEND_BELOW)
    plot.update_xaxes(range=[-0.06, 1.12], title_text="ν, compute intensity (1: as dense)", dtick=0.25)
    plot.update_yaxes(range=[-0.06, 1.1], title_text="ψ, rank exponent (1: full rank)", dtick=0.25)
    furthest = max(abs(math.log2(multiplier.value)) for _, multiplier in shown)
    limit = max(0.5, math.ceil(4 * furthest) / 4)
    ticks = [value for value in _COLOUR_TICKS if abs(math.log2(value)) <= limit]
    colours = {
        "colorscale": DIVERGING,
        "cmin": -limit,
        "cmax": limit,
        "colorbar": {
            "title": {"text": "compute multiplier", "side": "top"},
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "len": 0.7,
            "tickvals": [math.log2(value) for value in ticks],
            "ticktext": [f"{value:g}×" for value in ticks],
            "thickness": 12,
            "outlinewidth": 0,
        },
    }
    places = _spread([(leader.nu, leader.psi) for leader, _ in shown])
    for shares, (symbol, _) in _OMEGA_MARKS.items():
        own = [(n, leader, m) for n, (leader, m) in enumerate(shown) if (leader.omega > 1e-9) is shares]
        plot.add_scatter(
            x=[places[n][0] for n, _, _ in own],
            y=[places[n][1] for n, _, _ in own],
            mode="markers",
            marker={
                "symbol": symbol,
                "size": [9 + 4 * leader.rung for _, leader, _ in own],
                "color": [math.log2(m.value) for _, _, m in own],
                "showscale": not plot.data,  # one scale for both
                **colours,
                "line": {"color": INK, "width": 1},
            },
            hovertext=[leader_hover(leader) for _, leader, _ in own],
            hoverinfo="text",
            showlegend=False,
        )
    for symbol, name in _OMEGA_MARKS.values():  # in the legend without a colour, which says something else
        plot.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 11, "color": PAPER, "line": {"color": INK, "width": 1}},
        )
    plot.add_scatter(
        x=[1], y=[1], mode="markers+text", text=["dense"], textposition="top center", showlegend=False,
        marker={"symbol": "x-thin", "size": 11, "line": {"color": INK, "width": 3}}, hoverinfo="skip",
    )  # fmt: skip
    return plot


def _spread(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Marks at one place moved apart along a sunflower spiral; the first stays."""
    seen: dict[tuple[float, float], int] = defaultdict(int)
    moved = []
    for x, y in places:
        place = (round(x, 2), round(y, 2))
        count = seen[place]
        seen[place] += 1
        radius, angle = 0.018 * math.sqrt(count), count * math.pi * (3 - math.sqrt(5))
        moved.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return moved
