"""The figures of a study's page."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import plotly.graph_objects as go

from einsearch.draw.plotly_style import INK
from einsearch.report.leader_figures import multiplier_figure, taxonomy_figure
from einsearch.report.loss_figure import loss_figure
from einsearch.report.spending_figure import spending_figure
from einsearch.report.study_data import StudyData
from einsearch.report.summary import Summary

HEIGHT = 450
"""Pixels that optuna-dashboard leaves for a figure."""

_ROWS = 6
"""Candidates in the ranking: so many rows are high enough to read."""

_MARKS = 500
"""Candidates in the taxonomy, the best ones: each has its text under the pointer."""

FIGURES: dict[str, tuple[str, Callable[[StudyData, Summary], go.Figure]]] = {
    "loss": ("Loss against compute", lambda data, found: loss_figure(data, found.leaders)),
    "multipliers": (
        "Multiplier ranking",
        lambda data, found: multiplier_figure(found.leaders[:_ROWS]),
    ),
    "taxonomy": (
        "Taxonomy of the candidates",
        lambda data, found: _with_scale_beside(taxonomy_figure(found.leaders[:_MARKS])),
    ),
    "budget": ("Budget use over time", lambda data, found: spending_figure(data)),
}
"""Each figure with its title, by the id under which the page keeps it."""


def figures(data: StudyData, summary: Summary) -> dict[str, str]:
    """Plotly's JSON of every figure by its id, as high as its place."""
    return {name: _titled(draw(data, summary), title).to_json() for name, (title, draw) in FIGURES.items()}


def _with_scale_beside(plot: go.Figure) -> go.Figure:
    """The colour scale at the side: above the figure is its title."""
    for trace in plot.data:
        if trace.marker.showscale:
            trace.marker.colorbar.update(
                orientation="v", x=1.02, xanchor="left", y=0.5, yanchor="middle", len=1.0, title_text="multiplier"
            )
    return plot


def _titled(plot: go.Figure, title: str) -> go.Figure:
    plot.update_layout(
        title={
            "text": f"<b>{escape(title)}</b>",
            "font": {"size": 15, "color": INK},
            "x": 0.01,
            "xanchor": "left",
            "y": 0.98,
            "yanchor": "top",
            "yref": "container",
        },
        height=HEIGHT,
        margin={"t": 44},
        dragmode="zoom",
    )
    return plot
