"""The hypergraph of an einsum linear operator and its exponents.

Vertices are the input `x`, the factors 0..k-1 and the output `y`; every index is a hyperedge, the set
of vertices that carry it. An index `i` with exponent theta_i has size d_in**theta_i if `x` carries it,
d_out**theta_i if `y` does, and min(d_in, d_out)**theta_i otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, permutations

from einsearch.errors import EinsearchError

GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "phi", "rho")
"""The paper's names of the seven kinds of index of two factors, in the order of :func:`index_kinds`."""


@dataclass(frozen=True, slots=True)
class Index:
    """One kind of index: which vertices carry it."""

    in_x: bool
    factors: tuple[int, ...]
    in_y: bool

    def __post_init__(self) -> None:
        if self.in_x and self.in_y:
            raise EinsearchError("an index joins x and y; an index may touch x or y, never both")
        if not self.factors or (len(self.factors) < 2 and not (self.in_x or self.in_y)):
            raise EinsearchError(
                f"index over factors {self.factors} touches fewer than two vertices or no factor; "
                "an index joins a factor with x, y or another factor"
            )

    @property
    def sort_key(self) -> tuple[int, int, tuple[int, ...]]:
        """The paper's order for k = 2: alpha beta gamma, delta epsilon phi, rho."""
        side = 0 if self.in_x else 1 if self.in_y else 2
        return side, len(self.factors), self.factors

    def renamed(self, new_name: tuple[int, ...]) -> Index:
        """The same index after factor `f` is renamed to `new_name[f]`."""
        return Index(self.in_x, tuple(sorted(new_name[f] for f in self.factors)), self.in_y)

    def crosses(self, x_side: frozenset[int]) -> bool:
        """Whether the cut with x and the factors `x_side` on one side, y and the rest on the other, cuts it."""
        on_x_side = self.in_x or any(f in x_side for f in self.factors)
        on_y_side = self.in_y or any(f not in x_side for f in self.factors)
        return on_x_side and on_y_side


def index_kinds(factors: int) -> tuple[Index, ...]:
    """All 3(2^k - 1) - k kinds of index of k factors, in the paper's order.

    >>> len(index_kinds(1)), len(index_kinds(2)), len(index_kinds(3)), len(index_kinds(4))
    (2, 7, 18, 41)
    """
    subsets = [s for n in range(1, factors + 1) for s in combinations(range(factors), n)]
    kinds = [Index(True, s, False) for s in subsets]
    kinds += [Index(False, s, True) for s in subsets]
    kinds += [Index(False, s, False) for s in subsets if len(s) > 1]
    return tuple(sorted(kinds, key=lambda index: index.sort_key))


@dataclass(frozen=True, slots=True, repr=False)
class Einsum:
    """A linear operator x -> y written as an einsum of `factors` factors, with exact exponents.

    `exponents` holds (index, theta) in the paper's order, without zeros: an index of exponent 0 has
    size 1 and is absent. Build one with :meth:`of`, :func:`einsearch.space.notation.parse` or a family.

    Raises EinsearchError where an exponent is negative or the exponents of x or of y do not sum to 1.
    """

    factors: int
    exponents: tuple[tuple[Index, Fraction], ...]

    def __post_init__(self) -> None:
        if self.factors < 1:
            raise EinsearchError(f"an einsum has at least one factor, not {self.factors}")
        kinds = [index for index, _ in self.exponents]
        if kinds != sorted(set(kinds), key=lambda index: index.sort_key):
            raise EinsearchError("the indices of an einsum are each given once, in the order of index_kinds")
        for index, value in self.exponents:
            if value <= 0:
                raise EinsearchError(f"exponent {value} is not positive; leave out indices of size 1")
            if any(f not in range(self.factors) for f in index.factors):
                raise EinsearchError(f"index over factors {index.factors}, but there are {self.factors} factors")
        for side in ("x", "y"):
            values = [value for index, value in self.exponents if (index.in_x if side == "x" else index.in_y)]
            if sum(values) != 1:
                shown = ", ".join(f"{float(value):g}" for value in values)
                raise EinsearchError(
                    f"exponents of {side} sum to {float(sum(values)):g}, not 1: ({shown}); "
                    f"raise or lower {side_names(self.factors, side)}"
                )

    @classmethod
    def of(cls, factors: int, exponents: Mapping[Index, Fraction]) -> Einsum:
        """An einsum from a mapping index -> exponent; zeros are dropped, the order is made canonical."""
        for value in exponents.values():
            if value < 0:
                raise EinsearchError(f"exponent {float(value):g} is negative; exponents lie between 0 and 1")
        kept = {index: value for index, value in exponents.items() if value != 0}
        return cls(factors, tuple(sorted(kept.items(), key=lambda item: item[0].sort_key)))

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple(index for index, _ in self.exponents)

    @property
    def theta(self) -> tuple[Fraction, ...]:
        """Exponents of every kind of index of this many factors, zeros included, in the paper's order."""
        given = dict(self.exponents)
        return tuple(given.get(kind, Fraction(0)) for kind in index_kinds(self.factors))

    def of_factor(self, factor: int) -> frozenset[Index]:
        """The indices that a factor carries."""
        return frozenset(index for index in self.indices if factor in index.factors)

    def canonical(self) -> Einsum:
        """The one representative of all renamings of the factors: the one with the greatest theta.

        Two einsums are the same operator family iff their canonical forms are equal. All k! renamings
        are tried, so this is meant for small k.
        """
        return max(self._renamings(), key=lambda einsum: einsum.theta)

    def _renamings(self) -> Iterator[Einsum]:
        for new_name in permutations(range(self.factors)):
            renamed = {index.renamed(new_name): value for index, value in self.exponents}
            yield Einsum.of(self.factors, renamed)

    def transpose(self) -> Einsum:
        """The operator y -> x: x and y exchanged."""
        swapped = {Index(i.in_y, i.factors, i.in_x): value for i, value in self.exponents}
        return Einsum.of(self.factors, swapped)

    def __str__(self) -> str:
        from einsearch.space.notation import write

        return write(self)

    def __repr__(self) -> str:
        return f"parse({str(self)!r})"


def side_names(factors: int, side: str) -> str:
    """The names a person may change to mend the sum of one side, for messages."""
    if factors != 2:
        return f"the exponents of {side}"
    return "alpha, beta or gamma" if side == "x" else "delta, epsilon or phi"


def reducible_because(indices: frozenset[Index], factors: int) -> str | None:
    """Why a structure is reducible, in words, or None where it is irreducible.

    Irreducible: no factor is empty, no factor's indices are contained in another's (it would be
    absorbed), and every factor is connected to x or y, through other factors where need be.
    """
    carried = [frozenset(i for i in indices if f in i.factors) for f in range(factors)]
    for f, own in enumerate(carried):
        if not own:
            return f"factor {factor_name(f)} carries no index"
    for f, own in enumerate(carried):
        for g, other in enumerate(carried):
            if f != g and own <= other:
                absorbed, by = factor_name(f), factor_name(g)
                return f"factor {absorbed} is absorbed by {by}: all its indices are {by}'s too"
    reached = {f for f in range(factors) if any(i.in_x or i.in_y for i in carried[f])}
    frontier = set(reached)
    while frontier:
        frontier = {f for i in indices for f in i.factors if frontier & set(i.factors)} - reached
        reached |= frontier
    for f in range(factors):
        if f not in reached:
            return f"factor {factor_name(f)} is connected neither to x nor to y"
    return None


def factor_name(factor: int) -> str:
    """A, B, C, ... for messages and diagrams."""
    return chr(ord("A") + factor)
