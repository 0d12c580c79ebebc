"""The matrices as pictures: equal colour is the same parameter, white is zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from einsearch.draw.diagram import Diagram
from einsearch.draw.matrices import ZERO, Integers, sharing, slice_indices, step_matrices, terms
from einsearch.draw.style import DPI, FAINT, FONT_SIZE, INK, MUTED, text_width, write_at
from einsearch.space.structure import Index, factor_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLE_SIZE = FONT_SIZE - 0.5
_SMALL = FONT_SIZE - 1.5
_SIGN_SIZE = 16
_LINE = 0.19
_STACKED = 0.16
_HEAD = 2 * _LINE + 0.24
_SIDE = 0.24
_BETWEEN = 0.42
_BELOW = 0.2
_LARGEST_CELL, _TALLEST = 0.2, 2.3
_SMALLEST_CELLS = (1 / 72, 1 / DPI)
"""The first is what a screen shows of an entry in a page; the second, what a PNG can, where nothing else fits."""

_MOST_IN_A_ROW = 4
_FINEST_GRID = 0.05
_PLAIN = "#8f9bab"


@dataclass(frozen=True, slots=True)
class Panel:
    """One matrix: `colour_of` says which of `colours` an entry has, or ZERO; `sign` stands before it."""

    title: str
    subtitle: str
    rows: str
    columns: str
    colour_of: Integers
    colours: int
    sign: str = ""

    def width(self, cell: float) -> float:
        """Inches, the text above included."""
        text = max(text_width(self.title, _TITLE_SIZE, bold=True), text_width(self.subtitle, _SMALL))
        return max(self.colour_of.shape[1] * cell, text)


@dataclass(frozen=True, slots=True)
class Panels:
    """Panels in rows, all of one scale: `cell` is the side of an entry, in inches."""

    rows: tuple[tuple[Panel, ...], ...]
    cell: float

    @property
    def height(self) -> float:
        return sum(_HEAD + self._tallest(row) + _BELOW for row in self.rows) - _BELOW

    def _tallest(self, row: Sequence[Panel]) -> float:
        return max(panel.colour_of.shape[0] for panel in row) * self.cell

    def draw(self, figure: Figure, left: float, top: float) -> None:
        """Draw with the upper left corner there, in inches from the figure's lower left."""
        for row in self.rows:
            x = left
            middle = top - _HEAD - min(panel.colour_of.shape[0] for panel in row) * self.cell / 2
            for n, panel in enumerate(row):
                x += _BETWEEN if n else 0
                if panel.sign:
                    at = x - _BETWEEN / 2 if n else x - _SIDE / 2
                    write_at(figure, at, middle, panel.sign, size=_SIGN_SIZE, ha="center", va="center")
                _draw_panel(figure, panel, x + _SIDE, top, self.cell)
                x += _SIDE + panel.width(self.cell)
            top -= _HEAD + self._tallest(row) + _BELOW


def arrange(panels: Sequence[Panel], width: float) -> Panels:
    """Rows of about as many panels each, as large as fits into so many inches."""

    def fits(rows: Sequence[Sequence[Panel]], cell: float) -> bool:
        return all(sum(_BETWEEN + _SIDE + panel.width(cell) for panel in row) - _BETWEEN <= width for row in rows)

    tallest = max(panel.colour_of.shape[0] for panel in panels)
    for least, each in product(_SMALLEST_CELLS, range(_MOST_IN_A_ROW, 0, -1)):
        each = math.ceil(len(panels) / math.ceil(len(panels) / each))
        rows = tuple(tuple(panels[n : n + each]) for n in range(0, len(panels), each))
        if fits(rows, least):
            break
    cell = min(_LARGEST_CELL, max(_TALLEST / tallest, least))
    while not fits(rows, cell) and cell > least:
        cell *= 0.98
    return Panels(rows, cell)


def chain_panels(diagram: Diagram) -> tuple[Panel, ...]:
    """The matrix of every step, and W, what they multiply to."""
    assert diagram.operator is not None
    operator = diagram.operator
    panels: list[Panel] = []
    for matrix in step_matrices(operator):
        count = operator.factor_parameters(matrix.factor)
        panels.append(
            Panel(
                f"{factor_name(matrix.factor)}: {_count(count, 'parameter')}",
                _shape(matrix.parameter),
                _names(diagram, matrix.rows),
                _names(diagram, matrix.columns),
                matrix.parameter,
                count,
                "×" if panels else "",
            )
        )
    sums = terms(operator)
    pattern = np.where(sums > 0, 0, ZERO)
    x, y = ([index for index in diagram.structure.indices if index.side == side] for side in (0, 1))
    return (*panels, Panel("W", _shape(pattern), _names(diagram, x), _names(diagram, y), pattern, 1, "="))


