"""Closed forms as sympy expressions, for algebra by computer and for LaTeX."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from einsearch.space.closed_forms import bits, closed_forms, short_sum
from einsearch.space.lattice import lattice
from einsearch.space.structure import GREEK, Index, Structure, index_kinds

if TYPE_CHECKING:
    import sympy


def symbols(structure: Structure) -> dict[Index, sympy.Symbol]:
    """A non-negative symbol for the exponent of every index: the paper's Greek for two factors, else its letter."""
    import sympy

    two = structure.factors == 2
    names = dict(zip(index_kinds(2), GREEK, strict=True)) if two else structure.letters()
    return {index: sympy.Symbol(names[index], nonnegative=True) for index in structure.indices}


def symbolic_forms(structure: Structure) -> dict[str, sympy.Expr]:
    """N, F, omega, psi and nu as Min and Max of sums of exponents, in :func:`symbols`.

    Simplified by what the constraints say: x's exponents sum to 1, and y's.

    >>> from einsearch.space.parse import parse_structure
    >>> symbolic_forms(parse_structure("btt(1/4)"))["nu"]
    rho - Min(alpha, epsilon) + 1
    """
    import sympy

    forms, table = closed_forms(structure), lattice(structure)
    of = symbols(structure)
    letters = [of[index] for index in structure.indices]

    def total(mask: int) -> Any:
        constant, plus, minus = short_sum(table, mask)
        more, less = (sum(letters[n] for n in bits(part)) for part in (plus, minus))
        return sympy.Integer(constant) + more - less

    def reduced(function: Any, terms: list[Any]) -> Any:
        # The closed forms hold no needless term; sympy's own search for one takes minutes with a hundred orders.
        distinct = list(dict.fromkeys(terms))
        return distinct[0] if len(distinct) == 1 else function(*distinct, evaluate=False)

    def least(masks: Iterable[int]) -> Any:
        return reduced(sympy.Min, [total(mask) for mask in masks])

    lacks = least(forms.lacks)
    untouched = reduced(sympy.Max, [least(order) for order in forms.untouched])
    inner = total(table.inner)
    return {
        "N": 2 + inner - lacks,
        "F": 2 + inner - untouched,
        "omega": sympy.Integer(0) if forms.never_shares else lacks - untouched,
        "psi": least(forms.cuts),
        "nu": 1 + inner - untouched,
    }


def latex_forms(structure: Structure) -> dict[str, str]:
    """:func:`symbolic_forms` as LaTeX, `\\omega = ...` and so on."""
    import sympy

    heads = {"N": "N", "F": "F", "omega": r"\omega", "psi": r"\psi", "nu": r"\nu"}
    return {name: f"{heads[name]} = {sympy.latex(form)}" for name, form in symbolic_forms(structure).items()}


def greek_letters(structure: Structure) -> dict[Index, str]:
    """How exponents are written for people: the paper's Greek signs for two factors, else the letters."""
    if structure.factors != 2:
        return structure.letters()
    signs = dict(zip(index_kinds(2), "αβγδεφρ", strict=True))
    return {index: signs[index] for index in structure.indices}
