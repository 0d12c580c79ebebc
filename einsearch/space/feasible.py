"""Exponents of a structure that meet a condition on omega, psi and nu, or that there are none.

omega, psi and nu are minima and maxima of sums of exponents. So a linear condition on them is a linear
programme in the exponents once it is known which term of every minimum decides; where that matters, the
terms are tried one after the other (branch and bound). All exponents must be positive: with one at zero it
would be another structure. What is found is checked again with exact fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.space.closed_forms import bits, closed_forms
from einsearch.space.constraint import Constraint, Linear
from einsearch.space.einsum import Einsum
from einsearch.space.lattice import lattice
from einsearch.space.structure import Structure
from einsearch.space.taxonomy import taxonomy, taxonomy_arrays

NAMES = ("omega", "psi", "nu", "indices")
"""What a condition on structures may speak of: the taxonomy, and the number of indices."""

MOST_CASES = 1000
"""Alternatives (by or, != and not) that a condition may have: each is a linear programme of its own."""

_MARGIN = 1e-6
"""A maximin exponent below this counts as zero; real ones are fractions with small denominators."""

_TOLERANCE = 1e-7
_GRID = 12
_SAMPLES = 96
_LARGEST_DENOMINATOR = 5000


def witness(structure: Structure, condition: Constraint) -> Einsum | None:
    """Exponents, all positive and inner ones at most 1, for which a condition on NAMES holds; None if there are none.

    That there are none is decided in floating point: by linear programmes, with exponents below 1e-6 as zero.

    Raises EinsearchError where the condition is not linear, and where the solver finds exponents that no fractions
    with small denominators confirm.
    """
    guessed = _sampled(structure, condition)
    if guessed is not None:
        return guessed
    for case in condition.cases():
        if _needs_no_sharing(case) and closed_forms(structure).always_shares:
            continue
        found = _Programme(structure, case).solve()
        if found is None:
            continue
        einsum = _exact(structure, found)
        if einsum is None or not condition.holds(values_of(einsum)):
            near = ", ".join(f"{value:.6g}" for value in found)
            raise EinsearchError(
                f"condition {str(condition)!r} on {structure}: exponents near {near} meet it, but "
                f"no fractions with denominators up to {_LARGEST_DENOMINATOR} do; write it with simpler numbers"
            )
        return einsum
    return None


def _needs_no_sharing(case: tuple[Linear, ...]) -> bool:
    """Whether a case says that omega is at most 0."""
    return any(
        [name for name, _ in atom.coefficients] == ["omega"] and atom.constant >= 0 and atom.coefficients[0][1] > 0
        for atom in case
    )


def values_of(einsum: Einsum) -> dict[str, Fraction | int]:
    """The values of NAMES at a point."""
    found = taxonomy(einsum)
    return {"omega": found.omega, "psi": found.psi, "nu": found.nu, "indices": len(einsum.indices)}


def _sampled(structure: Structure, condition: Constraint) -> Einsum | None:
    """A quick look at round exponents: most conditions that can be met are met by some."""
    table = lattice(structure)
    counts = tuple(mask.bit_count() for mask in (table.x, table.y, table.inner))
    grid = _GRID * max(1, -(-max(counts[:2]) // (_GRID // 2)))
    units = _round_exponents(counts, grid)
    found = taxonomy_arrays(structure, units / grid)
    names = {"omega": found.omega, "psi": found.psi, "nu": found.nu}
    held = condition.holds_for(names | {"indices": np.full(len(units), len(structure.indices))})
    for row in np.flatnonzero(held):
        exponents = [Fraction(int(n), grid) for n in units[row]]
        einsum = Einsum.of(structure.factors, dict(zip(structure.indices, exponents, strict=True)))
        if condition.holds(values_of(einsum)):
            return einsum
    return None


@lru_cache(maxsize=512)
def _round_exponents(counts: tuple[int, ...], grid: int) -> npt.NDArray[np.int64]:
    """(samples, indices) positive integers that sum to `grid` over x and over y; always the same."""
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(_SAMPLES):
        row: list[int] = []
        for side, count in enumerate(counts):
            if side < 2:
                cuts = np.sort(generator.choice(np.arange(1, grid), count - 1, replace=False))
                row += [int(n) for n in np.diff(np.concatenate([[0], cuts, [grid]]))]
            else:
                row += [int(n) for n in generator.integers(1, grid // 2 + 1, count)]
        rows.append(row)
    return np.array(rows, dtype=np.int64)


def _exact(structure: Structure, found: npt.NDArray[np.float64]) -> Einsum | None:
    """The fractions with small denominators that a vertex of the programme is made of."""
    exponents = [Fraction(float(value)).limit_denominator(_LARGEST_DENOMINATOR) for value in found]
    by_index = dict(zip(structure.indices, exponents, strict=True))
    for side in (0, 1):
        if sum(value for index, value in by_index.items() if index.side == side) != 1:
            return None
    return Einsum.of(structure.factors, by_index) if min(exponents) > 0 else None


Row = dict[int, float]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A variable that is at most (sign 1) or at least (sign -1) each of some sums of variables."""

    variable: int
    terms: list[Row]
    sign: float

    def bound(self, term: Row) -> Row:
        """sign * (variable - term), which is at most 0."""
        return {column: -self.sign * value for column, value in term.items()} | {self.variable: self.sign}

    def deciding(self, term: Row) -> Row:
        """The other direction: at most 0 where the variable equals the term."""
        return {column: -value for column, value in self.bound(term).items()}

    def loose(self, values: npt.NDArray[np.float64]) -> bool:
        """Whether the variable equals none of its terms."""
        gaps = (sum(c * values[column] for column, c in self.bound(term).items()) for term in self.terms)
        return all(gap < -_TOLERANCE for gap in gaps)


