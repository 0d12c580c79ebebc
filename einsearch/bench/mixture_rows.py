"""Mixtures as flat records, as a table for a terminal of 100 columns, and as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.table import Table
from rich.text import Text

from einsearch.bench.layer import PASSES, Passes
from einsearch.bench.mixture import MixtureCase, TimedMixture
from einsearch.bench.plot import Line, Panel, Plot
from einsearch.bench.table import number, plain_table
from einsearch.bench.work import dense_work

MIXTURE_LEGEND = (
    "FLOPs are those of the active experts. ±: half of the range of the middle half of the rounds. speed-up: times as "
    "fast as one nn.Linear; of fewest: times as long as with the fewest experts; medians over rounds. Without router."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureRow:
    """One implementation at one number of experts, or nn.Linear: then both are None.

    milliseconds: the median; spread: half of the range of the middle half. flops: of one call, by definition.
    speedup: times as fast as nn.Linear. of_fewest: times as long as the same with the fewest experts. seconds: of
    every round.
    """

    layer: str
    d: int
    tokens: int
    active: int
    implementation: str | None
    experts: int | None
    passes: Passes
    milliseconds: float
    spread: float
    flops: int
    flops_per_second: float
    speedup: float
    of_fewest: float | None
    seconds: tuple[float, ...]


def mixture_rows(case: MixtureCase, timed: Sequence[TimedMixture]) -> Iterator[MixtureRow]:
    """A row for each result, in their order."""
    linear = {each.passes: each.times for each in timed if each.experts is None}
    fewest = min(case.experts)
    first = {(each.implementation, each.passes): each.times for each in timed if each.experts == fewest}
    for each in timed:
        flops = case.flops(each.passes)
        if each.experts is None:
            flops = dense_work(case.d, case.d, case.tokens, 1, backward=each.passes != "forward").flops
        base = first.get((each.implementation, each.passes))
        yield MixtureRow(
            layer=case.layer,
            d=case.d,
            tokens=case.tokens,
            active=case.active,
            implementation=each.implementation,
            experts=each.experts,
            passes=each.passes,
            milliseconds=1e3 * each.times.median,
            spread=1e3 * each.times.spread,
            flops=flops,
            flops_per_second=flops / each.times.median,
            speedup=each.times.speedup(linear[each.passes]),
            of_fewest=None if base is None else base.speedup(each.times),
            seconds=each.times.seconds,
        )


def mixture_tables(rows: Sequence[MixtureRow]) -> Iterator[Table]:
    """A table for every layer, width and number of tokens."""
    for (layer, d, tokens, active), group in groupby(rows, key=lambda row: (row.layer, row.d, row.tokens, row.active)):
        held = list(group)
        table = plain_table(f"{layer}, {active} active, d = {d:,}, {tokens:,} tokens")
        for name in ("", "experts", "ms", "±", "GFLOP/s", "speed-up", "of fewest"):
            table.add_column(name, justify="right" if name else "left", no_wrap=True)
        for passes in PASSES:
            table.add_row(Text(passes, style="italic"))
            for row in (row for row in held if row.passes == passes):
                cells = [number(value) for value in (row.milliseconds, row.spread, row.flops_per_second / 1e9)]
                of_fewest = "" if row.of_fewest is None else f"{row.of_fewest:.2f}"
                name, experts = row.implementation or "nn.Linear", "" if row.experts is None else str(row.experts)
                table.add_row(f"  {name}", experts, *cells, f"{row.speedup:.2f}", of_fewest)
        yield table


def mixture_plot(rows: Sequence[MixtureRow]) -> Plot:
    """Time over the number of experts; a panel for every layer, width, number of tokens and pass."""
    panels = []
    cases = dict.fromkeys((row.layer, row.d, row.tokens, row.passes) for row in rows)
    for layer, d, tokens, passes in cases:
        own = [row for row in rows if (row.layer, row.d, row.tokens, row.passes) == (layer, d, tokens, passes)]
        linear = next(row for row in own if row.experts is None)
        points: dict[str, list[tuple[int, float]]] = {}
        for row in own:
            if row.implementation is not None and row.experts is not None:
                points.setdefault(row.implementation, []).append((row.experts, row.milliseconds))
        counts = sorted({x for each in points.values() for x, _ in each})
        points = {"nn.Linear": [(count, linear.milliseconds) for count in counts]} | points
        lines = tuple(Line(name, "row-major", tuple(sorted(each))) for name, each in points.items())
        panels.append(Panel(f"{layer}, d {d:,}", f"{tokens:,} tokens, {linear.active} active, {passes}", lines))
    return Plot("experts", "ms", tuple(panels), dense=("nn.Linear",))
