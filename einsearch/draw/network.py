"""The diagram of the network: vertices, and the indices that join them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from einsearch.draw.diagram import Diagram
from einsearch.draw.layout import CORNER, RADIUS, Edge, Layout, Line, Point, Vertex, layout
from einsearch.draw.style import FONT_SIZE, INK, MUTED, PAPER, SIDES, WASH, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

_THINNEST, _PER_EXPONENT, _PLAIN = 1.1, 3.2, 1.8
_CASING = 2.6
_DOT = 0.055
_DIMENSION_AWAY = RADIUS + 0.14
_TIP = 0.08
_PULL = 0.5523  # of the cubic that is nearest to a quarter of a circle
_NAME_SIZE = FONT_SIZE + 3

LEGEND_HEIGHT = 0.5


def network_layout(diagram: Diagram) -> Layout:
    """The layout for the labels of a diagram as they are drawn."""
    return layout(diagram, {index: text_width(label) for index, label in diagram.labels.items()})


def draw_network(axes: Axes, diagram: Diagram, placed: Layout) -> None:
    """Draw on axes of (right - left) x (top - bottom) inches."""
    axes.set_xlim(placed.left, placed.right)
    axes.set_ylim(placed.bottom, placed.top)
    axes.axis("off")
    exponents, labels = diagram.exponents, diagram.labels
    for n, edge in enumerate(placed.edges):
        width = _THINNEST + _PER_EXPONENT * float(exponents[edge.index]) if edge.index in exponents else _PLAIN
        _draw_edge(axes, edge, width, order=1 + n / len(placed.edges))
    for vertex in placed.vertices:
        _draw_vertex(axes, vertex)
    for edge in placed.edges:
        style: dict[str, Any] = {
            "color": SIDES[edge.index.side].colour,
            "ha": "center",
            "va": "center_baseline",
            "zorder": 5,
        }
        axes.text(*edge.label, labels[edge.index], **style)
    if diagram.operator is not None:
        x, y, sizes = placed.vertices[0], placed.vertices[-1], diagram.operator.sizes
        below, above = -_DIMENSION_AWAY, _DIMENSION_AWAY  # where neither has a port
        for at, dimension in (((x.x, below), sizes.padded_in), ((y.x, above), sizes.padded_out)):
            axes.text(*at, str(dimension), color=MUTED, ha="center", va="center_baseline", size=FONT_SIZE - 1)


def draw_legend(axes: Axes, width: float, sized: bool) -> None:
    """What colours, dashes and dots mean; axes of width x LEGEND_HEIGHT inches."""
    axes.set_xlim(0, width)
    axes.set_ylim(0, LEGEND_HEIGHT)
    axes.set_autoscale_on(False)
    axes.axis("off")
    x, y = 0.0, LEGEND_HEIGHT - 0.14
    size = FONT_SIZE - 1.5
    for style in SIDES:
        axes.plot([x, x + 0.42], [y, y], color=style.colour, lw=2.2, ls=(0, style.dashes) if style.dashes else "-")
        axes.text(x + 0.5, y, style.meaning, color=MUTED, va="center_baseline", size=size)
        x += 0.5 + text_width(style.meaning, size) + 0.3
    axes.plot([x, x + 0.42], [y, y], color=MUTED, lw=1.6)
    axes.plot([x + 0.21, x + 0.21], [y, y - 0.12], color=MUTED, lw=1.6)
    axes.plot([x + 0.21], [y], "o", color=MUTED, ms=2 * _DOT * 72)
    axes.text(x + 0.5, y, "dot: one index on three or more", color=MUTED, va="center_baseline", size=size)
    note = "The factors stand in the order of their names."
    if sized:
        note = (
            "The factors stand in the order of contraction. Labels: letter, exponent · size. "
            "The wider a line, the greater its exponent."
        )
    axes.text(0, 0.1, note, color=MUTED, va="center_baseline", size=size)


def _draw_edge(axes: Axes, edge: Edge, width: float, order: float) -> None:
    """An index; where it crosses another, white on both sides lets one pass over the other."""
    from matplotlib.patches import Circle, PathPatch

    style = SIDES[edge.index.side]
    paths = [_rounded(line) for line in edge.lines]
    for path in paths:
        casing = {"edgecolor": PAPER, "facecolor": "none", "capstyle": "butt"}
        axes.add_patch(PathPatch(path, lw=width + _CASING, zorder=order, **casing))
    for path in paths:
        dashes = (0, style.dashes) if style.dashes else "-"
        look = {"edgecolor": style.colour, "facecolor": "none", "capstyle": "butt", "joinstyle": "round"}
        axes.add_patch(PathPatch(path, lw=width, ls=dashes, zorder=order, **look))
    if edge.dot:
        radius = _DOT + width / 72 / 2
        axes.add_patch(Circle(edge.dot, radius, facecolor=style.colour, edgecolor=PAPER, lw=0.8, zorder=3))


def _draw_vertex(axes: Axes, vertex: Vertex) -> None:
    """x a square, y a hexagon, a factor a circle; each wider where many indices meet."""
    from matplotlib.patches import BoxStyle, FancyBboxPatch, Patch, PathPatch, Polygon

    w, r, name = vertex.half_width, RADIUS, vertex.name
    line: dict[str, Any] = {"lw": 1.4, "zorder": 4}
    patch: Patch
    if name == "x":
        box, colour = BoxStyle("round", pad=0, rounding_size=0.04), SIDES[0].colour
        patch = FancyBboxPatch((vertex.x - w, -r), 2 * w, 2 * r, boxstyle=box, color=colour, **line)
    elif name == "y":
        corners = [(-w - _TIP, 0), (_TIP - w, r), (w - _TIP, r), (w + _TIP, 0), (w - _TIP, -r), (_TIP - w, -r)]
        outline = [(vertex.x + x, y) for x, y in corners]
        patch = Polygon(outline, color=SIDES[1].colour, joinstyle="round", **line)
    else:
        patch = PathPatch(_stadium(vertex), facecolor=WASH, edgecolor=INK, **line)
    axes.add_patch(patch)
    look: dict[str, Any] = {"color": INK if name not in ("x", "y") else PAPER, "size": _NAME_SIZE, "weight": "bold"}
    axes.text(vertex.x, 0, name, ha="center", va="center_baseline", zorder=6, **look)


def _stadium(vertex: Vertex) -> Path:
    """A circle where the vertex is as wide as it is high."""
    x, w, r = vertex.x, vertex.half_width, RADIUS
    return _rounded(((x, r), (x + w, r), (x + w, -r), (x - w, -r), (x - w, r), (x, r)), r)


def _rounded(line: Line, radius: float = CORNER) -> Path:
    """A path along a line of horizontal and vertical pieces, its corners rounded."""
    from matplotlib.path import Path

    points: list[Point] = [line[0]]
    codes = [int(Path.MOVETO)]
    for before, corner, after in zip(line, line[1:], line[2:], strict=False):
        # Two corners share the piece between them.
        room = [math.dist(corner, end) / (1 if end in (line[0], line[-1]) else 2) for end in (before, after)]
        r = min(radius, *room)
        start, end = _towards(corner, before, r), _towards(corner, after, r)
        points += [start, _towards(start, corner, _PULL * r), _towards(end, corner, _PULL * r), end]
        codes += [int(Path.LINETO), *[int(Path.CURVE4)] * 3]
    return Path([*points, line[-1]], [*codes, int(Path.LINETO)])


def _towards(start: Point, end: Point, length: float) -> Point:
    share = length / math.dist(start, end)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
