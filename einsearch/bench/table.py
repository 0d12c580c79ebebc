"""Results of single layers as tables for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.table import Table
from rich.text import Text

from einsearch.bench.cases import LINEAR, Way
from einsearch.bench.layer import PASSES
from einsearch.bench.rows import Layer, Row, Speed

FULL = 16
"""Matrix products whose dimensions are all at least this can use a processor's registers or tensor cores."""

LEGEND = (
    "±: half of the range of the middle half of the rounds. GB/s: operands and results of every product, unfused. "
    "roofline: the least time by measured peak and bandwidth, over the time. speed-up: times as fast as nn.Linear, "
    "median over rounds. of dense: FLOP/s over those of nn.Linear."
)

STRUCTURE_LEGEND = (
    "Medians over rounds. rows: row-major activations; feat.: feature-major. least m n k: the smallest dimension of "
    "the matrix products, their batch apart."
)

TRANSPOSED = "* transposed before and after: what a drop-in for nn.Linear pays in a row-major model."


def layer_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """A table for every layer of every case, with dense above; rows in the order of `rows_of`."""
    for _, of_case in groupby(rows, key=lambda row: (row.d, row.tokens)):
        case = list(of_case)
        dense = [row for row in case if row.layer is None]
        for layer in dict.fromkeys(row.layer for row in case if row.layer is not None):
            yield _layer_table(layer, [*dense, *(row for row in case if row.layer == layer)])


def footnotes(rows: Iterable[Row]) -> list[str]:
    """What the signs in the tables of these rows mean, and why ways were refused."""
    held = list(rows)
    found = [TRANSPOSED] if any(row.way.transposed for row in held) else []
    return found + [f"- {reason}" for reason in _reasons(held)]


def _reasons(rows: Iterable[Row]) -> list[str]:
    held = [row for row in rows if row.layer is not None]
    every = dict.fromkeys(row.layer.text for row in held if row.layer is not None)
    reasons: dict[str, dict[str, None]] = {}
    for row in held:
        if row.refused is not None and row.layer is not None:
            reasons.setdefault(f"{row.way.implementation}: {row.refused}", {})[row.layer.text] = None
    return [
        reason if len(every) > 1 and layers.keys() == every.keys() else f"{reason} ({', '.join(layers)})"
        for reason, layers in reasons.items()
    ]


def _layer_table(layer: Layer, rows: Sequence[Row]) -> Table:
    first = rows[0]
    table = plain_table(f"{layer.text}, d = {first.d:,} ({layer.sizes}), {first.tokens:,} tokens")
    for name in ("", "activations"):
        table.add_column(name, no_wrap=True)
    for name in ("ms", "±", "GFLOP/s", "GB/s", "roofline", "speed-up", "of dense"):
        table.add_column(name, justify="right", no_wrap=True)
    for passes in PASSES:
        table.add_row(Text(passes, style="italic"))
        of_passes = [row for row in rows if row.passes == passes]
        best = max((row.speed.speedup for row in of_passes if row.speed and row.layer), default=0.0)
        for row in of_passes:
            cells = _cells(row.speed) if row.speed else ["-"] * 7
            bold = row.layer is not None and row.speed is not None and row.speed.speedup == best
            table.add_row(f"  {row.way.implementation}", _activations(row.way), *cells, style="bold" if bold else None)
    return table


def _cells(speed: Speed) -> list[str]:
    return [
        *(number(value) for value in (speed.milliseconds, speed.spread)),
        *(number(value / 1e9) for value in (speed.flops_per_second, speed.bytes_per_second)),
        f"{speed.roofline_fraction:.2f}",
        f"{speed.speedup:.2f}",
        f"{speed.relative_flops_per_second:.2f}",
    ]


def number(value: float) -> str:
    """Three digits, or all before the point; three places at most.

    >>> [number(value) for value in (0.01234, 1.234, 12.34, 123.4, 1234.5)]
    ['0.012', '1.23', '12.3', '123', '1,234']
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _activations(way: Way) -> str:
    return way.activations + "*" * way.transposed


def structure_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """For every case one table of all layers: speed-up of each way over nn.Linear, forward + backward."""
    both = [row for row in rows if row.passes == PASSES[-1]]
    for (d, tokens), of_case in groupby(both, key=lambda row: (row.d, row.tokens)):
        yield _structure_table(d, tokens, list(of_case))


def _structure_table(d: int, tokens: int, rows: Sequence[Row]) -> Table:
    base = next(row.speed for row in rows if row.way == LINEAR)
    assert base is not None
    table = plain_table(
        f"Times as fast as nn.Linear ({number(base.milliseconds)} ± {number(base.spread)} ms), forward + backward, "
        f"d = {d:,}, {tokens:,} tokens"
    )
    table.add_column("structure", overflow="fold", min_width=12)
    for name in ("ν", "least\nm n k"):
        table.add_column(name, justify="right", no_wrap=True)
    columns = list(dict.fromkeys(row.way for row in rows if row.layer is not None))
    for way in columns:
        name = way.implementation.replace("-", "-\n")
        where = "*" if way.transposed else "\nrows" if way.activations == "row-major" else "\nfeat."
        table.add_column(name + where, justify="right", no_wrap=True)
    held = {(row.layer, row.way): row.speed for row in rows}
    for layer in dict.fromkeys(row.layer for row in rows if row.layer is not None):
        speeds = [held[layer, way] for way in columns]
        best = max((speed.speedup for speed in speeds if speed), default=0.0)
        cells = [
            "-" if speed is None else Text(f"{speed.speedup:.2f}", style="bold" if speed.speedup == best else "")
            for speed in speeds
        ]
        table.add_row(layer.text, layer.nu, str(layer.smallest), *cells)
    return table


def slower_than_dense(rows: Iterable[Row]) -> list[str]:
    """Which layers, forward + backward, no way computes faster than nn.Linear; those of small products apart."""
    both = [row for row in rows if row.passes == PASSES[-1] and row.layer is not None]
    best: dict[tuple[int, int, Layer], float] = {}
    for row in both:
        assert row.layer is not None
        key = row.d, row.tokens, row.layer
        best[key] = max(best.get(key, 0.0), row.speed.speedup if row.speed else 0.0)
    lines = []
    for full, what in ((True, f"all of m, n and k at least {FULL}"), (False, f"one of m, n and k below {FULL}")):
        those = {key: value for key, value in best.items() if (key[2].smallest >= FULL) is full}
        slow = [f"{layer.text} at d {d:,} ({value:.2f})" for (d, _, layer), value in those.items() if value < 1]
        names = f": {'; '.join(slow)}" if slow else ""
        lines.append(f"{what}: {len(slow)} of {len(those)} slower than nn.Linear by every way{names}")
    return lines


def plain_table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
