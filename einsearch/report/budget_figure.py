"""The use of the budget as bars."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from einsearch.draw.plotly_style import FAINT, INK, MUTED, PAPER, figure
from einsearch.report.budget import BudgetPart
from einsearch.report.style import LEADER_COLOURS, ROW_HEIGHT, row_text
from einsearch.report.text import flops_text, percent_text

_PART_COLOURS = {"dense ladder": INK, "finals": LEADER_COLOURS[2], "in flight": FAINT, "lost": LEADER_COLOURS[1]}


def budget_figure(parts: Sequence[BudgetPart]) -> go.Figure:
    """The budget, part by part, each bar beginning where the one above ends."""
    total = sum(part.flops for part in parts)
    plot = figure(70 + ROW_HEIGHT * len(parts), bargap=0.62, showlegend=False)
    plot.update_xaxes(range=[0, 1], tickformat=".0%", title_text=f"share of {flops_text(total)} FLOPs", dtick=0.25)
    plot.update_yaxes(visible=False, range=[len(parts) + 0.4, 0.0])
    begin = 0
    for row, part in enumerate(parts, start=1):
        free = part.name == "unused"
        plot.add_bar(
            x=[part.flops / total],
            y=[row],
            base=[begin / total],
            orientation="h",
            marker={
                "color": PAPER if free else _PART_COLOURS.get(part.name, LEADER_COLOURS[0]),
                "line": {"color": MUTED, "width": 1 if free else 0},
            },
            hovertext=f"{part.name}: {flops_text(part.flops)} FLOPs",
            hoverinfo="text",
        )
        row_text(plot, row, f"{part.name}: {percent_text(part.flops / total)}")
        begin += part.flops
    return plot
