"""Training steps as flat records, and as tables for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.table import Table

from einsearch.bench.step import Mode, StepCase, TimedStep
from einsearch.bench.table import number, plain_table
from einsearch.layers.implementations import Activations
from einsearch.proxy.flops import flops_per_step

STEP_LEGEND = (
    "A step: forward, backward, clipping, AdamW, as in trials. ±: half of the range of the middle half of the rounds. "
    "speed-up: times as fast as the faster of the dense models of the same table, median over rounds."
)

COMPILE_LEGEND = " compile: seconds of the first pass beyond those of the second, from an empty cache."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A model's training step; layer None is dense. milliseconds: the median, spread: half of the range of the middle
    half. speedup: times as fast as the faster dense model of the same width and mode. flops: of a step, as trials are
    booked. implementation: as asked; runs: what the layers ran. seconds: of every round.
    """

    layer: str | None
    width: int
    mode: Mode
    implementation: str
    activations: Activations
    runs: tuple[str, ...]
    milliseconds: float
    spread: float
    flops: int
    flops_per_second: float
    tokens_per_second: float
    speedup: float
    compile_seconds: float | None
    seconds: tuple[float, ...]


def step_rows(case: StepCase, steps: Sequence[TimedStep]) -> Iterator[StepRow]:
    """A row for every model of a case."""
    base = min((step.times for step in steps if step.layer is None), key=lambda times: times.median)
    protocol = case.protocol
    for step in steps:
        seconds = step.times.median
        flops = flops_per_step(case.candidate(step.layer), protocol.context, protocol.batch)
        yield StepRow(
            layer=step.layer,
            width=case.width,
            mode=case.mode,
            implementation=step.implementation,
            activations=step.activations,
            runs=step.runs,
            milliseconds=1e3 * seconds,
            spread=1e3 * step.times.spread,
            flops=flops,
            flops_per_second=flops / seconds,
            tokens_per_second=protocol.tokens_per_step / seconds,
            speedup=step.times.speedup(base),
            compile_seconds=step.compile_seconds,
            seconds=step.times.seconds,
        )


def step_tables(rows: Sequence[StepRow]) -> Iterator[Table]:
    """A table for every width and mode."""
    for (width, mode), group in groupby(rows, key=lambda row: (row.width, row.mode)):
        held = list(group)
        table = plain_table(f"Training step, width {width}, {mode}")
        table.add_column("structure", overflow="fold")
        table.add_column("activations", no_wrap=True)
        table.add_column("layers run", overflow="fold")
        for name in ("ms", "±", "tokens/s", "GFLOP/s", "speed-up", "compile s")[: 6 if mode == "compiled" else 5]:
            table.add_column(name, justify="right", no_wrap=True)
        best = max(row.speedup for row in held)
        for row in held:
            numbers = (row.milliseconds, row.spread, row.tokens_per_second, row.flops_per_second / 1e9)
            seconds = [] if row.compile_seconds is None else [f"{row.compile_seconds:.1f}"]
            cells = [*(number(value) for value in numbers), f"{row.speedup:.2f}", *seconds]
            bold = "bold" if row.speedup == best else None
            table.add_row(row.layer or "dense", row.activations, ", ".join(row.runs), *cells, style=bold)
        yield table
