"""Parameter sharing omega, rank psi and compute intensity nu, exactly.

For d_in = d_out = d, as exponents of d: N is the largest factor, F the dearest step of the cheapest
order of contracting the factors into x one after the other. omega = F - N, nu = F - 1, and psi is the
minimum cut between x and y with the exponents as capacities (arXiv 2410.02117, section 3, extended
to any number of factors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Any

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.lattice import Lattice, lattice
from einsearch.space.structure import Structure

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxonomy:
    """Where an operator lies: exponents of the width d, all exact.

    omega: compute beyond one use of every parameter (0: no sharing). psi: rank, at most 1 (full).
    nu: MACs per input vector are d**(1 + nu), so dense has 1. parameters, macs: N and F.
    """

    omega: Fraction
    psi: Fraction
    nu: Fraction
    parameters: Fraction
    macs: Fraction


@lru_cache(maxsize=65536)
def taxonomy(einsum: Einsum) -> Taxonomy:
    """omega, psi and nu of an operator.

    >>> from einsearch.space.parse import parse
    >>> t = taxonomy(parse("(0.5|0.5|0|0.5|0.5|0|0)"))   # Kronecker
    >>> t.omega, t.psi, t.nu
    (Fraction(1, 2), Fraction(1, 1), Fraction(1, 2))
    """
    table = lattice(einsum.structure)
    unit, weights = _weights(einsum)
    parameters = Fraction(max(_sum(weights, mask) for mask in table.factor), unit)
    psi = Fraction(min(_sum(weights, mask) for mask in table.live), unit)
    macs = Fraction(_cheapest(weights, table), unit)
    return Taxonomy(omega=macs - parameters, psi=psi, nu=macs - 1, parameters=parameters, macs=macs)


def cheapest_order(einsum: Einsum) -> tuple[int, ...]:
    """An order of contracting the factors into x that attains F; of several the first in factor order."""
    table = lattice(einsum.structure)
    _, weights = _weights(einsum)
    best = _cheapest(weights, table)
    everything = (1 << einsum.factors) - 1
    found: list[int] = []
    contracted = 0
    while contracted != everything:
        for f in range(einsum.factors):
            longer = contracted | 1 << f
            if longer == contracted or _sum(weights, table.step(contracted, f)) > best:
                continue
            if longer == everything or _cheapest(weights, table, start=longer) <= best:
                found.append(f)
                contracted = longer
                break
    return tuple(found)


def _weights(einsum: Einsum) -> tuple[int, list[int]]:
    """The exponents as integers over their common denominator: exact, and many times as fast as fractions."""
    unit = lcm(*(value.denominator for _, value in einsum.exponents))
    return unit, [int(value * unit) for _, value in einsum.exponents]


def _sum(weights: Sequence[int], mask: int) -> int:
    total = 0
    while mask:
        low = mask & -mask
        total += weights[low.bit_length() - 1]
        mask ^= low
    return total


def _cheapest(weights: Sequence[int], table: Lattice, start: int = 0) -> int:
    """The dearest step of the cheapest order from the set `start` on: a bottleneck path in the lattice."""
    best: dict[int, int] = {start: 0}
    for contracted in range(start + 1, len(table.live)):
        if contracted & start != start:
            continue
        best[contracted] = min(
            max(best[before], _sum(weights, touched))
            for f, touched in table.steps_to(contracted)
            if (before := contracted & ~(1 << f)) in best
        )
    return best[len(table.live) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxonomyArrays:
    """:class:`Taxonomy` of many points of one structure: arrays of shape (points,)."""

    omega: Floats
    psi: Floats
    nu: Floats
    parameters: Floats
    macs: Floats


def taxonomy_arrays(structure: Structure, theta: npt.ArrayLike) -> TaxonomyArrays:
    """omega, psi and nu for arrays of exponents of one structure.

    theta: (points, indices), the exponents in the order of `structure.indices`; zeros are allowed, and
    the sums of x and of y are taken to be 1, not checked. Results are those of :func:`taxonomy` to the
    rounding of float64: exact for dyadic fractions.

    Raises EinsearchError where the number of columns is not the number of indices.
    """
    exponents: Any = np.asarray(theta, dtype=np.float64)
    if exponents.ndim != 2 or exponents.shape[1] != len(structure.indices):
        raise EinsearchError(
            f"theta has shape {exponents.shape}; give (points, {len(structure.indices)}), "
            f"one column an index of {structure}"
        )
    table = lattice(structure)
    columns = np.ascontiguousarray(exponents.T)

    def total(mask: int) -> Floats:
        chosen = [n for n in range(len(structure.indices)) if mask >> n & 1]
        found: Floats = columns[chosen].sum(axis=0)
        return found

    sums = {mask: total(mask) for mask in {*table.factor, *table.live}}
    parameters = np.maximum.reduce([sums[mask] for mask in table.factor])
    psi = np.minimum.reduce([sums[mask] for mask in table.live])
    best = [np.zeros(len(exponents))]
    for contracted in range(1, len(table.live)):
        orders = []
        for f, touched in table.steps_to(contracted):
            if touched not in sums:
                sums[touched] = total(touched)
            orders.append(np.maximum(best[contracted & ~(1 << f)], sums[touched]))
        best.append(np.minimum.reduce(orders))
    macs = best[-1]
    return TaxonomyArrays(omega=macs - parameters, psi=psi, nu=macs - 1, parameters=parameters, macs=macs)
