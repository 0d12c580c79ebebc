"""Validation loss against training FLOPs: the figure that every multiplier is read off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from einsearch.draw.plotly_style import FAINT, INK, MUTED, PAPER, figure
from einsearch.report.hover import point_hover
from einsearch.report.ranking import Leader
from einsearch.report.rungs import study_rungs
from einsearch.report.study_data import StudyData
from einsearch.report.style import (
    LEADER_COLOURS,
    LEADER_DASHES,
    LEADER_MARKERS,
    LEGEND_BELOW,
    label,
    log_range,
    nothing,
    plain_ticks,
    power_ticks,
)
from einsearch.store import Curve

_MOST_TOLD = 300
"""Grey curves that say what they are under the pointer; the text of a thousand would outweigh the page."""


def loss_figure(data: StudyData, leaders: Sequence[Leader]) -> go.Figure:
    """Validation loss against training FLOPs of all trials; the frontier and the first five leaders stand out."""
    top = {leader.key: leader for leader in leaders[: len(LEADER_COLOURS)]}
    lines = {curve.trial.id: curve.losses for curve in data.curves}
    points = [point for line in lines.values() for point in line]
    if not points:
        return nothing("No validation loss has been measured yet.")
    plot = figure(520, legend=LEGEND_BELOW)
    x_low, x_high = log_range([flops for flops, _ in points], above=0.08)
    y_low, y_high = log_range([loss for _, loss in points])
    plot.update_xaxes(
        type="log",
        range=[math.log10(x_low), math.log10(x_high)],
        title_text="training FLOPs",
        **power_ticks(x_low, x_high),
    )
    plot.update_yaxes(
        type="log",
        range=[math.log10(y_low), math.log10(y_high)],
        title_text="validation loss (nats a token)",
        **plain_ticks(y_low, y_high),
    )
    _add_rungs(plot, data)
    others = [c for c in data.curves if c.trial.kind != "ladder" and c.trial.key not in top]
    _add_others(plot, data, others, lines)
    _add_ladder(plot, data, lines)
    for leader in reversed(top.values()):  # the first is drawn last, on top
        seeds = [c for c in data.curves if c.trial.kind != "ladder" and c.trial.key == leader.key]
        for number, curve in enumerate(seed for seed in seeds if lines[seed.trial.id]):
            _add_leader(plot, data, curve, leader, lines[curve.trial.id], in_legend=number == 0)
    return plot


def _add_rungs(plot: go.Figure, data: StudyData) -> None:
    for number, flops in enumerate(study_rungs(data)):
        plot.add_vline(x=flops, line={"color": MUTED, "width": 1, "dash": "dot"}, layer="below")
        label(plot, math.log10(flops), 1, f"rung {number}", yref="paper", yanchor="bottom")


def _add_others(
    plot: go.Figure, data: StudyData, curves: Sequence[Curve], lines: Mapping[int, list[tuple[int, float]]]
) -> None:
    """One trace for all of them, so that a study of a thousand trials still draws."""
    told = len(curves) <= _MOST_TOLD
    x: list[int | None] = []
    y: list[float | None] = []
    hover: list[str] = []
    for curve in curves:
        for flops, loss in lines[curve.trial.id]:
            x.append(flops)
            y.append(loss)
            hover.append(point_hover(data, curve, flops, loss) if told else "")
        x.append(None)
        y.append(None)
        hover.append("")
    if x:
        plot.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": FAINT, "width": 1},
            marker={"size": 3},
            hovertext=hover if told else None,
            hoverinfo="text" if told else "skip",
            name="other candidates",
        )


def _add_ladder(plot: go.Figure, data: StudyData, lines: Mapping[int, list[tuple[int, float]]]) -> None:
    first = True
    for curve in data.curves:
        line = lines[curve.trial.id]
        if curve.trial.kind != "ladder" or not line:
            continue
        plot.add_scatter(
            x=[flops for flops, _ in line],
            y=[loss for _, loss in line],
            mode="lines",
            line={"color": MUTED, "width": 1.5, "dash": "dash"},
            hovertext=[point_hover(data, curve, *point) for point in line],
            hoverinfo="text",
            name="dense runs, by width",
            legendgroup="ladder",
            showlegend=first,
        )
        flops, loss = line[-1]
        label(plot, math.log10(flops), math.log10(loss), str(curve.trial.facts["width"]), xanchor="left", xshift=4)
        first = False
    if not data.frontier.empty:
        plot.add_scatter(
            x=list(data.frontier.flops),
            y=list(data.frontier.losses),
            mode="lines+markers",
            line={"color": INK, "width": 3},
            marker={"size": 6, "color": INK},
            hovertemplate="dense frontier<br>%{x:.3g} FLOPs<br>loss %{y:.4f}<extra></extra>",
            name="dense frontier",
        )


def _add_leader(
    plot: go.Figure,
    data: StudyData,
    curve: Curve,
    leader: Leader,
    line: list[tuple[int, float]],
    in_legend: bool,
) -> None:
    style = leader.rank - 1
    plot.add_scatter(
        x=[flops for flops, _ in line],
        y=[loss for _, loss in line],
        mode="lines+markers",
        line={"color": LEADER_COLOURS[style], "width": 2, "dash": LEADER_DASHES[style]},
        marker={"size": 8, "symbol": LEADER_MARKERS[style], "line": {"color": PAPER, "width": 1}},
        hovertext=[point_hover(data, curve, *point) for point in line],
        hoverinfo="text",
        name=f"{leader.rank}. {escape(leader.label)}, width {leader.width}",
        legendgroup=leader.key,
        legendrank=1000 + leader.rank,  # 1000 is the rank of the other traces
        showlegend=in_legend,
    )