def sharing_panels(diagram: Diagram) -> tuple[Panel, ...]:
    """For every factor, which slice of it each entry of W uses."""
    assert diagram.operator is not None
    operator = diagram.operator
    x, y = ([index for index in diagram.structure.indices if index.side == side] for side in (0, 1))
    panels = []
    for factor in diagram.order:
        slices = sharing(operator)[factor]
        fixed = slice_indices(operator, factor)
        count = operator.sizes.product(frozenset(fixed))
        used, times = np.unique(slices[slices != ZERO], return_counts=True)
        least, most = times.min(), times.max()
        each = f"{least}" if least == most else f"{least} to {most}"
        panels.append(
            Panel(
                f"{factor_name(factor)}[{_names(diagram, fixed)}]: {_count(len(used), 'slice')}",
                f"each in {each} {'entry' if most == 1 else 'entries'}",
                _names(diagram, x),
                _names(diagram, y),
                slices,
                count,
            )
        )
    return tuple(panels)


def chain_caption(diagram: Diagram) -> str:
    """What the chain shows, counted from the matrices themselves."""
    assert diagram.operator is not None
    operator = diagram.operator
    sums = terms(operator)
    zeros = int((sums == 0).sum())
    said = f"No entry of W is zero by structure ({zeros} of {sums.size:,}): no index joins x and y."
    if zeros:
        said = f"{zeros:,} of the {sums.size:,} entries of W are zero by structure."
    least, most = int(sums[sums > 0].min()), int(sums.max())
    k = operator.einsum.factors
    entry = "one parameter" if k == 1 else f"one product of {k} parameters"
    if most > 1:
        entry = f"a sum of {f'{most:,}' if least == most else f'{least:,} to {most:,}'} products of {k} parameters"
    return f"White is zero, equal colour is the same parameter. {said} An entry of W is {entry}."


def sharing_caption(diagram: Diagram) -> str:
    assert diagram.operator is not None
    names = ", ".join(factor_name(f) for f in diagram.order)
    return (
        f"W once for each factor ({names}): entries of one colour use the same parameters of that factor. "
        "The letters in brackets are the indices that choose the slice."
    )


def _draw_panel(figure: Figure, panel: Panel, left: float, top: float, cell: float) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    rows, columns = panel.colour_of.shape
    width, height = columns * cell, rows * cell
    write_at(figure, left, top - _LINE + 0.05, panel.title, size=_TITLE_SIZE, weight="bold")
    write_at(figure, left, top - 2 * _LINE + 0.05, panel.subtitle, size=_SMALL, color=MUTED)
    upper = top - _HEAD
    write_at(figure, left + width / 2, upper + 0.06, panel.columns, size=_SMALL, ha="center", color=INK)
    _write_rows(figure, panel.rows, left - _SIDE / 2, upper - height / 2, height)
    page_width, page_height = figure.get_size_inches()
    box = (left / page_width, (upper - height) / page_height, width / page_width, height / page_height)
    axes = figure.add_axes(box)
    shades = colormaps["viridis"](np.linspace(0.05, 0.95, panel.colours)) if panel.colours > 1 else [_PLAIN]
    shown = np.ma.masked_equal(panel.colour_of, ZERO)
    axes.imshow(
        shown, cmap=ListedColormap(shades), vmin=-0.5, vmax=panel.colours - 0.5, aspect="auto", interpolation="none"
    )
    if cell >= _FINEST_GRID:
        _draw_grid(axes, panel.colour_of if panel.colours > 1 else np.arange(panel.colour_of.size).reshape(rows, -1))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)


def _write_rows(figure: Figure, rows: str, x: float, y: float, height: float) -> None:
    """The indices of the rows, one under the other where there is room."""
    letters = rows.split()
    style = {"ha": "center", "va": "center_baseline", "size": _SMALL, "color": INK}
    if len(letters) > 1 and _STACKED * len(letters) > height:
        write_at(figure, x, y, rows, rotation=90, **style | {"va": "center"})
        return
    for n, letter in enumerate(letters):
        write_at(figure, x, y + _STACKED * ((len(letters) - 1) / 2 - n), letter, **style)


def _draw_grid(axes: Axes, colour_of: Integers) -> None:
    """White between entries, save where neighbours are the same parameter."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    row, column = np.nonzero(colour_of[:, 1:] != colour_of[:, :-1])
    upright = np.stack([column + 0.5, row - 0.5, column + 0.5, row + 0.5], axis=1)
    row, column = np.nonzero(colour_of[1:] != colour_of[:-1])
    level = np.stack([column - 0.5, row + 0.5, column + 0.5, row + 0.5], axis=1)
    ends = np.concatenate([upright, level]).reshape(-1, 2)
    # One path of many pieces: an element for each would make a file several times as large.
    codes = np.tile([Path.MOVETO, Path.LINETO], len(ends) // 2)
    axes.add_patch(PathPatch(Path(ends, codes), edgecolor="white", facecolor="none", lw=0.5))


def _names(diagram: Diagram, indices: Sequence[Index]) -> str:
    return " ".join(diagram.letters[index] for index in indices) or "1"


def _shape(matrix: Integers) -> str:
    share = float((matrix == ZERO).mean())
    zero = f"{100 * share:.0f} % zero" if share == 0 or share >= 0.01 else "< 1 % zero"
    return f"{matrix.shape[0]} × {matrix.shape[1]}, {zero}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
