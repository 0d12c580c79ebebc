"""The figures and tables of the study, from its results.

python studies/learning-rate-transfer/report.py      # writes the figures, prints the tables
"""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einsearch.draw.style import INK, MUTED, house_style
from einsearch.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
TITLES = {"dense": "Dense", "btt": "BTT rank 1", "low-rank": "Low rank d^½"}
LINES = {
    (64, "muP"): ("width 64", INK, "-", "o"),
    (256, "muP"): ("width 256, muP", "#0072B2", "-", "s"),
    (256, "none"): ("width 256, learning rates as at width 64", "#D55E00", "--", "^"),
}
"""Width and scaling: label, colour, dashes, marker. Okabe and Ito's colours are safe for the colour-blind."""


def curves(results: dict[str, Any]) -> dict[tuple[str, int, str], dict[float, list[float]]]:
    """Losses of the seeds by learning rate, of every structure, width and scaling; of a run that diverged none."""
    found: dict[tuple[str, int, str], dict[float, list[float]]] = {}
    for run in results["runs"]:
        rates = found.setdefault((run["structure"], run["width"], run["scaling"]), {})
        rates.setdefault(run["learning_rate"], []).extend([run["train_loss"]] if run["train_loss"] is not None else [])
    return found


def best(curve: dict[float, list[float]]) -> float:
    """The learning rate of the least mean loss."""
    return min((rate for rate in curve if curve[rate]), key=lambda rate: statistics.fmean(curve[rate]))


def transfer_figure(results: dict[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), facecolor="white", layout="constrained")
    found = curves(results)
    for axes, (structure, title) in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES.items(), strict=True):
        for (width, scaling), (label, colour, dashes, marker) in LINES.items():
            curve = found[structure, width, scaling]
            means = {rate: statistics.fmean(losses) for rate, losses in sorted(curve.items()) if losses}
            style = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 4}
            axes.plot(list(means), list(means.values()), label=label, **style)
            for rate, losses in curve.items():
                axes.plot([rate] * len(losses), losses, marker, color=colour, markersize=2, alpha=0.5)
            top = best(curve)
            axes.plot([top], [means[top]], marker, color=colour, markersize=10, fillstyle="none")
        _log_axis(axes, sorted(found[structure, 64, "muP"]))
        axes.set_title(title, color=INK)
        axes.set_xlabel("learning rate", color=MUTED)
    figure.axes[0].set_ylabel("training loss, nats a symbol", color=MUTED)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _log_axis(axes: Axes, rates: list[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates], rotation=45)
    axes.spines[["top", "right"]].set_visible(False)


BAR = "\\|"
"""In a table."""

WATCHED = {"stream": "residual stream", "logits": "logits", "weights of q": "q, by its weights"}
SHOWN = ("dense", "BTT rank 1", "low rank d^1/2")
WAYS = {"AdamW": ("muP", "-"), "AdamW, width ignored": ("learning rates as at width 64", "--")}


def coordinates_figure(results: dict[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.4), facecolor="white", layout="constrained")
    colours = (INK, "#0072B2", "#D55E00")
    for axes, kind in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN, strict=True):
        for way, (label, dashes) in WAYS.items():
            changes = results["changes"][way][kind]["changes"]
            for (name, title), colour in zip(WATCHED.items(), colours, strict=True):
                values = [changes[width][name] for width in changes]
                legend = f"{title}, {label}"
                axes.plot(
                    [int(width) for width in changes],
                    values,
                    dashes,
                    color=colour,
                    marker="o",
                    markersize=3,
                    label=legend,
                )
        axes.set_xscale("log", base=2)
        axes.set_xticks(results["widths"], [str(width) for width in results["widths"]])
        axes.set_yscale("log")
        axes.set_title(kind, color=INK)
        axes.set_xlabel("width", color=MUTED)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(f"change after {results['steps']} steps", color=MUTED)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def tables(sweep: dict[str, Any], coordinates: dict[str, Any]) -> Iterator[str]:
    """Markdown."""
    rates = sorted({run["learning_rate"] for run in sweep["runs"]})
    yield f"| structure | width | scaling | {' | '.join(f'{rate:g}' for rate in rates)} | best |"
    yield "|---|---|---|" + "---|" * (len(rates) + 1)
    found = curves(sweep)
    for structure in TITLES:
        for width, scaling in LINES:
            curve = found[structure, width, scaling]
            top = best(curve)
            means = [f"{statistics.fmean(curve[rate]):.3f}" if curve[rate] else "diverged" for rate in rates]
            cells = [f"**{mean}**" if rate == top else mean for rate, mean in zip(rates, means, strict=True)]
            yield f"| {structure} | {width} | {scaling} | {' | '.join(cells)} | {top:g} |"
    yield ""
    names = ("stream", "q", "k", "v", "hidden", "logits")
    for way, kinds in coordinates["changes"].items():
        yield f"{way}:"
        yield ""
        yield f"| layers | {' | '.join(names)} | by weights of q, k, v, hidden |"
        yield "|---|" + "---|" * (len(names) + 1)
        for kind, one in kinds.items():
            powers = one["powers"]
            own = [powers[f"weights of {name}"] for name in ("q", "k", "v", "hidden") if f"weights of {name}" in powers]
            cells = [f"{powers[name]:+.2f}" if name in powers else "" for name in names]
            yield f"| {kind.replace('|', BAR)} | {' | '.join(cells)} | {min(own):+.2f} to {max(own):+.2f} |"
        yield ""


def main() -> None:
    sweep, coordinates = (json.loads((HERE / "results" / f"{n}.json").read_text()) for n in ("sweep", "coordinates"))
    for name, draw, results in (
        ("transfer", transfer_figure, sweep),
        ("coordinates", coordinates_figure, coordinates),
    ):
        with house_style():
            buffer = io.BytesIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            draw(results).savefig(buffer, format="svg", metadata=nothing)
        replace_file(HERE / f"{name}.svg", buffer.getvalue(), "figure")
    print(*tables(sweep, coordinates), sep="\n")


if __name__ == "__main__":
    main()
