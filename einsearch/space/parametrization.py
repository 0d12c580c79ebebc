"""An unconstrained parametrization of the exponents: one number in [0, 1] for every kind of index.

A coordinate u <= 1/2 leaves its index out; above, it weighs -log(1 - 2(u - 1/2)) among its side's
indices. So uniform coordinates give every support the same weight (faces of the simplex, where the
named families live, included; the empty support becomes the vertex of the greatest coordinate), and
within a support the exponents are uniform on the simplex, since normalised exponentials are. An inner
index (neither x nor y) is left out or uniform in (0, 1]. Samplers see plain independent floats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from einsearch.space.einsum import GREEK, Einsum, Index, index_kinds

GRID = 1000
"""Sampled exponents are multiples of 1/GRID, so that what is printed is exactly what was trained."""

_OFF = 0.25


def coordinate_names(factors: int) -> dict[Index, str]:
    """The name of every index's coordinate: the paper's Greek letters for k = 2, else `x.AB`, `y.A`, `AB`."""
    kinds = index_kinds(factors)
    if factors == 2:
        return dict(zip(kinds, GREEK, strict=True))
    return {kind: _kind_name(kind) for kind in kinds}


def _kind_name(kind: Index) -> str:
    held = "".join(chr(ord("A") + f) for f in kind.factors)
    return ("x." if kind.in_x else "y." if kind.in_y else "") + held


def decode(factors: int, coordinates: Mapping[str, float]) -> Einsum:
    """Exponents from coordinates in [0, 1]; a missing coordinate leaves its index out."""
    names = coordinate_names(factors)
    exponents: dict[Index, Fraction] = {}
    for side in ("x", "y"):
        kinds = [i for i in names if (i.in_x if side == "x" else i.in_y) and names[i] in coordinates]
        exponents |= dict(zip(kinds, _on_simplex([coordinates[names[i]] for i in kinds]), strict=True))
    for index, name in names.items():
        if not (index.in_x or index.in_y) and name in coordinates:
            exponents[index] = Fraction(round(max(0.0, 2 * coordinates[name] - 1) * GRID), GRID)
    return Einsum.of(factors, exponents)


def encode(einsum: Einsum) -> dict[str, float]:
    """Coordinates that decode to these exponents (to the grid)."""
    names = coordinate_names(einsum.factors)
    given = dict(einsum.exponents)
    coordinates = dict.fromkeys(names.values(), _OFF)
    for index, exponent in given.items():
        if index.in_x or index.in_y:
            on_side = sum(1 for i in given if (i.in_x if index.in_x else i.in_y))
            weight = float(exponent) * on_side
            coordinates[names[index]] = 0.5 + 0.5 * (1 - math.exp(-weight))
        else:
            coordinates[names[index]] = 0.5 + 0.5 * min(float(exponent), 1.0)
    return coordinates


def _on_simplex(coordinates: Sequence[float]) -> list[Fraction]:
    """Multiples of 1/GRID that sum to 1, by largest remainder."""
    if all(u <= 0.5 for u in coordinates):
        greatest = max(range(len(coordinates)), key=lambda n: coordinates[n])
        return [Fraction(int(n == greatest)) for n in range(len(coordinates))]
    weights = [-math.log(max(1 - 2 * (u - 0.5), 1e-12)) if u > 0.5 else 0.0 for u in coordinates]
    total = sum(weights)
    exact = [weight / total * GRID for weight in weights]
    units = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(units)), key=lambda n: units[n] - exact[n])
    for n in by_remainder[: GRID - sum(units)]:
        units[n] += 1
    return [Fraction(unit, GRID) for unit in units]
