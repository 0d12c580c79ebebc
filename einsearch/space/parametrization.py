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

import numpy as np
import numpy.typing as npt

from einsearch.space.einsum import Einsum
from einsearch.space.structure import GREEK, Index, index_kinds

GRID = 1000
"""Sampled exponents are multiples of 1/GRID, so that what is printed is exactly what was trained."""

_OFF = 0.25


def coordinate_names(factors: int) -> dict[Index, str]:
    """The name of every index's coordinate: the paper's Greek letters for k = 2, else `x.AB`, `y.A`, `AB`."""
    kinds = index_kinds(factors)
    if factors == 2:
        return dict(zip(kinds, GREEK, strict=True))
    return {kind: kind.name for kind in kinds}


def decode_arrays(factors: int, coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """:func:`decode` for many points at once.

    coordinates: (points, kinds of index) in [0, 1], in the order of :func:`index_kinds`. Returns the
    exponents in units of 1/GRID.
    """
    kinds = index_kinds(factors)
    units = np.zeros(coordinates.shape, dtype=np.int64)
    for side in range(2):
        columns = [n for n, index in enumerate(kinds) if index.side == side]
        units[:, columns] = _on_simplex_arrays(coordinates[:, columns])
    inner = [n for n, index in enumerate(kinds) if index.side == 2]
    units[:, inner] = np.rint(np.maximum(0.0, 2 * coordinates[:, inner] - 1) * GRID).astype(np.int64)
    return units


def keep_greatest(factors: int, coordinates: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.float64]:
    """The coordinates with all but `most` indices left out: kept are the greatest of x, that of y, then the greatest.

    coordinates: (points, kinds of index). Rows with fewer indices stay as they are.
    """
    kinds = index_kinds(factors)
    order = coordinates.copy()
    for side in range(2):
        columns = [n for n, index in enumerate(kinds) if index.side == side]
        first = np.array(columns)[coordinates[:, columns].argmax(axis=1)]
        order[np.arange(len(order)), first] += 1.0
    rank = np.argsort(np.argsort(-order, axis=1, kind="stable"), axis=1, kind="stable")
    return np.where((rank >= most) & (coordinates > _OFF), _OFF, coordinates)


def _on_simplex_arrays(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """:func:`_on_simplex` for many rows."""
    on = coordinates > 0.5
    weights = np.where(on, -np.log(np.maximum(1 - 2 * (coordinates - 0.5), 1e-12)), 0.0)
    total = weights.sum(axis=1, keepdims=True)
    exact = weights / np.where(total > 0, total, 1.0) * GRID
    units = np.floor(exact).astype(np.int64)
    missing = GRID - units.sum(axis=1)
    # The rows' largest remainders, ties by position as `sorted` leaves them.
    by_remainder = np.argsort(np.argsort(units - exact, axis=1, kind="stable"), axis=1, kind="stable")
    units += by_remainder < missing[:, None]
    vertex = ~on.any(axis=1)
    units[vertex] = 0
    units[vertex, coordinates[vertex].argmax(axis=1)] = GRID
    return units


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
