"""The atlas of two factors: exact points of every structure, and where they lie in (omega, psi, nu).

For two factors the places that exponents reach are exactly

    0 <= omega <= 1/2,  min(1, omega + nu) <= psi <= min(1, 2 nu)

which for psi < 1 is the inside of a tetrahedron with rank one, Monarch, dense and Kronecker as its corners.
Nothing else is reached: psi <= beta + gamma + delta + phi + rho, what is live after A, and nu is at least
rho + (delta + phi) and rho + (beta + gamma), so psi <= 2 nu; the others follow from the closed forms by cases.
Each is reached: by (1 - nu, nu, 0, omega, 1 + nu - psi, psi - omega - nu, 0) where omega + nu <= psi, and at
psi = 1 beyond that by (1 - omega, omega, 0, omega, 1 - omega, 0, nu - omega).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import prod

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.enumeration import structures
from einsearch.space.families import btt, dense, kronecker, low_rank, tensor_train
from einsearch.space.structure import Structure, index_kinds
from einsearch.space.taxonomy import taxonomy_arrays

Units = npt.NDArray[np.int64]

UNIT = 24
"""Exponents are multiples of 1/24, so that halves, thirds, quarters, sixths and eighths are among them."""

DEAREST = UNIT * 3 // 2
"""Points of a greater nu, in units, are left out: rho, and with it nu, has no bound."""

SAMPLES, FEWEST, MOST = 8000, 400, 50_000

_DEARER_THAN_DENSE = 8
"""At most one in so many samples has nu > 1; they lie at multiples of 1/12."""

_CANDIDATES = 150_000
"""A structure with more points on the grid is sampled from so many."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A point of a structure: exponents and taxonomy in units of 1/UNIT.

    structure: its number in the enumeration. theta: of all seven kinds of index, in the letters of the structure.
    """

    structure: int
    theta: tuple[int, ...]
    omega: int
    psi: int
    nu: int

    def einsum(self) -> Einsum:
        """The operator, with exact exponents."""
        return Einsum.of(2, {kind: Fraction(n, UNIT) for kind, n in zip(index_kinds(2), self.theta, strict=True)})


@dataclass(frozen=True, slots=True)
class Atlas:
    """Every irreducible structure of two factors, and samples of each, ordered by structure and place."""

    structures: tuple[Structure, ...]
    samples: tuple[Sample, ...]


def sample_atlas(samples: int = SAMPLES, seed: int = 0) -> Atlas:
    """So many points, as evenly over the structures as the places allow that each can reach.

    A structure's points lie at as many different (omega, psi, nu) as there is room for, those with omega = 0 or
    psi = 1 first. All exponents of a structure are positive: where one is 0, it is a point of another structure.
    No two points are equal up to renaming the factors. The same arguments give the same points.

    Raises EinsearchError where `samples` or `seed` is out of range.
    """
    if not FEWEST <= samples <= MOST:
        raise EinsearchError(
            f"samples is {samples}; give {FEWEST} to {MOST}: fewer hide structures, more make the page slow"
        )
    if seed < 0:
        raise EinsearchError(f"seed is {seed}; give 0 or a positive number")
    rng = np.random.default_rng(seed)
    every = tuple(structures(2))
    candidates = [_candidates(structure, rng) for structure in every]
    dearer = [c.where((c.places[:, 2] > UNIT) & (c.places % 2 == 0).all(axis=1) & (c.rank == 0)) for c in candidates]
    found = list(_chosen(dearer, samples // _DEARER_THAN_DENSE))
    found += _chosen([c.where(c.places[:, 2] <= UNIT) for c in candidates], samples - len(found))
    return Atlas(every, tuple(sorted(found, key=lambda s: (s.structure, s.omega, s.psi, s.nu, s.theta))))


@dataclass(frozen=True, slots=True)
class Landmark:
    """A named family: one operator, or a curve of them in the order of rank."""

    name: str
    einsums: tuple[Einsum, ...]


def landmarks() -> tuple[Landmark, ...]:
    """The named families where two factors hold them, up to the compute of dense; dense itself is one factor."""
    ranks = [Fraction(n, UNIT) for n in range(UNIT + 1)]
    to_dense = [rank for rank in ranks if 2 * rank <= 1]
    return (
        Landmark("Low rank", tuple(low_rank(rank) for rank in ranks)),
        Landmark("BTT", tuple(btt(rank) for rank in to_dense)),
        Landmark("Tensor-Train", tuple(tensor_train(rank) for rank in to_dense)),
        Landmark("Monarch", (btt(),)),
        Landmark("Kronecker", (kronecker(),)),
        Landmark("Dense", (dense(),)),
    )


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Points of a structure, in the order in which they are taken. theta: (points, 7), places: (points, 3).

    rank: how many points at the same place come before.
    """

    theta: Units
    places: Units
    rank: Units

    def where(self, keep: npt.NDArray[np.bool_]) -> _Candidates:
        return _Candidates(self.theta[keep], self.places[keep], self.rank[keep])


