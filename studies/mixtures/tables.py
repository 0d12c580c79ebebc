"""The tables of the study, from its results, and the pages that hold them."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from studies.mixtures.design import KINDS

SPIKE = 0.3
"""Nats that a step's loss rises above the running mean of those before: that counts as a spike."""

Results = dict[str, Any]
Record = dict[str, Any]


def mean_and_spread(values: list[float], digits: int = 3) -> str:
    """The mean, and the standard deviation of the seeds where there are several."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def runs_of(results: Results, **fields: Any) -> list[Record]:
    """The runs with these fields, by seed."""
    found = [run for run in results["runs"] if all(run[name] == value for name, value in fields.items())]
    return sorted(found, key=lambda run: run["seed"])


def losses(runs: list[Record]) -> list[float]:
    """Of the runs that did not diverge."""
    return [run["validation_loss"] for run in runs if run["failure"] is None]


def top_level(results: Results) -> int:
    """FLOPs per step where all learning rates were tried."""
    return int(results["design"]["levels"][-1])


def best_rate(results: Results, kind: str) -> float | None:
    """The learning rate of least mean loss, among those at which no seed diverged; None where there is none."""
    found = {}
    for rate in results["design"]["rates"]:
        runs = runs_of(results, kind=kind, level=top_level(results), rate=rate)
        if runs and all(run["failure"] is None for run in runs):
            found[rate] = statistics.fmean(losses(runs))
    return min(found, key=found.__getitem__, default=None)


def against_dense(runs: list[Record], dense: list[Record]) -> str:
    """Mean loss minus that of dense, seed by seed: both saw the same text in the same order."""
    of_dense = {run["seed"]: run["validation_loss"] for run in dense if run["failure"] is None}
    paired = [(run["validation_loss"], of_dense.get(run["seed"])) for run in runs if run["failure"] is None]
    gains = [loss - other for loss, other in paired if other is not None]
    if not gains:
        return "–"
    sign = "+" if statistics.fmean(gains) >= 0 else "−"
    return sign + mean_and_spread(gains).lstrip("-")


def compute(results: Results) -> str:
    """Loss at equal training FLOPs and the common learning rate, every level."""
    rate, rows = results["design"]["common_rate"], []
    for level in results["design"]["levels"]:
        dense = runs_of(results, level=level, rate=rate, kind="dense")
        for kind, about in KINDS.items():
            if not (runs := runs_of(results, level=level, rate=rate, kind=kind)):
                continue
            first = runs[0]
            rows.append(
                [
                    about.title,
                    str(first["width"]),
                    f"{first['step_flops'] / 1e6:,.0f}",
                    f"{first['steps']:,}",
                    f"{first['parameters']:,}",
                    f"{first['active_parameters']:,}",
                    mean_and_spread(losses(runs)) if losses(runs) else "diverged",
                    "" if kind == "dense" else against_dense(runs, dense),
                ]
            )
    head = ["kind", "width", "MFLOPs a step", "steps", "parameters", "active", "validation loss", "minus dense"]
    return table(head, rows)


def best(results: Results) -> str:
    """Every kind at its own best learning rate, last level."""
    level, rows = top_level(results), []
    rates = {kind: best_rate(results, kind) for kind in KINDS}
    dense = runs_of(results, level=level, kind="dense", rate=rates["dense"])
    for kind, about in KINDS.items():
        if not (runs := runs_of(results, level=level, kind=kind, rate=rates[kind])):
            continue
        norms = [run["statistics"] for run in runs]
        rows.append(
            [
                about.title,
                f"{rates[kind]:g}",
                mean_and_spread(losses(runs)),
                "" if kind == "dense" else against_dense(runs, dense),
                mean_and_spread([norm["gradient_norm"] for norm in norms], 2),
                f"{max(norm['greatest_gradient_norm'] for norm in norms):.1f}",
                f"{sum(spiked(run) for run in runs)} of {len(runs)}",
            ]
        )
    head = ["kind", "best rate", "validation loss", "minus dense", "gradient norm", "greatest", "runs with a spike"]
    return table(head, rows)


def spiked(run: Record) -> bool:
    rise = run["statistics"]["greatest_loss_rise"]
    return rise is None or rise > SPIKE


def by_rate(results: Results, cell: Callable[[list[Record]], str]) -> str:
    """A row a learning rate, a column a kind, last level."""
    level, rows = top_level(results), []
    for rate in results["design"]["rates"]:
        found = [runs_of(results, level=level, kind=kind, rate=rate) for kind in KINDS]
        rows.append([f"{rate:g}", *(cell(runs) if runs else "" for runs in found)])
    return table(["learning rate", *(about.title for about in KINDS.values())], rows)


def rates(results: Results) -> str:
    """Loss, spikes and divergences by learning rate; mean and spikes of the runs that did not diverge."""

    def cell(runs: list[Record]) -> str:
        kept = [run for run in runs if run["failure"] is None]
        words = [mean_and_spread(losses(kept))] if kept else []
        if spikes := sum(map(spiked, kept)):
            words.append(f"{spikes} spiked")
        if len(kept) < len(runs):
            words.append(f"**{len(runs) - len(kept)} diverged**")
        return ", ".join(words)

    return by_rate(results, cell)


def gradients(results: Results) -> str:
    """Gradient norms before clipping, by learning rate: mean over steps and runs, and the greatest."""

    def cell(runs: list[Record]) -> str:
        kept = [run["statistics"] for run in runs if run["failure"] is None]
        if not kept:
            return "diverged"
        mean = statistics.fmean(norm["gradient_norm"] for norm in kept)
        return f"{mean:.2f}, {max(norm['greatest_gradient_norm'] for norm in kept):.1f}"

    return by_rate(results, cell)


def routers(results: Results) -> str:
    """Loads and entropies of the routers at the common learning rate, means over routers, steps and seeds."""
    rate, rows = results["design"]["common_rate"], []
    for level in results["design"]["levels"]:
        for kind, about in KINDS.items():
            runs = [run["statistics"] for run in runs_of(results, level=level, rate=rate, kind=kind)]
            if about.mixture is None or not runs:
                continue
            names = ("router_max_load", "router_min_load", "router_entropy")
            means = [mean_and_spread([each[name] for each in runs], 2) for name in names]
            width = runs_of(results, level=level, rate=rate, kind=kind)[0]["width"]
            rows.append([about.title, str(width), *means, f"{max(each['router_dropped'] for each in runs):g}"])
    return table(["kind", "width", "greatest load", "least load", "entropy, nats", "dropped"], rows)


def times(results: Results) -> str:
    """Processor time of a training step, measured in turn."""
    rows = []
    tokens = results["design"]["protocol"]["context"] * results["design"]["protocol"]["batch"]
    dense = {each["level"]: each["step_flops"] for each in results["step_times"] if each["kind"] == "dense"}
    for each in results["step_times"]:
        median, low, high = each["to_dense"]
        rows.append(
            [
                KINDS[each["kind"]].title,
                str(each["width"]),
                f"{each['milliseconds']:.1f}",
                f"{1e3 * tokens / each['milliseconds']:,.0f}",
                f"{each['step_flops'] / each['milliseconds'] / 1e6:.1f}",
                "" if each["kind"] == "dense" else f"{median:.2f} ({low:.2f} to {high:.2f})",
                "" if each["kind"] == "dense" else f"{median * dense[each['level']] / each['step_flops']:.2f}",
            ]
        )
    head = ["kind", "width", "ms a step", "tokens a second", "GFLOP/s", "time of dense", "time of dense, per FLOP"]
    return table(head, rows)


def spent(results: Results) -> str:
    """What the study took, and when it was measured."""
    runs = results["runs"]
    wall, processor = (sum(run[name] for run in runs) / 60 for name in ("seconds", "cpu_seconds"))
    loads = [run["load"] for run in runs]
    setting, machine = results["setting"], results["machine"]
    seeds = ", ".join(str(seed) for seed in results["design"]["seeds"])
    return (
        f"{len(runs)} runs of {results['design']['flops']:.3g} training FLOPs each, seeds {seeds}; "
        f"{processor:.0f} minutes of processor time, {wall:.0f} minutes of wall-clock in training steps. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} thread, {setting['precision']}, "
        f"torch {setting['torch']}; text: {setting['data_name']}; einsearch {setting['code']}. The machine was shared: "
        f"load {min(loads):.1f} to {max(loads):.1f}."
    )


TABLES: dict[str, Callable[[Results], str]] = {
    "spent": spent,
    "compute": compute,
    "best": best,
    "rates": rates,
    "gradients": gradients,
    "routers": routers,
    "times": times,
}
"""By the name that pages give."""


def with_tables(page: str, results: Results) -> str:
    """The page with what stands between `<!-- study: NAME -->` and `<!-- end -->` written anew."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- study: {match[1]} -->\n{TABLES[match[1]](results)}\n<!-- end -->"

    return re.sub(r"<!-- study: (\w+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
