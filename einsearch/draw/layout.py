"""Where everything stands in the diagram of the network, in inches.

The vertices stand on one line, in the order they are contracted. An index over two neighbours is the
straight line between them. Every other index has a lane of its own above the line (those of x) or below it
(those of y), and at each of its vertices a port of its own: so lines of different indices cross at right
angles or not at all, and labels, which stand in the gaps between vertices, meet nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from einsearch.draw.diagram import Diagram
from einsearch.space.structure import Index

RADIUS = 0.29
"""Of a vertex."""

CORNER = 0.26
"""Radius of the corners of the lines."""

_PORTS_APART = 0.14
_INSIDE = RADIUS / 2  # of a vertex, which hides where lines end
_PORT_TO_EDGE = 0.16
_FIRST_LANE = 0.66
_LANES_APART = 0.40
_LABEL_ABOVE = 0.06
_LABEL_HEIGHT = 0.17
_NARROWEST_GAP = 0.95
_BESIDE_LABEL = 0.17
_MARGIN = 0.12

Point = tuple[float, float]
Line = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Vertex:
    """x, a factor or y: centred on (x, 0), RADIUS high and `half_width` to either side."""

    name: str
    x: float
    half_width: float


@dataclass(frozen=True, slots=True)
class Edge:
    """An index: lines whose corners are to be rounded, the dot of a copy tensor, and the place of its label.

    The first line joins the outermost vertices; the others, from the vertices between, run into it. The label
    is centred on `label`.
    """

    index: Index
    lines: tuple[Line, ...]
    dot: Point | None
    label: Point


@dataclass(frozen=True, slots=True)
class Layout:
    """Vertices from x to y, edges in the order of the structure, and the box that holds them all."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    left: float
    right: float
    bottom: float
    top: float