class _Programme:
    """One alternative of a condition as linear programmes, branching on which term of a minimum decides.

    Variables: the exponents; t, the least exponent and strictness, maximised; then for every minimum or
    maximum a variable that is only bounded by its terms. Where the optimum does not meet the condition
    because a bound is not tight, each term in turn is made the deciding one.
    """

    def __init__(self, structure: Structure, case: tuple[Linear, ...]) -> None:
        self._structure = structure
        self._case = case
        self._count = len(structure.indices)
        self._variables = self._count + 1
        self._rows: list[tuple[Row, float]] = []  # sum of the row <= the number
        self._choices: list[_Choice] = []
        used = {name for atom in case for name, _ in atom.coefficients}
        self._names = self._expressions(used)
        self._conditions()

    def solve(self) -> npt.NDArray[np.float64] | None:
        """Exponents that meet the alternative, with a t above the margin; None where there are none."""
        return self._branch([])

    def _branch(self, tight: list[tuple[Row, float]]) -> npt.NDArray[np.float64] | None:
        found = self._maximise_t(tight)
        if found is None:
            return None
        theta = found[: self._count]
        loose = next((choice for choice in self._choices if choice.loose(found)), None)
        if loose is None or self._holds(theta):
            return theta
        for term in loose.terms:
            deeper = self._branch([*tight, (loose.deciding(term), 0.0)])
            if deeper is not None:
                return deeper
        return None

    def _maximise_t(self, tight: list[tuple[Row, float]]) -> npt.NDArray[np.float64] | None:
        from scipy.optimize import linprog

        rows = self._rows + tight
        matrix = np.zeros((len(rows), self._variables))
        for r, (row, _) in enumerate(rows):
            for column, value in row.items():
                matrix[r, column] = value
        objective = np.zeros(self._variables)
        objective[self._count] = -1.0
        table = lattice(self._structure)
        sums = np.zeros((2, self._variables))
        for r, side in enumerate((table.x, table.y)):
            sums[r, list(bits(side))] = 1.0
        bounds = [(0.0, 1.0)] * (self._count + 1) + [(0.0, None)] * (self._variables - self._count - 1)
        result = linprog(
            objective,
            A_ub=matrix,
            b_ub=[most for _, most in rows],
            A_eq=sums,
            b_eq=[1.0, 1.0],
            bounds=bounds,
            method="highs-ds",
        )
        if result.x is None or result.x[self._count] <= _MARGIN:
            return None
        found: npt.NDArray[np.float64] = result.x
        return found

    def _holds(self, theta: npt.NDArray[np.float64]) -> bool:
        """Whether the alternative holds at a point, whatever the bounded variables say."""
        found = taxonomy_arrays(self._structure, theta[None])
        values = {"omega": found.omega[0], "psi": found.psi[0], "nu": found.nu[0], "indices": float(self._count)}
        for atom in self._case:
            total = float(atom.constant) + sum(float(c) * values[name] for name, c in atom.coefficients)
            if total > (-_TOLERANCE if atom.sign == "<" else _TOLERANCE) or (atom.sign == "==" and total < -_TOLERANCE):
                return False
        return True

    def _conditions(self) -> None:
        t = self._count
        for n in range(self._count):
            self._rows.append(({t: 1.0, n: -1.0}, 0.0))
        for atom in self._case:
            row: Row = {}
            constant = float(atom.constant)
            for name, coefficient in atom.coefficients:
                offset, parts = self._names[name]
                constant += float(coefficient) * offset
                for variable, value in parts.items():
                    row[variable] = row.get(variable, 0.0) + float(coefficient) * value
            if atom.sign == "<":
                row[t] = row.get(t, 0.0) + 1.0
            self._rows.append((row, -constant))
            if atom.sign == "==":
                self._rows.append(({variable: -value for variable, value in row.items()}, constant))

    def _expressions(self, used: set[str]) -> dict[str, tuple[float, Row]]:
        """omega, psi and nu as constant and coefficients of variables."""
        forms = closed_forms(self._structure)
        inner = dict.fromkeys(bits(lattice(self._structure).inner), 1.0)
        found: dict[str, tuple[float, Row]] = {"indices": (float(self._count), {})}
        if {"omega", "nu"} & used:
            orders = [self._minimum(order) for order in forms.untouched]
            untouched = orders[0] if len(orders) == 1 else self._bounded([{order: 1.0} for order in orders], False)
            found["nu"] = (1.0, inner | {untouched: -1.0})
            lacks = untouched if forms.never_shares else self._minimum(forms.lacks)
            found["omega"] = (0.0, {} if forms.never_shares else {lacks: 1.0, untouched: -1.0})
        if "psi" in used:
            found["psi"] = (0.0, {self._minimum(forms.cuts): 1.0})
        self._choices.reverse()  # the maximum over orders before the minima that it is made of
        return found

    def _minimum(self, masks: Sequence[int]) -> int:
        """A variable that is at most some sums of exponents."""
        return self._bounded([dict.fromkeys(bits(mask), 1.0) for mask in masks], True)

    def _bounded(self, terms: list[Row], minimum: bool) -> int:
        variable = self._variables
        self._variables += 1
        choice = _Choice(variable, terms, 1.0 if minimum else -1.0)
        self._rows += [(choice.bound(term), 0.0) for term in terms]
        self._choices.append(choice)
        return variable


def where(structures: Iterator[Structure], condition: Constraint) -> Iterator[tuple[Structure, Einsum]]:
    """The structures that can meet a condition, each with exponents that do.

    Raises EinsearchError, before any structure is looked at, where the condition is not linear or has more
    than MOST_CASES alternatives.
    """
    cases = sum(1 for _ in islice(condition.cases(), MOST_CASES + 1))
    if cases > MOST_CASES:
        shown = f"{str(condition)[:60]!r}..."
        raise EinsearchError(f"condition {shown} has more than {MOST_CASES} alternatives; shorten it")
    return _found(structures, condition)


def _found(structures: Iterator[Structure], condition: Constraint) -> Iterator[tuple[Structure, Einsum]]:
    for structure in structures:
        einsum = witness(structure, condition)
        if einsum is not None:
            yield structure, einsum
