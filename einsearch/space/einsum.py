"""An einsum linear operator: a structure and the exponents of its indices.

An index `i` with exponent theta_i has size d_in**theta_i if `x` carries it, d_out**theta_i if `y`
does, and min(d_in, d_out)**theta_i otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from einsearch.errors import EinsearchError
from einsearch.space.canonical import canonical_naming
from einsearch.space.structure import Index, Structure, index_kinds


@dataclass(frozen=True, repr=False)
class Einsum:
    """A linear operator x -> y written as an einsum of `factors` factors, with exact exponents.

    `exponents` holds (index, theta) in the paper's order, without zeros: an index of exponent 0 has
    size 1 and is absent. Build one with :meth:`of`, :func:`einsearch.space.parse.parse` or a family.

    Raises EinsearchError where an exponent is negative or the exponents of x or of y do not sum to 1.
    """

    factors: int
    exponents: tuple[tuple[Index, Fraction], ...]

    def __post_init__(self) -> None:
        for _, value in self.exponents:
            if value <= 0:
                raise EinsearchError(f"exponent {value} is not positive; leave out indices of size 1")
        for side, name in enumerate("xy"):
            values = [value for index, value in self.exponents if index.side == side]
            if sum(values) != 1:
                shown = ", ".join(f"{float(value):g}" for value in values)
                raise EinsearchError(
                    f"exponents of {name} sum to {float(sum(values)):g}, not 1: ({shown}); "
                    f"raise or lower {_names_of(self.factors, name)}"
                )
        Structure(self.factors, self.indices)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Fractions are slow to hash, and einsums are the keys of most caches.
        return hash((self.factors, self.exponents))

    def __getstate__(self) -> dict[str, Any]:
        return {"factors": self.factors, "exponents": self.exponents}

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
    def structure(self) -> Structure:
        return Structure(self.factors, self.indices)

    @property
    def theta(self) -> tuple[Fraction, ...]:
        """Exponents of every kind of index of this many factors, zeros included, in the paper's order."""
        given = dict(self.exponents)
        return tuple(given.get(kind, Fraction(0)) for kind in index_kinds(self.factors))

    def of_factor(self, factor: int) -> frozenset[Index]:
        """The indices that a factor carries."""
        return frozenset(index for index in self.indices if factor in index.factors)

    def renamed(self, new_name: tuple[int, ...]) -> Einsum:
        """The same operators after factor `f` is renamed to `new_name[f]`."""
        return Einsum.of(self.factors, {index.renamed(new_name): value for index, value in self.exponents})

    def canonical(self) -> Einsum:
        """The one representative of all renamings of the factors; see :mod:`einsearch.space.canonical`.

        Two einsums are the same operator family iff their canonical forms are equal.
        """
        weights = {(index.side, index.factor_mask): value for index, value in self.exponents}
        return self.renamed(canonical_naming(self.factors, weights, Fraction(0)))

    def transpose(self) -> Einsum:
        """The operator y -> x: x and y exchanged."""
        return Einsum.of(self.factors, {index.transposed(): value for index, value in self.exponents})

    def __str__(self) -> str:
        """The shortest text that `parse` reads back: theta for k = 2, else the einsum string."""
        if self.factors == 2:
            return "(" + "|".join(write_number(value) for value in self.theta) + ")"
        return self.equation()

    def equation(self) -> str:
        """The einsum string with exponents, as `ag,agf,gef->ef; a=0.5, g=0.5, e=0.5, f=0.5`."""
        name = self.structure.letters()
        return f"{self.structure}; " + ", ".join(f"{name[i]}={write_number(value)}" for i, value in self.exponents)

    def __repr__(self) -> str:
        return f"parse({str(self)!r})"


def write_number(value: Fraction) -> str:
    """A decimal where it is exact within 4 digits, else a fraction.

    >>> write_number(Fraction(1, 4)), write_number(Fraction(1, 3))
    ('0.25', '1/3')
    """
    scaled = value * 10_000
    return f"{float(value):.4f}".rstrip("0").rstrip(".") if scaled.denominator == 1 else str(value)


def _names_of(factors: int, side: str) -> str:
    """The names a person may change to mend the sum of one side, for messages."""
    if factors != 2:
        return f"the exponents of {side}"
    return "alpha, beta or gamma" if side == "x" else "delta, epsilon or phi"
