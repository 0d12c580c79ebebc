"""What is live when a set of factors has been contracted into x: the lattice of the 2^k sets.

Contract the factors of S into x, in any order. The intermediate then carries every index that x or a
factor of S brings in and that y or another factor still needs. These *live* indices are exactly those
that the cut with x and S on one side, y and the rest on the other, crosses; so one table gives the
intermediates, the steps of every order, and all cuts.

Sets are bit masks: of the factors for S, of the positions in `structure.indices` for indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from einsearch.errors import EinsearchError
from einsearch.space.structure import Index, Structure

MOST_FACTORS = 16
"""The lattice has 2^k sets; beyond this it is too large to hold and to search."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """live[S] for every set S of contracted factors; factor[f], x, y and inner: whose indices they are."""

    structure: Structure
    factor: tuple[int, ...]
    x: int
    y: int
    inner: int
    live: tuple[int, ...]

    def step(self, contracted: int, factor: int) -> int:
        """What the step touches that contracts `factor` into the intermediate of the set `contracted`."""
        return self.live[contracted] | self.factor[factor]

    def steps_to(self, contracted: int) -> Iterator[tuple[int, int]]:
        """(factor, what its step touches) for every factor that may have come last in the set."""
        for f in range(self.structure.factors):
            if contracted >> f & 1:
                yield f, self.step(contracted & ~(1 << f), f)

    def indices(self, mask: int) -> tuple[Index, ...]:
        """The indices of a bit mask."""
        return tuple(index for n, index in enumerate(self.structure.indices) if mask >> n & 1)


@lru_cache(maxsize=4096)
def lattice(structure: Structure) -> Lattice:
    """The lattice of a structure.

    Raises EinsearchError beyond MOST_FACTORS factors.
    """
    k = structure.factors
    if k > MOST_FACTORS:
        raise EinsearchError(
            f"{k} factors have 2^{k} sets of contracted factors; at most {MOST_FACTORS} factors are analysed"
        )
    factor = [0] * k
    sides = [0, 0, 0]
    live = [0] * (1 << k)
    for n, index in enumerate(structure.indices):
        bit, held = 1 << n, index.factor_mask
        sides[index.side] |= bit
        for f in index.factors:
            factor[f] |= bit
        for contracted in range(1 << k):
            if (index.in_x or held & contracted) and (index.in_y or held & ~contracted):
                live[contracted] |= bit
    return Lattice(structure, tuple(factor), sides[0], sides[1], sides[2], tuple(live))
