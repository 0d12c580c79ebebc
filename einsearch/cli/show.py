"""`einsearch show KEY`: one trial, in full."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from einsearch.cli.options import JsonOption, RunsOption, StoreOption, console, latest_study, print_json
from einsearch.report.study_data import read_study
from einsearch.search.config import write_flops
from einsearch.search.study import RUNS, default_store_url
from einsearch.store import Curve, Store


def show(
    key: Annotated[str, typer.Argument(help="A trial's key, or the beginning of one.")],
    study: Annotated[str | None, typer.Option(help="Name of the study; by default the latest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the trials with that key, the one with this seed.")] = None,
    store: StoreOption = None,
    runs: RunsOption = RUNS,
    json: JsonOption = False,
) -> None:
    """Show a trial: structure, sizes, costs, curve, what it ran on and how it ended."""
    url = store or default_store_url(runs)
    name = study or latest_study(url).name
    with Store.open(url, create=False) as opened:
        trial = opened.trial(opened.study(name).id, key, seed=seed)
    data = read_study(url, name)
    curve = next(c for c in data.curves if c.trial.id == trial.id)
    if json:
        print_json(asdict(curve.trial) | {"points": [asdict(point) for point in curve.points]})
        return
    out = console()
    out.print(_facts_table(curve))
    out.print()
    out.print(_layers_table(curve))
    out.print()
    points = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("step", "FLOPs", "training loss", "validation loss", "multiplier", "seconds"):
        points.add_column(column, justify="right")
    for point in curve.points:
        if point.validation_loss is None:
            continue
        multiplier = "-"
        if not data.frontier.empty:
            multiplier = f"{data.frontier.multiplier(point.flops, point.validation_loss)}x"
        train = "-" if point.train_loss is None else f"{point.train_loss:.4f}"
        points.add_row(
            str(point.step),
            write_flops(point.flops),
            train,
            f"{point.validation_loss:.4f}",
            multiplier,
            f"{point.seconds:.1f}",
        )
    out.print(points)


def _facts_table(curve: Curve) -> Table:
    trial, facts = curve.trial, curve.trial.facts
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    taxonomy = facts["taxonomy"]
    table.add_row("key", f"{trial.key}, seed {trial.seed}, trial {trial.number} ({trial.kind})")
    table.add_row("structure", f"{trial.label} {facts['theta']}")
    table.add_row("taxonomy", f"ω {taxonomy['omega']:g}  ψ {taxonomy['psi']:g}  ν {taxonomy['nu']:g}")
    table.add_row("model", f"width {facts['width']}, depth {facts['depth']}, {trial.parameters:,} parameters")
    table.add_row("state", trial.state + (f": {trial.reason}" if trial.reason else ""))
    table.add_row("trained", f"{trial.step} steps, {write_flops(trial.flops_done) if trial.flops_done else 0} FLOPs")
    if curve.tokens_per_second:
        table.add_row("speed", f"{curve.tokens_per_second:,.0f} tokens/s")
    for name, value in (trial.environment or {}).items():
        table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
    if trial.reused_from:
        where = "another study" if trial.reused_from > 0 else "the store that this study was copied from"
        table.add_row("reused from", f"trial {abs(trial.reused_from)} of {where}")
    if trial.checkpoint:
        table.add_row("checkpoint", trial.checkpoint)
    return table


def _layers_table(curve: Curve) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("layer", "sizes", "parameters", "MACs", "rank ≤"):
        table.add_column(column, justify="left" if column in ("layer", "sizes") else "right")
    for name, layer in curve.trial.facts["layers"].items():
        counts = (layer["parameters"], layer["macs"], layer["rank_bound"])
        table.add_row(name, layer["sizes"], *(f"{count:,}" for count in counts))
    return table
