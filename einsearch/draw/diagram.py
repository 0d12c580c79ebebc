"""What is drawn: the vertices in the order they are contracted, and how every index is written."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum, write_number
from einsearch.space.lattice import MOST_FACTORS
from einsearch.space.operator import Operator, operator
from einsearch.space.structure import Index, Structure, factor_name
from einsearch.space.symbolic import greek_letters

_VULGAR = {
    Fraction(numerator, denominator): sign
    for sign, numerator, denominator in zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞",
        (1, 1, 2, 1, 3, 1, 2, 3, 4, 1, 5, 1, 3, 5, 7),
        (2, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 8, 8, 8, 8),
        strict=True,
    )
}
_LARGEST_DENOMINATOR = 16


@dataclass(frozen=True, slots=True)
class Diagram:
    """A structure to draw; with its operator, the exponents and sizes are drawn too.

    Raises EinsearchError beyond as many factors as are analysed.
    """

    structure: Structure
    operator: Operator | None = None

    def __post_init__(self) -> None:
        if self.structure.factors > MOST_FACTORS:
            raise EinsearchError(f"{self.structure.factors} factors are too many to draw; give at most {MOST_FACTORS}")

    @classmethod
    def of(cls, einsum: Einsum, d_in: int, d_out: int) -> Diagram:
        """The diagram of an einsum at given dimensions."""
        return cls(einsum.structure, operator(einsum, d_in, d_out))

    @property
    def order(self) -> tuple[int, ...]:
        """The factors as the reference plan contracts them; as they are named where there are no sizes."""
        if self.operator is None:
            return tuple(range(self.structure.factors))
        return tuple(step.factor for step in self.operator.plan.steps)

    @property
    def vertices(self) -> tuple[str, ...]:
        """Names of the vertices from x, by way of the factors, to y."""
        return ("x", *(factor_name(f) for f in self.order), "y")

    def columns(self, index: Index) -> tuple[int, ...]:
        """The positions in :attr:`vertices` of those that carry an index, ascending."""
        inner = [n for n, f in enumerate(self.order, 1) if f in index.factors]
        return (*([0] if index.in_x else []), *inner, *([len(self.order) + 1] if index.in_y else []))

    @property
    def letters(self) -> dict[Index, str]:
        """The letter of every index: Greek, as in the paper, for two factors."""
        return greek_letters(self.structure)

    @property
    def exponents(self) -> dict[Index, Fraction]:
        return {} if self.operator is None else dict(self.operator.einsum.exponents)

    @property
    def sizes(self) -> dict[Index, int]:
        return {} if self.operator is None else dict(self.operator.sizes.of)

    @property
    def labels(self) -> dict[Index, str]:
        """Letter, exponent and size of every index, as `α ½ · 8`; the letter alone where there are no sizes."""
        exponents, sizes = self.exponents, self.sizes
        return {
            index: f"{letter} {short_fraction(exponents[index])} · {sizes[index]}" if index in sizes else letter
            for index, letter in self.letters.items()
        }


def write_fraction(value: Fraction) -> str:
    """A fraction where its denominator is small, else a decimal.

    >>> write_fraction(Fraction(1, 2)), write_fraction(Fraction(1)), write_fraction(Fraction(33, 100))
    ('1/2', '1', '0.33')
    """
    return str(value) if value.denominator <= _LARGEST_DENOMINATOR else write_number(value)


def short_fraction(value: Fraction) -> str:
    """The same in one character where there is one.

    >>> short_fraction(Fraction(1, 2)), short_fraction(Fraction(3, 16))
    ('½', '3/16')
    """
    return _VULGAR.get(value, write_fraction(value))
