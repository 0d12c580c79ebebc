"""Structures to draw: every family, and random ones."""

import random
from fractions import Fraction

import pytest

from einsearch.draw.diagram import Diagram
from einsearch.draw.picture import picture_dimension
from einsearch.space.einsum import Einsum
from einsearch.space.parse import parse
from einsearch.space.structure import Structure, index_kinds

FAMILIES = (
    "dense",
    "low-rank",
    "kronecker",
    "tensor-train",
    "btt",
    "btt(1/4)",
    "(.5|.25|.25|.25|.5|.25|.25)",
    "low-rank(1/4, factors=3)",
    "kronecker(factors=3)",
    "tensor-train(1/4, factors=3)",
    "btt(factors=3)",
    "btt(factors=4)",
    "btt(1/6, factors=6)",
)


def random_structure(seed: int) -> Structure:
    """Of three or four factors, reducible ones included."""
    draw = random.Random(seed)
    factors = draw.choice((3, 4))
    kinds = index_kinds(factors)
    chosen = []
    for side, most in ((0, 5), (1, 5), (2, 4)):
        of_side = [index for index in kinds if index.side == side]
        chosen += draw.sample(of_side, draw.randint(1, most) if side < 2 else draw.randint(0, most))
    return Structure.of(factors, chosen)


def random_einsum(seed: int) -> Einsum:
    """A random structure, the exponents of a side all equal."""
    structure = random_structure(seed)
    count = [sum(index.side == side for index in structure.indices) for side in (0, 1, 2)]
    part = {0: Fraction(1, count[0]), 1: Fraction(1, count[1]), 2: Fraction(1, 4)}
    return Einsum.of(structure.factors, {index: part[index.side] for index in structure.indices})


def family(text: str) -> Diagram:
    einsum = parse(text)
    d = picture_dimension(einsum)
    return Diagram.of(einsum, d, d)


DIAGRAMS = {
    **{text: lambda text=text: family(text) for text in FAMILIES},
    **{f"random {seed}": lambda seed=seed: Diagram.of(random_einsum(seed), 64, 64) for seed in range(50)},
    **{f"random {seed}, no sizes": lambda seed=seed: Diagram(random_structure(seed)) for seed in range(50, 60)},
}


@pytest.fixture(params=DIAGRAMS)
def diagram(request: pytest.FixtureRequest) -> Diagram:
    """Each of the diagrams that must be legible."""
    return DIAGRAMS[request.param]()
