"""Text to einsum and back.

Three notations are read:

* the paper's theta for two factors, `(alpha|beta|gamma|delta|epsilon|phi|rho)`, parentheses optional;
* a family name, with a parameter where it has one: `dense`, `btt`, `low-rank(1/2)`;
* an einsum string with exponents, for any number of factors, the first operand being x:
  `ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2`.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from einsearch.errors import EinsearchError
from einsearch.space.einsum import GREEK, Einsum, Index, index_kinds

_LETTERS_OF_TWO = ("a", "b", "g", "d", "e", "f", "r")
_TOLERANCE = Fraction(1, 10**6)


def parse(text: str) -> Einsum:
    """An einsum from any of the three notations.

    >>> print(parse("(0.5|0|0.5|0|0.5|0.5|0)"))
    (0.5|0|0.5|0|0.5|0.5|0)
    >>> parse("ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2") == parse("btt")
    True
    """
    text = text.strip()
    if "|" in text:
        return parse_theta(text)
    if "->" in text:
        return parse_equation(text)
    from einsearch.space.families import from_name

    return from_name(text)


def write(einsum: Einsum) -> str:
    """The shortest text that :func:`parse` reads back: theta for k = 2, else the einsum string."""
    if einsum.factors == 2:
        return "(" + "|".join(write_number(value) for value in einsum.theta) + ")"
    return equation(einsum, exponents=True)


def write_number(value: Fraction) -> str:
    """A decimal where it is exact within 4 digits, else a fraction.

    >>> write_number(Fraction(1, 4)), write_number(Fraction(1, 3))
    ('0.25', '1/3')
    """
    scaled = value * 10_000
    return f"{float(value):.4f}".rstrip("0").rstrip(".") if scaled.denominator == 1 else str(value)


def parse_number(text: str, name: str) -> Fraction:
    """A non-negative finite exponent from `0.5`, `.5` or `1/2`, exactly."""
    try:
        value = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        shown = text.strip() or "nothing"
        try:
            not_finite = not math.isfinite(float(shown))
        except ValueError:
            not_finite = False
        problem = "is not finite" if not_finite else "is not a number"
        raise EinsearchError(f"exponent {name} {problem}: {shown}; write a decimal or a fraction") from None
    if value < 0:
        raise EinsearchError(f"exponent {name} is negative: {text.strip()}; exponents lie between 0 and 1")
    return value


def parse_theta(text: str) -> Einsum:
    """The paper's `(alpha|beta|gamma|delta|epsilon|phi|rho)`; `.33|...|.67` and `1/3|...|2/3` are exact."""
    parts = text.strip().removeprefix("(").removesuffix(")").split("|")
    if len(parts) != len(GREEK):
        raise EinsearchError(f"theta has {len(parts)} exponents, not 7: {text.strip()}; write ({'|'.join(GREEK)})")
    return from_theta(*(parse_number(part, name) for part, name in zip(parts, GREEK, strict=True)))


def from_theta(*theta: Fraction | float | int) -> Einsum:
    """Two factors from alpha, beta, gamma, delta, epsilon, phi, rho.

    Floats are read as the decimal they print as. Sums within 1e-6 of 1 are rounding: the greatest
    exponent of that side takes the difference, so that the stored sums are exact.
    """
    if len(theta) != len(GREEK):
        raise EinsearchError(f"theta has {len(theta)} exponents, not 7; give {', '.join(GREEK)}")
    exact = [v if isinstance(v, Fraction) else parse_number(str(v), n) for v, n in zip(theta, GREEK, strict=True)]
    for side in (slice(0, 3), slice(3, 6)):
        difference = 1 - sum(exact[side], Fraction(0))
        if difference and abs(difference) <= _TOLERANCE:
            greatest = max(range(side.start, side.stop), key=lambda i: exact[i])
            exact[greatest] += difference
    return Einsum.of(2, dict(zip(index_kinds(2), exact, strict=True)))


def letters(einsum: Einsum) -> dict[Index, str]:
    """The letter of every index: the paper's first letters for k = 2 (g for gamma, f for phi), else a, b, c, ..."""
    if einsum.factors == 2:
        names = dict(zip(index_kinds(2), _LETTERS_OF_TWO, strict=True))
        return {index: names[index] for index in einsum.indices}
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if len(einsum.indices) > len(alphabet):
        raise EinsearchError(f"{len(einsum.indices)} indices are more than the 52 letters; use fewer factors")
    return {index: alphabet[n] for n, index in enumerate(einsum.indices)}


def equation(einsum: Einsum, exponents: bool = False) -> str:
    """`x,factor,...->y` in letters, with `; a=1/2, ...` behind it where `exponents` is set.

    >>> equation(parse("btt"))
    'ag,agf,gef->ef'
    """
    name = letters(einsum)
    terms = ["".join(name[i] for i in einsum.indices if i.in_x)]
    terms += ["".join(name[i] for i in einsum.indices if f in i.factors) for f in range(einsum.factors)]
    text = ",".join(terms) + "->" + "".join(name[i] for i in einsum.indices if i.in_y)
    if exponents:
        text += "; " + ", ".join(f"{name[i]}={write_number(value)}" for i, value in einsum.exponents)
    return text


def parse_equation(text: str) -> Einsum:
    """An einsum string with exponents; every letter is an index, every operand after the first a factor."""
    expression, _, assignments = text.partition(";")
    left, _, y_term = expression.replace(" ", "").partition("->")
    x_term, *factor_terms = left.split(",")
    if not factor_terms:
        raise EinsearchError(f"einsum has no factor: {text.strip()}; write x,factor,...->y")
    for term in (x_term, *factor_terms, y_term):
        if not re.fullmatch(r"[A-Za-z]*", term) or len(set(term)) != len(term):
            raise EinsearchError(f"operand {term!r} of {text.strip()!r} must be different letters")
    values = _parse_assignments(assignments)
    names = sorted(set(x_term + y_term + "".join(factor_terms)))
    if missing := [name for name in names if name not in values]:
        raise EinsearchError(f"no exponent for index {missing[0]!r} of {text.strip()!r}; add `; {missing[0]}=...`")
    if unknown := [name for name in values if name not in names]:
        raise EinsearchError(f"exponent of {unknown[0]!r}, which is no index of {expression.strip()!r}")
    exponents: dict[Index, Fraction] = {}
    for name in names:
        holders = tuple(f for f, term in enumerate(factor_terms) if name in term)
        try:
            index = Index(name in x_term, holders, name in y_term)
        except EinsearchError as error:
            raise EinsearchError(f"index {name!r} of {text.strip()!r}: {error}") from None
        # Two letters on the same vertices act as one index whose size is their product.
        exponents[index] = exponents.get(index, Fraction(0)) + values[name]
    return Einsum.of(len(factor_terms), exponents)


def _parse_assignments(text: str) -> dict[str, Fraction]:
    values: dict[str, Fraction] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z]", name):
            raise EinsearchError(f"{part!r} is no exponent; write letter=number, as in a=1/2")
        if name in values:
            raise EinsearchError(f"exponent of {name!r} is given twice; give it once")
        values[name] = parse_number(number, name)
    return values
