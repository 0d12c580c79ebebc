"""The hypergraph of an einsum linear operator: which vertices carry which index, without sizes.

Vertices are the input `x`, the factors 0..k-1 and the output `y`; every index is a hyperedge, the set
of vertices that carry it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from einsearch.errors import EinsearchError
from einsearch.space.canonical import Weights, canonical_naming

GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "phi", "rho")
"""The paper's names of the seven kinds of index of two factors, in the order of :func:`index_kinds`."""

_LETTERS_OF_TWO = ("a", "b", "g", "d", "e", "f", "r")
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
    def side(self) -> int:
        """0 for an index of x, 1 for one of y, 2 for an inner one."""
        return 0 if self.in_x else 1 if self.in_y else 2

    @property
    def sort_key(self) -> tuple[int, int, tuple[int, ...]]:
        """The paper's order for k = 2: alpha beta gamma, delta epsilon phi, rho."""
        return self.side, len(self.factors), self.factors

    @property
    def name(self) -> str:
        """The vertices, as `x.AB`, `y.A` or `AB`."""
        return ("x.", "y.", "")[self.side] + "".join(factor_name(f) for f in self.factors)

    @property
    def factor_mask(self) -> int:
        """The factors as a bit mask."""
        return sum(1 << f for f in self.factors)

    def renamed(self, new_name: tuple[int, ...]) -> Index:
        """The same index after factor `f` is renamed to `new_name[f]`."""
        return Index(self.in_x, tuple(sorted(new_name[f] for f in self.factors)), self.in_y)

    def transposed(self) -> Index:
        """The same index after x and y are exchanged."""
        return Index(self.in_y, self.factors, self.in_x)


@lru_cache(maxsize=16)
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


@dataclass(frozen=True, slots=True)
class Structure:
    """A set of kinds of index over `factors` factors, in the paper's order. Build one with :meth:`of`.

    Raises EinsearchError where an index names a factor that there is not, or x or y carries no index.
    """

    factors: int
    indices: tuple[Index, ...]

    def __post_init__(self) -> None:
        if self.factors < 1:
            raise EinsearchError(f"an einsum has at least one factor, not {self.factors}")
        if list(self.indices) != sorted(set(self.indices), key=lambda index: index.sort_key):
            raise EinsearchError("the indices of an einsum are each given once, in the order of index_kinds")
        for index in self.indices:
            if index.factors[-1] >= self.factors:
                raise EinsearchError(f"index over factors {index.factors}, but there are {self.factors} factors")
        for side, name in enumerate("xy"):
            if all(index.side != side for index in self.indices):
                raise EinsearchError(f"{name} carries no index; give it one that a factor carries too")

    @classmethod
    def of(cls, factors: int, indices: Iterable[Index]) -> Structure:
        """A structure from its indices in any order."""
        return cls(factors, tuple(sorted(set(indices), key=lambda index: index.sort_key)))

    def of_factor(self, factor: int) -> frozenset[Index]:
        """The indices that a factor carries."""
        return frozenset(index for index in self.indices if factor in index.factors)

    def renamed(self, new_name: tuple[int, ...]) -> Structure:
        """The same structure after factor `f` is renamed to `new_name[f]`."""
        return Structure.of(self.factors, (index.renamed(new_name) for index in self.indices))

    def canonical(self) -> Structure:
        """The one representative of all renamings of the factors; see :mod:`einsearch.space.canonical`.

        Two structures are isomorphic as coloured hypergraphs iff their canonical forms are equal.
        """
        present: Weights[int] = {(index.side, index.factor_mask): 1 for index in self.indices}
        return self.renamed(canonical_naming(self.factors, present, 0))

    def transpose(self) -> Structure:
        """The structure of the operators y -> x: x and y exchanged."""
        return Structure.of(self.factors, (index.transposed() for index in self.indices))

    @property
    def reducible_because(self) -> str | None:
        """Why the structure is reducible, in words, or None where it is irreducible."""
        return reducible_because(frozenset(self.indices), self.factors)

    def letters(self) -> dict[Index, str]:
        """The letter of every index: the paper's for k = 2 (g for gamma, f for phi), else a, b, c, ..."""
        if self.factors == 2:
            names = dict(zip(index_kinds(2), _LETTERS_OF_TWO, strict=True))
            return {index: names[index] for index in self.indices}
        if len(self.indices) > len(_ALPHABET):
            raise EinsearchError(f"{len(self.indices)} indices are more than the 52 letters; use fewer indices")
        return dict(zip(self.indices, _ALPHABET, strict=False))

    def equation(self) -> str:
        """`x,factor,...->y` in letters: the operands of an einsum."""
        name = self.letters()
        terms = ["".join(name[i] for i in self.indices if i.in_x)]
        terms += ["".join(name[i] for i in self.indices if f in i.factors) for f in range(self.factors)]
        return ",".join(terms) + "->" + "".join(name[i] for i in self.indices if i.in_y)

    def __str__(self) -> str:
        return self.equation()


def reducible_because(indices: frozenset[Index], factors: int) -> str | None:
    """Why a set of indices is reducible, in words, or None where it is irreducible.

    Irreducible: no factor is empty, no factor's indices are contained in another's (it would be
    absorbed), and every factor is connected to x or y, through other factors where need be. Adding
    indices to an irreducible set keeps it irreducible.
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