@dataclass(frozen=True, slots=True)
class _Lane:
    """Where an index runs: the positions of its vertices; the level is 0 on the line, > 0 above, < 0 below."""

    columns: tuple[int, ...]
    level: int

    @property
    def height(self) -> float:
        if self.level == 0:
            return 0.0
        size = _FIRST_LANE + (abs(self.level) - 1) * _LANES_APART
        return size if self.level > 0 else -size

    @property
    def hub(self) -> int:
        """The vertex at which the dot of the index stands."""
        return self.columns[len(self.columns) // 2]


def layout(diagram: Diagram, label_width: Mapping[Index, float]) -> Layout:
    """The layout of a diagram whose labels are so wide, in inches."""
    lanes = _lanes(diagram)
    ports = _ports(lanes, len(diagram.vertices))
    vertices = _vertices(diagram, lanes, ports, label_width)
    edges = tuple(_edge(index, lanes[index], vertices, ports) for index in diagram.structure.indices)
    reach = _LABEL_ABOVE + _LABEL_HEIGHT + _MARGIN
    heights = [lane.height for lane in lanes.values()]
    # The dimensions stand below x and above y.
    least = RADIUS + reach
    return Layout(
        vertices,
        edges,
        left=vertices[0].x - vertices[0].half_width - _MARGIN,
        right=vertices[-1].x + vertices[-1].half_width + _MARGIN,
        bottom=-max(least, reach - min(heights)),
        top=max(least, reach + max(heights)),
    )


def _lanes(diagram: Diagram) -> dict[Index, _Lane]:
    """Short spans next to the line, so that longer ones arch over them."""
    columns = {index: diagram.columns(index) for index in diagram.structure.indices}
    found: dict[Index, _Lane] = {}
    taken: dict[int, list[tuple[int, int]]] = {}

    def place(index: Index, levels: tuple[int, ...]) -> None:
        first, last = columns[index][0], columns[index][-1]
        for depth in range(1, len(columns) + 1):
            for level in (depth * side for side in levels):
                if all(last < start or end < first for start, end in taken.get(level, [])):
                    taken.setdefault(level, []).append((first, last))
                    found[index] = _Lane(columns[index], level)
                    return

    def span(index: Index) -> tuple[int, int]:
        return columns[index][-1] - columns[index][0], len(columns[index])

    for index in sorted(columns, key=span):
        if span(index) == (1, 2):
            found[index] = _Lane(columns[index], 0)
    # x and y have their side; an inner index takes what is left next to the line.
    for side, levels in ((0, (1,)), (1, (-1,)), (2, (1, -1))):
        for index in sorted(columns, key=span):
            if index.side == side and index not in found:
                place(index, levels)
    return found


def _ports(lanes: Mapping[Index, _Lane], vertices: int) -> dict[tuple[Index, int], float]:
    """How far from the middle of a vertex an index leaves it.

    Lines from the left end left of those that pass, and the higher ones of them further right, so
    that lines that end at one vertex do not cross there; lines to the right likewise, mirrored.
    """
    found: dict[tuple[Index, int], float] = {}
    for column in range(vertices):
        for sign in (1, -1):
            here = [index for index, lane in lanes.items() if column in lane.columns and lane.level * sign > 0]
            here.sort(key=lambda index: _port_key(lanes[index], column))
            for n, index in enumerate(here):
                found[index, column] = (n - (len(here) - 1) / 2) * _PORTS_APART
    return found


def _port_key(lane: _Lane, column: int) -> tuple[int, int]:
    if column == lane.columns[-1]:
        return 0, abs(lane.level)
    return (2, -abs(lane.level)) if column == lane.columns[0] else (1, abs(lane.level))


def _vertices(
    diagram: Diagram,
    lanes: Mapping[Index, _Lane],
    ports: Mapping[tuple[Index, int], float],
    label_width: Mapping[Index, float],
) -> tuple[Vertex, ...]:
    """Vertices wide enough for their ports, gaps wide enough for their labels."""
    names = diagram.vertices
    half_width = [RADIUS] * len(names)
    for (_, column), offset in ports.items():
        half_width[column] = max(half_width[column], abs(offset) + _PORT_TO_EDGE)
    gaps = [_NARROWEST_GAP] * (len(names) - 1)
    for index, lane in lanes.items():
        gap = _label_gap(index, lane)
        gaps[gap] = max(gaps[gap], label_width[index] + 2 * _BESIDE_LABEL)
    places = [0.0]
    for n, gap_width in enumerate(gaps):
        places.append(places[n] + half_width[n] + gap_width + half_width[n + 1])
    return tuple(Vertex(*vertex) for vertex in zip(names, places, half_width, strict=True))


def _label_gap(index: Index, lane: _Lane) -> int:
    """The gap between two vertices where the label stands: near x, near y, or in the middle."""
    first, last = lane.columns[0], lane.columns[-1] - 1
    return (first, last, (first + last) // 2)[index.side]


def _edge(index: Index, lane: _Lane, vertices: tuple[Vertex, ...], ports: Mapping[tuple[Index, int], float]) -> Edge:
    gap = _label_gap(index, lane)
    left, right = vertices[gap], vertices[gap + 1]
    middle = (left.x + left.half_width + right.x - right.half_width) / 2
    away = _LABEL_ABOVE + _LABEL_HEIGHT / 2
    label = (middle, lane.height + (away if lane.level >= 0 else -away))
    first, *between, last = lane.columns
    if lane.level == 0:
        ends = ((left.x + left.half_width - _INSIDE, 0.0), (right.x - right.half_width + _INSIDE, 0.0))
        return Edge(index, (ends,), None, label)
    place = {column: vertices[column].x + ports[index, column] for column in lane.columns}
    h, start = lane.height, math.copysign(RADIUS - _INSIDE, lane.level)
    lines: list[Line] = [((place[first], start), (place[first], h), (place[last], h), (place[last], start))]
    for column in between:
        up = ((place[column], start), (place[column], h))
        towards = 0 if column == lane.hub else CORNER if column < lane.hub else -CORNER
        lines.append((*up, (place[column] + towards, h)) if towards else up)
    return Edge(index, tuple(lines), (place[lane.hub], h) if between else None, label)
