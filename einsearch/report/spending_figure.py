"""The use of the budget over time."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import plotly.graph_objects as go

from einsearch.draw.plotly_style import INK, MUTED, figure
from einsearch.report.budget import purpose, purposes
from einsearch.report.rungs import study_rungs
from einsearch.report.study_data import StudyData
from einsearch.report.style import LEADER_COLOURS, LEGEND_BELOW, label, nothing
from einsearch.report.text import flops_text

_MOST_MOMENTS = 200
"""Points of a line; more cannot be told apart."""

_RUNG_COLOURS = ("#9ecae1", "#4292c6", "#08519c", "#08306b")
_COLOURS = {"dense ladder": MUTED, "finals": LEADER_COLOURS[2], "lost": LEADER_COLOURS[1]}


def spending_figure(data: StudyData) -> go.Figure:
    """FLOPs booked until each moment, stacked by what they were for; the dotted line is the budget."""
    moments, totals = _running_totals(data)
    if not moments:
        return nothing("No segment has ended yet.")
    plot = figure(420, legend=LEGEND_BELOW, hovermode="x unified")
    budget = data.study.budget
    plot.update_xaxes(title_text="time (UTC)", nticks=5, tickangle=0)
    plot.update_yaxes(title_text="training FLOPs", range=[0, 1.08 * budget], exponentformat="power")
    for name, values in totals.items():
        colour = _COLOURS.get(name) or _RUNG_COLOURS[min(int(name.split()[-1]), len(_RUNG_COLOURS) - 1)]
        plot.add_scatter(
            x=moments,
            y=values,
            mode="lines",
            stackgroup="spent",
            line={"width": 0.5, "color": colour, "shape": "hv"},
            fillcolor=colour,
            name=name,
            hovertemplate="%{y:.3g}",
        )
    plot.add_hline(y=budget, line={"color": INK, "width": 1.5, "dash": "dot"})
    label(plot, 0, budget, f"budget {flops_text(budget)}", xref="paper", xanchor="left", yanchor="bottom")
    return plot


def _running_totals(data: StudyData) -> tuple[list[datetime], dict[str, list[int]]]:
    """Moments, and FLOPs booked until each of them by purpose; purposes without FLOPs are left out."""
    rungs = study_rungs(data)
    trials = {curve.trial.id: curve.trial for curve in data.curves}
    booked = sorted(
        (
            (s.ended_at, "lost" if s.state == "lost" else purpose(trials[s.trial_id], s, rungs), s.flops)
            for s in data.segments
            if s.ended_at is not None
        ),
        key=lambda booking: booking[0],
    )
    every = max(1, len(booked) // _MOST_MOMENTS)
    so_far: dict[str, int] = defaultdict(int)
    moments: list[datetime] = [min((s.reserved_at for s in data.segments), default=data.study.created_at)]
    states: list[dict[str, int]] = [{}]
    for n, (at, name, flops) in enumerate(booked, start=1):
        so_far[name] += flops
        if n % every == 0 or n == len(booked):
            moments.append(at)
            states.append(dict(so_far))
    order = [name for name in (*purposes(rungs), "lost") if so_far.get(name)]
    if not order:
        return [], {}
    return moments, {name: [state.get(name, 0) for state in states] for name in order}
