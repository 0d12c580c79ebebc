"""A plan in words, before anything is spent."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from einsearch.search.calibration import Speed
from einsearch.search.config import write_flops
from einsearch.search.study import Study
from einsearch.store import StudyRow
from einsearch.store.engine import parse_url, shown


def describe_plan(
    out: Console, study: Study, where: str, speed: Speed | None, row: StudyRow | None, budget: int | None
) -> None:
    """Print device, data, protocol, ladder, rungs, candidates, FLOPs of each and the expected time."""
    plan, protocol = study.plan, study.setting.protocol
    total = budget or plan.budget
    used = row.spent + row.lost if row else 0
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("study", f"{study.config.name} in {shown(parse_url(study.store_url))}")
    table.add_row("device", f"{where}, torch {study.setting.torch}, {study.setting.precision}")
    table.add_row("data", study.corpus.description)
    optimizer = "AdamW" if protocol.optimizer == "adamw" else f"SGD with momentum {protocol.momentum:g}"
    table.add_row(
        "protocol",
        f"GPT-2 of depth {plan.space.depth}, head size {plan.space.head_size}; {protocol.batch} sequences of "
        f"{protocol.context} symbols a step; {optimizer}, learning rate {protocol.learning_rate:g} at width "
        f"{protocol.base_width} (muP), constant after {protocol.warmup_steps} steps; seed {study.config.seed}",
    )
    ladder = ", ".join(f"width {run.width}: {write_flops(run.flops)}" for run in plan.ladder)
    table.add_row("dense ladder", f"{ladder} FLOPs (together {write_flops(plan.ladder_flops)})")
    count = plan.space.count()
    widths = ", ".join(str(width) for width in plan.space.widths)
    of = "a continuous space" if count is None else f"{count}"
    table.add_row(
        "candidates",
        f"about {plan.expected_candidates} of {of} ({plan.space.name}), widths {widths}; "
        f"sampler {study.config.sampler}",
    )
    rungs = " → ".join(write_flops(rung) for rung in plan.rungs)
    table.add_row("rungs", f"{rungs} FLOPs a trial; the best 1/{plan.reduction} of a rung go on")
    spent = f", {write_flops(used)} already used" if used else ""
    table.add_row("budget", f"{write_flops(total)} training FLOPs in all, never exceeded{spent}")
    if speed is not None:
        remaining = speed.seconds * max(0, total - used) / plan.budget
        table.add_row(
            "expected time",
            f"about {_duration(remaining)} (measured: dense {speed.dense / 1e9:.1f}, candidates "
            f"{speed.candidates / 1e9:.1f} GFLOP/s a worker)",
        )
    out.print(table)
    out.print()


def plan_json(study: Study, workers: int, speed: Speed | None) -> dict[str, Any]:
    """The same for scripts. expected_seconds is an estimate from a short measurement, where one could be made."""
    return {
        "study": study.config.name,
        "setting": study.setting.to_json(),
        "data": study.corpus.description,
        "workers": workers,
        "budget": study.plan.budget,
        **study.plan.to_json(),
        "expected_candidates": study.plan.expected_candidates,
        "expected_seconds": None if speed is None else speed.seconds,
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
