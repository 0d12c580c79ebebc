"""The figure of the study: loss by learning rate, and by training FLOPs."""

from __future__ import annotations

import io
import math
import statistics
from typing import TYPE_CHECKING, Any

from einsearch.draw.style import FONT_SIZE, INK, MUTED, house_style
from einsearch.search.config import write_flops
from studies.mixtures.design import KINDS
from studies.mixtures.tables import losses, runs_of, top_level

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = dict(zip(KINDS, ((INK, "o"), ("#D55E00", "s"), ("#0072B2", "^"), ("#009E73", "D")), strict=True))
"""Colour and marker of a kind; Okabe and Ito's colours are safe for the colour-blind."""


def render(results: dict[str, Any]) -> bytes:
    """The figure as SVG."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(8.6, 3.7), facecolor="white", layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, draw in ((left, _by_rate), (right, _by_flops)):
            axes.set_xscale("log")
            draw(axes, results)
            axes.set_ylabel("validation loss, nats a symbol")
            axes.spines[["top", "right"]].set_visible(False)
        handles, titles = left.get_legend_handles_labels()
        figure.legend(handles, titles, loc="outside lower center", ncols=len(KINDS), frameon=False)
        buffer = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def _by_rate(axes: Axes, results: dict[str, Any]) -> None:
    """A line through the means of the runs that did not diverge; those that did are crosses at the top."""
    level, diverged = top_level(results), []
    for place, (kind, (colour, marker)) in enumerate(STYLES.items()):
        means = {}
        for rate in results["design"]["rates"]:
            runs = runs_of(results, kind=kind, level=level, rate=rate)
            found = losses(runs)
            axes.plot([rate] * len(found), found, marker, color=colour, markersize=3.5, alpha=0.5, markeredgewidth=0)
            if found:
                means[rate] = statistics.fmean(found)
            if len(found) < len(runs):
                # A little apart, since the kinds diverge at the same learning rates.
                diverged.append((rate * 1.12 ** (place - 1.5), colour, len(runs) - len(found)))
        axes.plot(
            list(means), list(means.values()), "-", color=colour, marker=marker, markersize=5, label=KINDS[kind].title
        )
    for rate, colour, count in diverged:
        axes.plot([rate], [0.97], "x", color=colour, transform=axes.get_xaxis_transform(), markersize=5)
        style = {"ha": "center", "va": "top", "size": FONT_SIZE - 2.5, "color": colour}
        axes.text(rate, 0.94, str(count), transform=axes.get_xaxis_transform(), **style)
    axes.set_xlabel("learning rate (crosses: runs that diverged)")
    axes.set_title(f"{level / 1e6:,.0f} MFLOPs a step", size=FONT_SIZE, color=MUTED, loc="left")


def _by_flops(axes: Axes, results: dict[str, Any]) -> None:
    """Mean over seeds at the common learning rate; dashed below the last level."""
    rate = results["design"]["common_rate"]
    for kind, (colour, marker) in STYLES.items():
        for level in results["design"]["levels"]:
            runs = [run for run in runs_of(results, kind=kind, level=level, rate=rate) if run["failure"] is None]
            if not runs:
                continue
            curves = [[point["validation_loss"] for point in run["points"]] for run in runs]
            flops = [point["flops"] for point in runs[0]["points"]]
            means = [statistics.fmean(each) for each in zip(*curves, strict=True)]
            line = "-" if level == top_level(results) else "--"
            axes.plot(flops, means, line, color=colour, marker=marker, markersize=4)
    dashed = ", ".join(f"{level / 1e6:,.0f}" for level in results["design"]["levels"][:-1])
    axes.set_xlabel(f"training FLOPs (dashed: {dashed} MFLOPs a step)")
    low, high = axes.get_xlim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10**power for power in powers for digit in (1, 2, 5) if low <= digit * 10**power <= high]
    axes.set_xticks(ticks, [write_flops(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_title(f"learning rate {rate:g}", size=FONT_SIZE, color=MUTED, loc="left")
