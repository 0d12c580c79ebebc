"""What a figure shows: panels of lines, time over size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsearch.bench.cases import DENSE, LINEAR, Way
from einsearch.bench.layer import PASSES

if TYPE_CHECKING:
    from einsearch.bench.rows import Row
    from einsearch.bench.step_rows import StepRow

_MANY = 6
"""With more layers than this only forward + backward is drawn."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a panel. name: of its colour (an implementation or a structure); layout: of its dashes."""

    name: str
    layout: str
    points: tuple[tuple[int, float], ...]

    @property
    def text(self) -> str:
        return f"{self.name}, {'row-major transposed' if self.layout == 'transposed' else self.layout}"


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    detail: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Panels with the same axes' names. dense: the names that are drawn in ink."""

    x: str
    y: str
    panels: tuple[Panel, ...]
    dense: tuple[str, ...]


def layer_plot(rows: Sequence[Row]) -> Plot:
    """Time per token over d; a panel for every layer, number of tokens and pass."""
    panels = []
    layers = dict.fromkeys(row.layer.text for row in rows if row.layer is not None)
    for layer in layers:
        for tokens in dict.fromkeys(row.tokens for row in rows):
            for passes in PASSES if len(layers) <= _MANY else PASSES[-1:]:
                points: dict[Way, list[tuple[int, float]]] = {}
                for row in rows:
                    wanted = row.layer is None or row.layer.text == layer
                    if wanted and row.speed and (row.tokens, row.passes) == (tokens, passes):
                        points.setdefault(row.way, []).append((row.d, 1e3 * row.speed.milliseconds / tokens))
                lines = tuple(Line(way.implementation, _layout(way), tuple(held)) for way, held in points.items())
                panels.append(Panel(layer, f"{tokens:,} tokens, {passes}", lines))
    return Plot("d", "µs a token", tuple(panels), dense=(LINEAR.implementation, DENSE.implementation))


def step_plot(rows: Sequence[StepRow]) -> Plot:
    """Time of a step over width; a panel for every mode."""
    panels = []
    for mode in dict.fromkeys(row.mode for row in rows):
        points: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for row in rows:
            if row.mode == mode:
                forced = "" if row.implementation == "auto" else f" by {row.implementation}"
                points.setdefault(((row.layer or "dense") + forced, row.activations), []).append(
                    (row.width, row.milliseconds)
                )
        panels.append(Panel("Training step", mode, tuple(Line(*key, tuple(held)) for key, held in points.items())))
    return Plot("width", "ms a step", tuple(panels), dense=("dense",))


def _layout(way: Way) -> str:
    return "transposed" if way.transposed else way.activations
