"""Parameter sharing omega, rank psi and compute intensity nu, exactly.

For d_in = d_out = d, as exponents of d: N is the largest factor, F the dearest step of the cheapest
order of contracting the factors into x one after the other. omega = F - N, nu = F - 1, and psi is the
minimum cut between x and y with the exponents as capacities (arXiv 2410.02117, section 3, extended
to any number of factors).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, permutations

from einsearch.space.einsum import Einsum, Index


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

    >>> from einsearch.space.notation import parse
    >>> t = taxonomy(parse("(0.5|0.5|0|0.5|0.5|0|0)"))   # Kronecker
    >>> t.omega, t.psi, t.nu
    (Fraction(1, 2), Fraction(1, 1), Fraction(1, 2))
    """
    exponent = dict(einsum.exponents)
    parameters = max(sum_of(exponent, einsum.of_factor(f)) for f in range(einsum.factors))
    macs = min(
        max(sum_of(exponent, union) for union in step_unions(einsum.indices, order))
        for order in permutations(range(einsum.factors))
    )
    psi = min(sum_of(exponent, cut) for cut in cuts(einsum.indices, einsum.factors))
    return Taxonomy(omega=macs - parameters, psi=min(psi, Fraction(1)), nu=macs - 1, parameters=parameters, macs=macs)


def sum_of(exponent: dict[Index, Fraction], indices: frozenset[Index]) -> Fraction:
    return sum((exponent[index] for index in indices), Fraction(0))


def step_unions(indices: tuple[Index, ...], order: tuple[int, ...]) -> Iterator[frozenset[Index]]:
    """The indices that each step touches: those alive in the intermediate and those of the next factor.

    An index is summed in the step after which neither a remaining factor nor y carries it.
    """
    live = frozenset(index for index in indices if index.in_x)
    for position, factor in enumerate(order):
        union = live | frozenset(index for index in indices if factor in index.factors)
        yield union
        remaining = set(order[position + 1 :])
        live = frozenset(index for index in union if index.in_y or remaining & set(index.factors))


def cuts(indices: tuple[Index, ...], factors: int) -> Iterator[frozenset[Index]]:
    """The cut hyperedges of all 2^k ways to put the factors on the side of x or of y."""
    for n in range(factors + 1):
        for x_side in combinations(range(factors), n):
            side = frozenset(x_side)
            yield frozenset(index for index in indices if index.crosses(side))
