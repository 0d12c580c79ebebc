"""The whole picture: the network, and under it the matrices."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsearch.draw.diagram import Diagram
from einsearch.draw.matrices import too_large
from einsearch.draw.network import LEGEND_HEIGHT, draw_legend, draw_network, network_layout
from einsearch.draw.patterns import Panels, arrange, chain_caption, chain_panels, sharing_caption, sharing_panels
from einsearch.draw.style import DPI, FONT_SIZE, MUTED, house_style, wrap, write_at
from einsearch.draw.text import headline
from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.operator import operator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 256
"""Of d_in and d_out in a picture: more cells cannot be told apart."""

_WIDTH, _MARGIN = 9.0, 0.35
_NO_MARGIN = 0.22  # room for a sign before the first matrix of a row
_TITLE_SIZE, _TITLE_LINE = FONT_SIZE + 4, 0.3
_BELOW_TITLE = 0.08
_BEFORE, _HEADING = 0.34, 0.36
_LINE = 0.19


def picture_dimension(einsum: Einsum) -> int:
    """The d_in = d_out at which a structure shows itself best.

    16 where that gives every index its exponent exactly, else 8, 32 or 64; where none does, the first of these that
    leaves no index at size 1 and pads nothing.
    """
    tried = [operator(einsum, d, d).sizes for d in (16, 8, 32, 64)]
    shows = [s for s in tried if s.padded_in == s.padded_out == s.d_in and min(n for _, n in s.of) > 1]
    exponent = dict(einsum.exponents)
    exact = [s for s in shows if all(abs(n - s.d_in ** float(exponent[index])) < 1e-6 for index, n in s.of)]
    return next(iter([*exact, *shows, tried[-1]])).d_in


def render(diagram: Diagram, format: str, title: bool = True) -> bytes:
    """The picture as svg or png; the same diagram gives the same bytes. `title`: the headline and the einsum above it.

    Raises EinsearchError where the dimensions are too large for a picture.
    """
    _check(diagram)
    with house_style():
        figure = _compose(diagram, title)
        buffer = io.BytesIO()
        if format == "svg":
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(buffer, format="svg", metadata=nothing)
        else:
            figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Section:
    """A heading, panels, and the lines of a caption under them."""

    heading: str
    panels: Panels | None
    caption: list[str]

    @property
    def height(self) -> float:
        panels = self.panels.height + 0.14 if self.panels else 0.0
        return _BEFORE + _HEADING + panels + _LINE * len(self.caption)

    def draw(self, figure: Figure, left: float, top: float) -> None:
        top -= _BEFORE
        write_at(figure, left, top - 0.16, self.heading, size=FONT_SIZE + 1.5, weight="bold")
        top -= _HEADING
        if self.panels:
            self.panels.draw(figure, left, top)
            top -= self.panels.height + 0.14
        for line in self.caption:
            top -= _LINE
            write_at(figure, left, top + 0.03, line, size=FONT_SIZE - 1, color=MUTED)


def _sections(diagram: Diagram, width: float) -> list[_Section]:
    if diagram.operator is None:
        return []
    chain, share = "A chain of matrices, one for each step", "Which parameters the entries of W share"
    size = FONT_SIZE - 1
    if reason := too_large(diagram.operator):
        left_out = f"Left out: {reason}, too large to look at. Smaller dimensions may fit."
        return [_Section(chain, None, wrap(left_out, width, size))]
    return [
        _Section(chain, arrange(chain_panels(diagram), width), wrap(chain_caption(diagram), width, size)),
        _Section(share, arrange(sharing_panels(diagram), width), wrap(sharing_caption(diagram), width, size)),
    ]


def _compose(diagram: Diagram, title: bool) -> Figure:
    from matplotlib.figure import Figure

    placed = network_layout(diagram)
    network = (placed.right - placed.left, placed.top - placed.bottom)
    margin = _MARGIN if title else _NO_MARGIN
    width = max(_WIDTH, network[0] + 2 * margin)
    content = width - 2 * margin
    heading = wrap(headline(diagram), content, _TITLE_SIZE) if title else []
    below = wrap(equation(diagram), content, FONT_SIZE) if title else []
    sections = _sections(diagram, content)
    height = 2 * margin + network[1] + LEGEND_HEIGHT + sum(section.height for section in sections)
    height += _TITLE_LINE * len(heading) + _LINE * len(below) + _BELOW_TITLE
    figure = Figure(figsize=(width, height), facecolor="white")
    top = height - margin
    for line in heading:
        write_at(figure, margin, top - 0.2, line, size=_TITLE_SIZE, weight="bold")
        top -= _TITLE_LINE
    for line in below:
        write_at(figure, margin, top - 0.17, line, size=FONT_SIZE, color=MUTED)
        top -= _LINE
    top -= _BELOW_TITLE + network[1]
    draw_network(_axes(figure, (width - network[0]) / 2, top, *network), diagram, placed)
    top -= LEGEND_HEIGHT
    draw_legend(_axes(figure, margin, top, content, LEGEND_HEIGHT), content, diagram.operator is not None)
    for section in sections:
        section.draw(figure, margin, top)
        top -= section.height
    return figure


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at so many inches from the figure's lower left."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def equation(diagram: Diagram) -> str:
    """The einsum in the letters of the diagram, as `y[ε φ] = Σ x[α γ] A[α γ φ] B[γ ε φ]`."""
    letters = diagram.letters
    indices = diagram.structure.indices

    def term(name: str, position: int) -> str:
        return f"{name}[{' '.join(letters[i] for i in indices if position in diagram.columns(i))}]"

    *right, y = [term(name, n) for n, name in enumerate(diagram.vertices)]
    return f"{y} = Σ {' '.join(right)}"


def _check(diagram: Diagram) -> None:
    if diagram.operator is None:
        return
    for name, value in (("d_in", diagram.operator.sizes.d_in), ("d_out", diagram.operator.sizes.d_out)):
        if value > LARGEST:
            raise EinsearchError(
                f"{name} is {value}; a picture shows matrices of at most {LARGEST} x {LARGEST}, give a smaller "
                f"--{name.replace('_', '-')}, or leave out -o for the text diagram"
            )
