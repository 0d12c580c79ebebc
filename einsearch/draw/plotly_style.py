"""How Plotly figures look: light, printable, and readable without colour."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from einsearch.draw.style import FAINT, INK, MUTED, PAPER

__all__ = ["FAINT", "FONT", "INK", "MUTED", "PAPER", "figure"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"

_AXIS = {
    "showgrid": False,
    "zeroline": False,
    "showline": True,
    "linecolor": INK,
    "ticks": "outside",
    "tickcolor": INK,
    "ticklen": 4,
    "title": {"standoff": 8},
    "automargin": True,
}


def figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure in the house style, as wide as its place and `height` pixels high."""
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "font": {"family": FONT, "size": 13, "color": INK},
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "margin": {"l": 22, "r": 22, "t": 22, "b": 8},
            "hoverlabel": {"bgcolor": PAPER, "font": {"family": FONT, "color": INK}, "align": "left"},
            "hovermode": "closest",
            "dragmode": False,
            "xaxis": dict(_AXIS),
            "yaxis": dict(_AXIS),
            **layout,
        }
    )