def _candidates(structure: Structure, rng: np.random.Generator) -> _Candidates:
    theta = rng.permutation(_grid(structure, rng))
    columns = [index_kinds(2).index(index) for index in structure.indices]
    # In units every sum is a whole number, so the float64 arrays are exact; nu = F - 1 is the one that is not in units.
    found = taxonomy_arrays(structure, theta[:, columns])
    places = np.stack([found.omega, found.psi, found.macs - UNIT], axis=1).astype(np.int64)
    near = places[:, 2] <= DEAREST
    theta, places = theta[near], places[near]
    rank = _rank_within(places)
    on_a_face = (places[:, 0] == 0) | (places[:, 1] == UNIT)
    order = np.lexsort((~on_a_face, rank))
    return _Candidates(theta[order], places[order], rank[order])


def _grid(structure: Structure, rng: np.random.Generator) -> Units:
    """Points of the grid with all exponents of the structure positive, in units; each once up to renaming."""
    columns = [
        [n for n, kind in enumerate(index_kinds(2)) if kind in structure.indices and kind.side == s] for s in range(3)
    ]
    inner = np.arange(1, UNIT + 1)[:, None] if columns[2] else np.zeros((1, 0), dtype=np.int64)
    parts = [_compositions(len(columns[0])), _compositions(len(columns[1])), inner]
    shape = [len(part) for part in parts]
    total = prod(shape)
    chosen = np.arange(total) if total <= _CANDIDATES else rng.choice(total, _CANDIDATES, replace=False)
    theta = np.zeros((len(chosen), len(index_kinds(2))), dtype=np.int64)
    for place, part, rows in zip(columns, parts, np.unravel_index(chosen, shape), strict=True):
        theta[:, place] = part[rows]
    if structure.renamed((1, 0)) != structure:
        return theta
    # The factors can be exchanged: of the two the canonical one, whose alpha and then delta is greater.
    alpha, beta, delta, epsilon = (theta[:, n] for n in (0, 1, 3, 4))
    return theta[(alpha > beta) | ((alpha == beta) & (delta >= epsilon))]


def _compositions(parts: int) -> Units:
    """All ways to write UNIT as a sum of `parts` positive whole numbers: (ways, parts)."""
    cuts = [(0, *cut, UNIT) for cut in combinations(range(1, UNIT), parts - 1)]
    edges = np.array(cuts, dtype=np.int64)
    return edges[:, 1:] - edges[:, :-1]


def _rank_within(places: Units) -> Units:
    """For every row how many equal ones come before it."""
    base = DEAREST + 1  # above every coordinate, so that a place is one number
    one_number = places @ np.array([base**2, base, 1])
    order = np.argsort(one_number, kind="stable")
    _, starts, counts = np.unique(one_number[order], return_index=True, return_counts=True)
    rank = np.empty(len(places), dtype=np.int64)
    rank[order] = np.arange(len(places)) - np.repeat(starts, counts)
    return rank


def _chosen(candidates: Sequence[_Candidates], samples: int) -> Iterator[Sample]:
    """The first candidates of every structure: one a place as far as samples reach, then more."""
    rooms = [len(c.rank) for c in candidates]
    places = [int((c.rank == 0).sum()) for c in candidates]
    shares = fair_shares(samples, places)
    spare = fair_shares(samples - sum(shares), [room - place for room, place in zip(rooms, places, strict=True)])
    for number, (c, share, more) in enumerate(zip(candidates, shares, spare, strict=True)):
        for theta, place in zip(c.theta[: share + more].tolist(), c.places[: share + more].tolist(), strict=True):
            yield Sample(number, tuple(theta), *place)


def fair_shares(total: int, rooms: Sequence[int]) -> list[int]:
    """A total split as evenly as the rooms allow; less than the total where they are too small.

    >>> fair_shares(10, [1, 9, 9])
    [1, 4, 5]
    """
    shares = [0] * len(rooms)
    for done, n in enumerate(sorted(range(len(rooms)), key=lambda n: rooms[n])):
        shares[n] = min(rooms[n], total // (len(rooms) - done))
        total -= shares[n]
    return shares
