"""An operator at integer sizes that a person gives, instead of those that the exponents round to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.notation import parse_equation
from einsearch.space.operator import Operator
from einsearch.space.parametrization import GRID
from einsearch.space.parse import parse_structure
from einsearch.space.plan import reference_plan
from einsearch.space.sizes import Sizes
from einsearch.space.structure import Index


def parse_sizes(text: str) -> dict[str, int]:
    """Sizes by letter from `a=24, g=32`."""
    sizes: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        letter, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or not letter or not number.isascii() or not number.isdecimal() or int(number) < 1:
            raise EinsearchError(f"size {part!r} is not letter=positive integer; write them as a=24, g=32")
        if letter in sizes:
            raise EinsearchError(f"size of {letter!r} is given twice; give it once")
        sizes[letter] = int(number)
    return sizes


def operator_at(
    expression: str, sizes: Mapping[str, int], d_in: int | None = None, d_out: int | None = None
) -> Operator:
    """The operator of a structure at given sizes; its exponents are the logarithms of the sizes, to 1/1000.

    expression: anything that `parse_structure` reads. sizes: of every index, by its letter in the einsum
    string; an index of size 1 is left out. d_in, d_out: what the sizes of x and of y must multiply to, if given.

    Raises EinsearchError for a letter without a size or unknown, and products that do not match.
    """
    expression = expression.strip()
    structure = parse_structure(expression)
    if "->" in expression:
        kinds = parse_equation(expression).kinds
    else:
        kinds = {letter: index for index, letter in structure.letters().items()}
    if missing := [letter for letter in kinds if letter not in sizes]:
        raise EinsearchError(f"no size for index {missing[0]!r} of {structure}; give {missing[0]}=... too")
    if unknown := [letter for letter in sizes if letter not in kinds]:
        raise EinsearchError(
            f"size of {unknown[0]!r}, which is no index of {structure}; its indices: {', '.join(kinds)}"
        )
    of: dict[Index, int] = {}
    for letter, index in kinds.items():
        of[index] = of.get(index, 1) * sizes[letter]
    dimensions: list[int] = []
    for side, (name, vertex, wanted) in enumerate((("d_in", "x", d_in), ("d_out", "y", d_out))):
        own = [letter for letter, index in kinds.items() if index.side == side]
        product = math.prod(sizes[letter] for letter in own)
        if wanted is not None and product != wanted:
            shown = ", ".join(f"{letter}={sizes[letter]}" for letter in own)
            raise EinsearchError(
                f"sizes of {vertex} multiply to {product}, not {name} {wanted}: {shown}; change one of them"
            )
        dimensions.append(product)
    exponents: dict[Index, Fraction] = {}
    for side, d in enumerate((*dimensions, min(dimensions))):
        own_sizes = {index: n for index, n in of.items() if index.side == side}
        exponents |= _exponents(own_sizes, d, whole=side < 2)
    einsum = Einsum.of(structure.factors, exponents)
    rows, columns = dimensions
    found = Sizes(rows, columns, rows, columns, tuple((index, of[index]) for index in einsum.indices))
    return Operator(einsum, found, reference_plan(einsum, found))


def _exponents(of: Mapping[Index, int], d: int, whole: bool) -> dict[Index, Fraction]:
    """log_d of sizes in units of 1/GRID; those of a side sum to 1 if `whole`, the greatest giving way.

    An index of size 1 is absent, but for one where all of a side are.
    """
    if d == 1:
        return {next(iter(of)): Fraction(1)} if whole else {}
    units = {index: max(1, round(math.log(n, d) * GRID)) for index, n in of.items() if n > 1}
    if whole:
        greatest = max(units, key=lambda index: units[index])
        units[greatest] += GRID - sum(units.values())
    return {index: Fraction(value, GRID) for index, value in units.items()}
