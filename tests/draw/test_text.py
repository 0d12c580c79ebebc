"""The diagram in a terminal, letter by letter."""

import pytest

from einsearch.draw.diagram import Diagram
from einsearch.draw.text import text_diagram
from einsearch.space.parse import parse, parse_structure

BTT = """\
BTT rank 1: ω 0, ψ 1, ν 1/2

       α    γ    ε    φ
       1/2  1/2  1/2  1/2
       8    8    8    8
  x    ●    ●
  A    ●    ●         ●
  B         ●    ●    ●
  y              ●    ●

64 → 64: 1,024 parameters, 1,024 MACs (dense 4,096), rank ≤ 64"""

DENSE = """\
Dense: ω 0, ψ 1, ν 1

       a   b
       1   1
       64  64
  x    ●
  A    ●   ●
  y        ●

64 → 64: 4,096 parameters, 4,096 MACs (dense 4,096), rank ≤ 64"""

KRONECKER = """\
Kronecker: ω 1/2, ψ 1, ν 1/2

       α    β    δ    ε
       1/2  1/2  1/2  1/2
       8    8    8    8
  x    ●    ●
  A    ●    │    ●
  B         ●    │    ●
  y              ●    ●

64 → 64: 128 parameters, 1,024 MACs (dense 4,096), rank ≤ 64"""

TENSOR_TRAIN = """\
Tensor-Train rank d^0.25, 3 factors: ω 2/3, ψ 1, ν 5/6

       a    b    c    d    e    f    g    h
       1/3  1/3  1/3  1/3  1/3  1/3  1/4  1/4
       4    4    4    4    4    4    3    3
  x    ●    ●    ●
  A    ●    │    │    ●              ●
  B         ●    │    │    ●         ●    ●
  C              ●    │    │    ●         ●
  y                   ●    ●    ●

64 → 64: 240 parameters, 3,840 MACs (dense 4,096), rank ≤ 64"""

PADDED = """\
BTT rank 1: ω 0, ψ 1, ν 1/2

       α    γ    ε    φ
       1/2  1/2  1/2  1/2
       10   10   8    8
  x    ●    ●
  A    ●    ●         ●
  B         ●    ●    ●
  y              ●    ●

97 → 64 (padded to 100 → 64): 1,440 parameters, 1,440 MACs (dense 6,208), rank ≤ 64"""

NO_SIZES = """\
BTT rank 1

       β  γ  δ  φ
  x    ●  ●
  A    │  ●  ●  ●
  B    ●  ●  │  ●
  y          ●  ●

beta = delta = rho = 0: two block-diagonal factors (in the canonical names of the factors)"""


@pytest.mark.parametrize(
    ("text", "drawn"),
    [("btt", BTT), ("dense", DENSE), ("kronecker", KRONECKER), ("tensor-train(1/4, factors=3)", TENSOR_TRAIN)],
)
def test_families(text, drawn):
    assert text_diagram(Diagram.of(parse(text), 64, 64)) == drawn


def test_padding_is_named():
    assert text_diagram(Diagram.of(parse("btt"), 97, 64)) == PADDED


def test_without_exponents():
    assert text_diagram(Diagram(parse_structure("bg,gdf,bgf->df"))) == NO_SIZES


def test_every_mark_stands_for_a_vertex(diagram):
    rows = text_diagram(diagram).splitlines()
    marks = [row.count("●") for row in rows if row[:5].strip() in diagram.vertices]
    assert marks == [
        sum(n in diagram.columns(index) for index in diagram.structure.indices) for n in range(len(diagram.vertices))
    ]
