"""Nothing in the diagram of the network hides anything else."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from einsearch.draw.diagram import Diagram
from einsearch.draw.layout import RADIUS, Layout
from einsearch.draw.network import network_layout
from einsearch.draw.style import text_width
from einsearch.space.parse import parse, parse_structure

CLEAR = 0.03
"""Inches of white around a label, at least."""

Box = tuple[float, float, float, float]


def apart(one: Box, other: Box, by: float = 0.0) -> bool:
    """Whether two boxes (left, bottom, right, top) have so much space between them, in x or in y."""
    return (
        max(one[0], other[0]) >= min(one[2], other[2]) + by - 1e-9
        or max(one[1], other[1]) >= min(one[3], other[3]) + by - 1e-9
    )


def label_boxes(diagram: Diagram, placed: Layout) -> list[Box]:
    boxes = []
    for edge in placed.edges:
        half = text_width(diagram.labels[edge.index]) / 2
        (x, y) = edge.label
        boxes.append((x - half, y - 0.075, x + half, y + 0.075))
    return boxes


def pieces(placed: Layout) -> list[tuple[int, Box]]:
    """Every straight piece of a line as a box without width, and the edge that it is of."""
    found = []
    for n, edge in enumerate(placed.edges):
        for line in edge.lines:
            for (a, b), (c, d) in pairwise(line):
                assert a == c or b == d, "neither horizontal nor vertical"
                found.append((n, (min(a, c), min(b, d), max(a, c), max(b, d))))
    return found


def collisions(diagram: Diagram, placed: Layout) -> list[str]:
    """All that stands where something else does."""
    labels, lines = label_boxes(diagram, placed), pieces(placed)
    names = [diagram.labels[edge.index] for edge in placed.edges]
    bodies = [(v.x - v.half_width, -RADIUS, v.x + v.half_width, RADIUS) for v in placed.vertices]
    found = [
        f"labels {names[a]} and {names[b]}"
        for a, b in combinations(range(len(labels)), 2)
        if not apart(labels[a], labels[b], CLEAR)
    ]
    for name, label in zip(names, labels, strict=True):
        found += [f"label {name} and vertex" for body in bodies if not apart(label, body, CLEAR)]
        found += [f"label {name} and line of {names[n]}" for n, line in lines if not apart(label, line, 0.01)]
    for (a, one), (b, other) in combinations(lines, 2):
        # Lines of two indices may cross at a right angle; they may not run along or into each other.
        parallel = (one[0] == one[2]) == (other[0] == other[2])
        if a != b and parallel and not apart(one, other, 0.1):
            found.append(f"lines of {names[a]} and {names[b]}")
    for n, edge in enumerate(placed.edges):
        if edge.dot:
            (x, y), reach = edge.dot, 0.07
            dot = (x - reach, y - reach, x + reach, y + reach)
            others = [(names[m], line) for m, line in lines if m != n]
            found += [f"dot of {names[n]} and line of {name}" for name, line in others if not apart(dot, line, 0.01)]
    return found


def test_nothing_collides(diagram):
    placed = network_layout(diagram)
    assert collisions(diagram, placed) == []


def test_that_check_can_fail():
    diagram = Diagram.of(parse("(.5|.25|.25|.25|.5|.25|.25)"), 16, 16)
    placed = network_layout(diagram)
    a, b, *rest = placed.edges
    moved = replace(placed, edges=(a, replace(b, label=a.label), *rest))
    assert any(text.startswith("labels") for text in collisions(diagram, moved))
    moved = replace(placed, edges=(a, replace(b, lines=rest[0].lines), *rest))
    assert any(text.startswith("lines") for text in collisions(diagram, moved))
    moved = replace(placed, edges=(replace(a, label=(placed.vertices[1].x, 0)), b, *rest))
    assert any("vertex" in text for text in collisions(diagram, moved))
    moved = replace(placed, edges=(replace(a, dot=b.lines[0][1]), b, *rest))
    assert any(text.startswith("dot") for text in collisions(diagram, moved))


def test_every_line_ends_at_its_vertices(diagram):
    placed = network_layout(diagram)
    assert [vertex.name for vertex in placed.vertices] == list(diagram.vertices)
    for edge in placed.edges:
        ends = [line[0] for line in edge.lines] + [edge.lines[0][-1]]
        met = sorted(
            n
            for x, y in ends
            for n, vertex in enumerate(placed.vertices)
            if abs(y) < RADIUS and abs(x - vertex.x) < vertex.half_width
        )
        assert tuple(met) == diagram.columns(edge.index)
        assert (edge.dot is None) == (len(met) == 2)


def test_all_is_in_the_box(diagram):
    placed = network_layout(diagram)
    boxes = label_boxes(diagram, placed) + [box for _, box in pieces(placed)]
    boxes += [(v.x - v.half_width, -RADIUS, v.x + v.half_width, RADIUS) for v in placed.vertices]
    for left, bottom, right, top in boxes:
        assert placed.left < left
        assert placed.bottom < bottom
        assert right < placed.right
        assert top < placed.top


def test_vertices_stand_in_the_order_of_contraction():
    # B holds all of x's alpha, A all of y's: B comes first, whatever it is called.
    diagram = Diagram.of(parse("ag,gef,agf->ef; a=1/2, g=1/2, e=1/2, f=1/2"), 64, 64)
    assert diagram.vertices == ("x", "B", "A", "y")
    assert Diagram(parse_structure("ag,gef,agf->ef")).vertices == ("x", "A", "B", "y")


@pytest.mark.parametrize(("text", "levels"), [("btt", [1, 0, 0, -1]), ("kronecker", [0, 1, -1, 0])])
def test_indices_of_x_run_above_and_of_y_below(text, levels):
    placed = network_layout(Diagram.of(parse(text), 16, 16))
    heights = [edge.lines[0][1][1] for edge in placed.edges]
    signs = [(height > 0) - (height < 0) for height in heights]
    order = {edge.index.name: sign for edge, sign in zip(placed.edges, signs, strict=True)}
    assert sorted(order.values()) == sorted(levels)
    for edge, sign in zip(placed.edges, signs, strict=True):
        assert sign in ((0, 1), (0, -1))[edge.index.side]
