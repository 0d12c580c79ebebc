"""Closed forms in sympy: the same numbers as the taxonomy, and the forms of the paper."""

from fractions import Fraction

import sympy
from hypothesis import given, settings

from einsearch.space.einsum import Einsum
from einsearch.space.parse import parse_structure
from einsearch.space.symbolic import greek_letters, latex_forms, symbolic_forms, symbols
from einsearch.space.taxonomy import taxonomy


@settings(max_examples=60)
@given(...)
def test_the_forms_at_exponents_are_the_taxonomy(einsum: Einsum) -> None:
    of = symbols(einsum.structure)
    at = {of[index]: sympy.Rational(value.numerator, value.denominator) for index, value in einsum.exponents}
    found = taxonomy(einsum)
    expected = {"N": found.parameters, "F": found.macs, "omega": found.omega, "psi": found.psi, "nu": found.nu}
    for name, form in symbolic_forms(einsum.structure).items():
        value = form.subs(at)
        assert Fraction(int(value.p), int(value.q)) == expected[name], name


def test_two_factors_have_the_forms_of_the_paper() -> None:
    alpha, beta, delta, epsilon, rho = sympy.symbols("alpha beta delta epsilon rho", nonnegative=True)
    forms = symbolic_forms(parse_structure("abg,agdfr,bgefr->def"))
    first = sympy.Max(sympy.Min(alpha, epsilon), sympy.Min(beta, delta))
    assert forms["omega"] == sympy.Min(alpha + delta, beta + epsilon) - first
    assert forms["nu"] == 1 + rho - first


def test_latex() -> None:
    assert latex_forms(parse_structure("btt(1/4)")) == {
        "N": r"N = \rho - \min\left(\alpha, \epsilon\right) + 2",
        "F": r"F = \rho - \min\left(\alpha, \epsilon\right) + 2",
        "omega": r"\omega = 0",
        "psi": r"\psi = \min\left(1, \gamma + \phi + \rho\right)",
        "nu": r"\nu = \rho - \min\left(\alpha, \epsilon\right) + 1",
    }


def test_letters_for_people() -> None:
    assert "".join(greek_letters(parse_structure("abg,agdfr,bgefr->def")).values()) == "αβγδεφρ"
    assert "".join(greek_letters(parse_structure("a,ab,bc,cd->d")).values()) == "abcd"
