"""The curve of one trial as an image, beside the dense frontier."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from einsearch.draw.style import FAINT, INK, MUTED, SIDES, house_style
from einsearch.frontier import Frontier
from einsearch.report.style import log_range, plain_ticks, power_ticks

_COLOUR = SIDES[0].colour


def draw_curve(losses: Sequence[tuple[int, float]], frontier: Frontier, rungs: Sequence[int]) -> bytes:
    """An SVG of validation loss (nats a token) against training FLOPs, both logarithmic.

    losses: at least one (FLOPs, loss). rungs: training FLOPs, of which those within the picture are marked.
    """
    from matplotlib.figure import Figure

    dense = list(zip(frontier.flops, frontier.losses, strict=True))
    with house_style():
        figure = Figure(figsize=(7.0, 3.4), facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        x = log_range([flops for flops, _ in (*losses, *dense)])
        y = log_range([loss for _, loss in (*losses, *dense)])
        axes.set(xscale="log", yscale="log", xlim=x, ylim=y)
        _set_ticks(axes.xaxis, power_ticks(*x))
        _set_ticks(axes.yaxis, plain_ticks(*y))
        axes.set_xlabel("training FLOPs")
        axes.set_ylabel("validation loss")
        axes.spines[["top", "right"]].set_visible(False)
        for number, rung in enumerate(rungs):
            if x[0] <= rung <= x[1]:
                axes.axvline(rung, color=FAINT, lw=1, ls=":", zorder=0)
                axes.annotate(f"rung {number}", (rung, y[1]), (2, -9), textcoords="offset points", color=MUTED, size=8)
        if dense:
            axes.plot(*zip(*dense, strict=True), color=INK, lw=2.2, label="dense frontier")
        axes.plot(*zip(*losses, strict=True), color=_COLOUR, lw=1.6, marker="o", ms=5, label="this trial")
        axes.legend(frameon=False, fontsize=9, loc="lower left")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return buffer.getvalue()


def _set_ticks(axis: Any, ticks: dict[str, Any]) -> None:
    axis.set_ticks(ticks["tickvals"], labels=ticks["ticktext"])
    axis.set_ticks([], minor=True)
