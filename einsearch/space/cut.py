"""Cuts between x and y: nothing that lies between them can pass more than it has room for.

The least one bounds the rank: :func:`min_cut` is its exponent, psi; :func:`least_cut` its value at integer
sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, TypeVar

from einsearch.space.einsum import Einsum
from einsearch.space.lattice import lattice
from einsearch.space.operator import Operator
from einsearch.space.structure import Index

LATTICE_UP_TO = 10
"""Factors up to which all 2^k cuts are compared; beyond, the minimum cut is found as a maximum flow."""

Value = TypeVar("Value", int, Fraction)


@dataclass(frozen=True, slots=True)
class Cut(Generic[Value]):
    """A cut between x and y: the factors on x's side, the indices that it crosses, and its value.

    The value is the sum of the exponents of the indices, or the product of their sizes.
    """

    value: Value
    indices: tuple[Index, ...]
    factors: tuple[int, ...]


def min_cut(einsum: Einsum) -> Cut[Fraction]:
    """The cut of least exponent, psi; of several the one with fewest factors on x's side.

    >>> from einsearch.space.parse import parse
    >>> cut = min_cut(parse("low-rank(1/2)"))
    >>> cut.value, [index.name for index in cut.indices], cut.factors
    (Fraction(1, 2), ['AB'], (0,))
    """
    return cut_by_lattice(einsum) if einsum.factors <= LATTICE_UP_TO else cut_by_flow(einsum)


def cut_by_lattice(einsum: Einsum) -> Cut[Fraction]:
    """:func:`min_cut` by comparing all cuts."""
    exponent = dict(einsum.exponents)
    table = lattice(einsum.structure)
    values = [sum((exponent[index] for index in table.indices(cut)), Fraction(0)) for cut in table.live]
    side = min(range(len(values)), key=lambda side: (values[side], side.bit_count()))
    return Cut(values[side], table.indices(table.live[side]), _members(side))


def cut_by_flow(einsum: Einsum) -> Cut[Fraction]:
    """:func:`min_cut` as a maximum flow, exactly and for any number of factors.

    Every index is a pair of nodes joined with its exponent, over the common denominator, as capacity;
    its vertices lead into the one and out of the other without limit.
    """
    import networkx as nx  # here, for the start-up time of what needs no flow

    unit = math.lcm(*(value.denominator for _, value in einsum.exponents))
    network: nx.DiGraph[Any] = nx.DiGraph()
    network.add_nodes_from(range(einsum.factors))
    for index, value in einsum.exponents:
        network.add_edge((index, "in"), (index, "out"), capacity=int(value * unit))
        for vertex in (*index.factors, *("x" * index.in_x), *("y" * index.in_y)):
            network.add_edge(vertex, (index, "in"))
            network.add_edge((index, "out"), vertex)
    # From y to x: of several least cuts networkx returns the one with the smallest part around the sink.
    flow, (_, x_side) = nx.minimum_cut(network, "y", "x")
    factors = tuple(f for f in range(einsum.factors) if f in x_side)
    crossed = tuple(index for index in einsum.indices if _crosses(index, set(factors)))
    return Cut(Fraction(int(flow), unit), crossed, factors)


def least_cut(operator: Operator) -> Cut[int]:
    """The cut at integer sizes that gives `Operator.rank_bound`; of several that with fewest factors on x's side.

    Around x it is d_in, around y d_out, also where they are padded. Indices of size 1 are left out.
    """
    table = lattice(operator.einsum.structure)
    of = [n for _, n in operator.sizes.of]
    values = [product_of(of, cut) for cut in table.live]
    values[0] = min(values[0], operator.sizes.d_in)
    values[-1] = min(values[-1], operator.sizes.d_out)
    side = min(range(len(values)), key=lambda side: (values[side], side.bit_count()))
    crossed = tuple(index for index in table.indices(table.live[side]) if operator.sizes[index] > 1)
    return Cut(values[side], crossed, _members(side))


def _crosses(index: Index, x_side: set[int]) -> bool:
    """Whether an index has vertices on both sides, x and these factors on the one."""
    held = set(index.factors)
    return (index.in_x or bool(held & x_side)) and (index.in_y or bool(held - x_side))


def _members(mask: int) -> tuple[int, ...]:
    return tuple(f for f in range(mask.bit_length()) if mask >> f & 1)


def product_of(of: Sequence[int], mask: int) -> int:
    """The product of the numbers at the positions of a bit mask."""
    return math.prod(n for position, n in enumerate(of) if mask >> position & 1)
