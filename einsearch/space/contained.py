"""Which named families a structure holds as special cases: some of its indices at size 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, permutations

from einsearch.space.classify import Family
from einsearch.space.structure import Structure

Kind = tuple[int, int]
"""An index as its side and the bit mask of its factors."""


def contained_families(structure: Structure) -> tuple[Family, ...]:
    """The families that an irreducible structure of as many factors becomes when some indices are left out.

    Most special first. Every structure of one factor is dense. Products of vectors, of rank 1 at any width,
    do not count: nearly every structure holds them.

    >>> from einsearch.space.parse import parse_structure
    >>> [family.value for family in contained_families(parse_structure("abg,agdfr,bgefr->def"))]
    ['Low rank', 'Kronecker', 'Tensor-Train', 'BTT rank 1', 'BTT']
    """
    if structure.factors == 1:
        return (Family.DENSE,)
    present = frozenset((index.side, index.factor_mask) for index in structure.indices)
    found: set[Family] = set()
    for line in _lines(structure.factors):
        if line.matrices <= present:
            found.add(Family.LOW_RANK)
        if line.cores <= present:
            found.add(Family.KRONECKER)
            if line.links <= present:
                found.add(Family.TENSOR_TRAIN)
        if Family.MONARCH not in found and line.joined(present & line.blocks):
            found |= {Family.MONARCH, Family.BTT}
        if Family.BTT not in found and line.joined(present & (line.blocks | line.links)):
            found.add(Family.BTT)
    return tuple(family for family in Family if family in found)


@dataclass(frozen=True, slots=True)
class _Line:
    """The kinds of index of the families whose factors stand in one order.

    links: between neighbours. matrices: all of a product of full matrices. cores: an index of x and one of
    y for each factor. blocks: x's on prefixes, y's on suffixes.
    """

    order: tuple[int, ...]
    links: frozenset[Kind]
    matrices: frozenset[Kind]
    cores: frozenset[Kind]
    blocks: frozenset[Kind]

    def joined(self, kinds: frozenset[Kind]) -> bool:
        """Whether kinds of the line touch x and y, join every factor to the next, and absorb no factor."""
        if not {0, 1} <= {side for side, _ in kinds}:
            return False
        before = 0
        for f in self.order[:-1]:
            before |= 1 << f
            # What is live between the factors up to f and those after it.
            if not any((mask & before or side == 0) and (mask & ~before or side == 1) for side, mask in kinds):
                return False
        return all(
            any(mask >> f & 1 and not mask >> g & 1 for _, mask in kinds)
            for f in self.order
            for g in self.order
            if f != g
        )


@lru_cache(maxsize=16)
def _lines(factors: int) -> tuple[_Line, ...]:
    found = []
    for order in permutations(range(factors)):
        bits = [1 << f for f in order]
        links = frozenset((2, a | b) for a, b in pairwise(bits))
        found.append(
            _Line(
                order=order,
                links=links,
                matrices=links | {(0, bits[0]), (1, bits[-1])},
                cores=frozenset((side, bit) for side in (0, 1) for bit in bits),
                blocks=frozenset((0, sum(bits[: n + 1])) for n in range(factors))
                | frozenset((1, sum(bits[n:])) for n in range(factors)),
            )
        )
    return tuple(found)
