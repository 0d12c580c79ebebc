"""How the diagram of the network looks."""

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon

from einsearch.draw.diagram import Diagram
from einsearch.draw.network import draw_network, network_layout
from einsearch.draw.style import SIDES, text_width, wrap
from einsearch.space.parse import parse


@pytest.fixture
def axes():
    return Figure().add_axes((0, 0, 1, 1))


def lines(axes):
    """Width, colour and dashes of the lines, casings left out."""
    patches = [patch for patch in axes.patches if patch.get_facecolor() == (0, 0, 0, 0)]
    return [patch for patch in patches if patch.get_edgecolor() != (1, 1, 1, 1)]


def test_a_line_is_the_wider_the_greater_its_exponent(axes):
    diagram = Diagram.of(parse("(.5|.25|.25|.25|.5|.25|.25)"), 16, 16)
    draw_network(axes, diagram, network_layout(diagram))
    widths = {}
    for edge, patch in zip(["α", "β", "γ", "γ", "δ", "ε", "φ", "φ", "ρ"], lines(axes), strict=True):
        widths[edge] = patch.get_linewidth()
    assert widths["α"] == widths["ε"] > widths["β"] == widths["γ"] == widths["ρ"]


def test_sides_differ_in_colour_and_in_dashes(axes):
    diagram = Diagram.of(parse("low-rank"), 16, 16)
    draw_network(axes, diagram, network_layout(diagram))
    drawn = [(patch.get_edgecolor()[:3], patch.get_linestyle()) for patch in lines(axes)]
    assert [colour for colour, _ in drawn] == [to_rgb(side.colour) for side in SIDES]
    assert len({side.dashes for side in SIDES}) == len({side.colour for side in SIDES}) == 3
    assert [str(style) for _, style in drawn].count("-") + [str(style) for _, style in drawn].count("solid") == 1


def test_vertices_differ_in_shape(axes):
    diagram = Diagram.of(parse("btt"), 16, 16)
    draw_network(axes, diagram, network_layout(diagram))
    shapes = [
        type(patch) for patch in axes.patches if patch.get_facecolor() != (0, 0, 0, 0) and not isinstance(patch, Circle)
    ]
    assert shapes == [FancyBboxPatch, PathPatch, PathPatch, Polygon]
    assert sum(isinstance(patch, Circle) for patch in axes.patches) == 2  # the dots of gamma and phi
    assert {text.get_text() for text in axes.texts} == {"16", "x", "A", "B", "y", *diagram.labels.values()}


def test_labels():
    diagram = Diagram.of(parse("(.375|.295|.33|.5|.5|0|1/3)"), 64, 64)
    assert list(diagram.labels.values()) == [
        "α ⅜ · 4",
        "β 0.295 · 4",
        "γ 0.33 · 4",
        "δ ½ · 8",
        "ε ½ · 8",
        "ρ ⅓ · 4",
    ]


def test_words_are_wrapped_where_the_line_is_full():
    text = "White is zero, equal colour is the same parameter."
    broken = wrap(text, 1.5, 9)
    assert " ".join(broken) == text
    assert len(broken) > 2
    assert all(text_width(line, 9) <= 1.5 for line in broken)
    assert wrap("unbreakable", 0.1, 9) == ["unbreakable"]
