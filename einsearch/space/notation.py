"""Numbers, the paper's theta and einsum strings, read exactly; every error points at the place.

An einsum string names x, the factors and y by their indices: `x,factor,...->y`, with the exponents
behind it: `ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2`. Spaces do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum, write_number
from einsearch.space.structure import GREEK, Index, Structure, index_kinds

_TOLERANCE = Fraction(1, 10**6)


def parse_number(text: str, name: str) -> Fraction:
    """A non-negative finite exponent from `0.5`, `.5` or `1/2`, exactly."""
    shown = text.strip() or "nothing"
    try:
        finite = math.isfinite(float(shown))  # 1e999 is refused too, before it is computed exactly
    except ValueError:
        finite = True
    try:
        value = Fraction(shown) if finite else None
    except (ValueError, ZeroDivisionError):
        value = None
    if value is None:
        problem = "is not a number" if finite else "is not finite"
        raise EinsearchError(f"exponent {name} {problem}: {shown}; write a decimal or a fraction")
    if value < 0:
        raise EinsearchError(f"exponent {name} is negative: {shown}; exponents lie between 0 and 1")
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


@dataclass(frozen=True, slots=True)
class Equation:
    """An einsum string, read: its structure, the kind of index of every letter, and what follows `;`.

    Several letters may stand for one kind of index: on the same vertices they act as one index whose
    size is their product.
    """

    text: str
    structure: Structure
    kinds: dict[str, Index]
    values: dict[str, Fraction]

    def einsum(self) -> Einsum:
        """The operator, if every letter has an exponent and those of x and of y sum to 1."""
        for letter, kind in self.kinds.items():
            if letter not in self.values:
                where = self.text.index(letter)
                raise at(self.text, where, where + 1, f"no exponent for index {letter!r}", self._mend(letter, kind))
        for side, name in enumerate("xy"):
            letters = [letter for letter, kind in self.kinds.items() if kind.side == side]
            total = sum((self.values[letter] for letter in letters), Fraction(0))
            if total != 1:
                shown = ", ".join(f"{letter}={write_number(self.values[letter])}" for letter in letters)
                raise EinsearchError(
                    f"exponents of {name} sum to {write_number(total)}, not 1: {shown} in {self.text!r}; "
                    f"{'raise' if total < 1 else 'lower'} {' or '.join(letters)}"
                )
        exponents: dict[Index, Fraction] = {}
        for letter, kind in self.kinds.items():
            exponents[kind] = exponents.get(kind, Fraction(0)) + self.values[letter]
        return Einsum.of(self.structure.factors, exponents)

    def _mend(self, letter: str, kind: Index) -> str:
        side = [other for other, k in self.kinds.items() if k.side == kind.side]
        rest = 1 - sum((self.values.get(other, Fraction(0)) for other in side), Fraction(0))
        alone = kind.side < 2 and rest > 0 and all(other in self.values for other in side if other != letter)
        return f"add `{letter}={write_number(rest) if alone else '...'}` behind the semicolon"


def at(text: str, start: int, end: int, problem: str, fix: str) -> EinsearchError:
    """An error about text[start:end], with its place."""
    shown = repr(text[start:end]) if text[start:end].strip() else "here"
    return EinsearchError(f"{text!r}, character {start + 1} ({shown}): {problem}; {fix}")


def parse_equation(text: str) -> Equation:
    """Read an einsum string; the exponents behind it may be missing.

    Raises EinsearchError with the place of a syntax error, of a letter repeated in an operand, of a
    factor given twice, of an index that touches x and y or one vertex alone.
    """
    expression, semicolon, _ = text.partition(";")
    arrow = expression.find("->")
    if arrow < 0:
        raise at(text, len(expression), len(expression), "no -> in an einsum string", "write x,factor,...->y")
    if (second := expression.find("->", arrow + 2)) >= 0:
        raise at(text, second, second + 2, "a second ->", "write x,factor,...->y")
    places = [*_pieces(text, 0, arrow, ","), (arrow + 2, len(expression))]
    terms = [_operand(text, start, end) for start, end in places]
    if len(terms) < 3:
        raise at(text, 0, arrow, "einsum has no factor", "write x,factor,...->y")
    factors = terms[1:-1]
    for f, term in enumerate(factors):
        if term and set(term) in (earlier := [set(other) for other in factors[:f]]):
            start, end = places[f + 1]
            first = earlier.index(set(term)) + 1
            raise at(
                text, start, end, f"factor {f + 1} repeats factor {first}", "two factors on the same indices are one"
            )
    kinds = dict(_kinds(text, terms, places))
    for term, place, name in ((terms[0], places[0], "x"), (terms[-1], places[-1], "y")):
        if not term:
            raise at(text, *place, f"{name} carries no index", f"give {name} an index that a factor carries too")
    values = _values(text, len(expression) + 1, kinds) if semicolon else {}
    return Equation(text, Structure.of(len(factors), kinds.values()), kinds, values)


def _pieces(text: str, start: int, end: int, separator: str) -> Iterator[tuple[int, int]]:
    """Start and end of the pieces of text[start:end] between separators."""
    while (found := text.find(separator, start, end)) >= 0:
        yield start, found
        start = found + 1
    yield start, end


def _operand(text: str, start: int, end: int) -> str:
    """The letters of an operand."""
    letters = ""
    for place in range(start, end):
        character = text[place]
        if character.isspace():
            continue
        if not (character.isascii() and character.isalpha()):
            raise at(
                text, place, place + 1, "an operand is made of letters", "write x,factor,...->y, as ag,agf,gef->ef"
            )
        if character in letters:
            raise at(text, place, place + 1, f"index {character!r} is repeated in one operand", "give it once")
        letters += character
    return letters


def _kinds(text: str, terms: list[str], places: list[tuple[int, int]]) -> Iterator[tuple[str, Index]]:
    """Every letter, in order of first use, and the vertices that carry it."""
    for letter in dict.fromkeys("".join(terms)):
        in_x, in_y = letter in terms[0], letter in terms[-1]
        held = tuple(f for f, term in enumerate(terms[1:-1]) if letter in term)
        where = text.index(letter, next(place[0] for place, term in zip(places, terms, strict=True) if letter in term))
        if in_x and in_y:
            fix = "an index may touch x or y, never both: give y a letter of its own"
            raise at(text, where, where + 1, f"index {letter!r} joins x and y", fix)
        if not held or (len(held) < 2 and not (in_x or in_y)):
            fix = "give it to a factor, x or y besides"
            if not held:
                fix = "give it to a factor too"
            raise at(text, where, where + 1, f"index {letter!r} touches one vertex only", fix)
        yield letter, Index(in_x, held, in_y)


def _values(text: str, start: int, kinds: dict[str, Index]) -> dict[str, Fraction]:
    """The numbers of `a=1/2, g=1/2` from text[start:]."""
    values: dict[str, Fraction] = {}
    for begin, end in _pieces(text, start, len(text), ","):
        piece = text[begin:end]
        if not piece.strip():
            continue
        begin, end = begin + len(piece) - len(piece.lstrip()), begin + len(piece.rstrip())
        name, equals, number = (part.strip() for part in piece.partition("="))
        if not equals or len(name) != 1 or not name.isalpha():
            raise at(text, begin, end, "no exponent", "write letter=number, as a=1/2")
        if name in values:
            raise at(text, begin, end, f"exponent of {name!r} is given twice", "give it once")
        if name not in kinds:
            raise at(text, begin, end, f"{name!r} is no index of the operands", f"name one of {', '.join(kinds)}")
        try:
            values[name] = parse_number(number, name)
        except EinsearchError as error:
            raise EinsearchError(f"{text!r}, character {begin + 1}: {error}") from None
    return values
