"""Text to einsum and back, exactly."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.einsum import GREEK, Einsum, index_kinds
from einsearch.space.notation import equation, from_theta, letters, parse, parse_number, write, write_number


@given(...)
def test_both_notations_are_read_back(einsum: Einsum) -> None:
    assert parse(write(einsum)) == einsum
    assert parse(equation(einsum, exponents=True)) == einsum
    assert parse(f"  {write(einsum)}\n") == einsum


@given(st.fractions(0, 10, max_denominator=10**6))
def test_a_written_number_is_read_back_exactly(value: Fraction) -> None:
    assert parse_number(write_number(value), "alpha") == value


@pytest.mark.parametrize(
    ("text", "theta"),
    [
        ("(0.5|0|0.5|0|0.5|0.5|0)", "1/2 0 1/2 0 1/2 1/2 0"),
        ("(.33|0|.67|0|.67|.33|0)", "33/100 0 67/100 0 67/100 33/100 0"),
        ("1/3|0|2/3|0|2/3|1/3|1/4", "1/3 0 2/3 0 2/3 1/3 1/4"),
        (" ( 1 | 0 | 0 | 0 | 1 | 0 | .75 ) ", "1 0 0 0 1 0 3/4"),
        # Rounding within 1e-6: the greatest exponent of the side takes the difference.
        (".3333333|0|.6666666|0|.6666667|.3333333|0", ".3333333 0 .6666667 0 .6666667 .3333333 0"),
    ],
)
def test_theta_is_exact(text: str, theta: str) -> None:
    expected = [Fraction(value) for value in theta.split()]
    assert list(parse(text).theta) == expected
    assert sum(parse(text).theta[:3]) == sum(parse(text).theta[3:6]) == 1


def test_floats_are_read_as_they_print() -> None:
    assert from_theta(0.33, 0.0, 0.67, 0.0, 0.67, 0.33, 0.1).theta[0] == Fraction(33, 100)
    thirds = from_theta(1 / 3, 0, 2 / 3, 0, 2 / 3, 1 / 3, 0)
    assert sum(thirds.theta[:3]) == 1


def test_the_equation_of_two_factors_has_the_letters_of_the_paper() -> None:
    theta = "(.5|.25|.25|.25|.5|.25|.25)"
    assert equation(parse(theta)) == "abg,agdfr,bgefr->def"
    assert equation(parse("btt"), exponents=True) == "ag,agf,gef->ef; a=0.5, g=0.5, e=0.5, f=0.5"
    named = letters(parse(theta))
    assert [named[kind] for kind in index_kinds(2)] == [name[0] if name != "phi" else "f" for name in GREEK]


def test_dense_is_written_as_an_einsum() -> None:
    assert write(parse("dense")) == "a,ab->b; a=1, b=1"
    assert parse("x,xy->y; x=1, y=1") == parse("dense")


def test_two_letters_on_the_same_vertices_are_one_index() -> None:
    assert parse("pq,pq r,re->e; p=1/2, q=1/2, r=1/4, e=1") == parse("low-rank(1/4)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "(.5|0|.4|0|.5|.5|0)",
            "exponents of x sum to 0.9, not 1: (0.5, 0.4); raise or lower alpha, beta or gamma",
        ),
        (
            "(.5|0|.5|0|.5|.6|0)",
            "exponents of y sum to 1.1, not 1: (0.5, 0.6); raise or lower delta, epsilon or phi",
        ),
        ("(1.5|-.5|0|0|.5|.5|0)", "exponent beta is negative: -.5; exponents lie between 0 and 1"),
        ("(nan|0|.5|0|.5|.5|0)", "exponent alpha is not finite: nan; write a decimal or a fraction"),
        ("(.5|0|.5|0|.5|.5|inf)", "exponent rho is not finite: inf; write a decimal or a fraction"),
        ("(.5|0|.5|0|.5|.5|-inf)", "exponent rho is not finite: -inf; write a decimal or a fraction"),
        ("(.5|0|x|0|.5|.5|0)", "exponent gamma is not a number: x; write a decimal or a fraction"),
        ("(.5||.5|0|.5|.5|0)", "exponent beta is not a number: nothing; write a decimal or a fraction"),
        ("(.5|0|1/0|0|.5|.5|0)", "exponent gamma is not a number: 1/0; write a decimal or a fraction"),
        (
            "(.5|0|.5|0|.5|.5)",
            "theta has 6 exponents, not 7: (.5|0|.5|0|.5|.5); write (alpha|beta|gamma|delta|epsilon|phi|rho)",
        ),
        (
            "butterfly",
            "unknown structure 'butterfly'; give a family (dense, low-rank, kronecker, tensor-train, monarch, "
            "btt), a theta (alpha|beta|gamma|delta|epsilon|phi|rho) or an einsum string with exponents",
        ),
        ("a->a; a=1", "einsum has no factor: a->a; a=1; write x,factor,...->y"),
        ("aa,ab->b; a=1, b=1", "operand 'aa' of 'aa,ab->b; a=1, b=1' must be different letters"),
        ("a,a1->b; a=1, b=1", "operand 'a1' of 'a,a1->b; a=1, b=1' must be different letters"),
        ("a,ab->b; a=1", "no exponent for index 'b' of 'a,ab->b; a=1'; add `; b=...`"),
        ("a,ab->b; a=1, b=1, c=1", "exponent of 'c', which is no index of 'a,ab->b'"),
        ("a,ab->b; a=1, b", "'b' is no exponent; write letter=number, as in a=1/2"),
        ("a,ab->b; a=1, a=1, b=1", "exponent of 'a' is given twice; give it once"),
        (
            "a,a->a; a=1",
            "index 'a' of 'a,a->a; a=1': an index joins x and y; an index may touch x or y, never both",
        ),
        (
            "a,abc->b; a=1, b=1, c=1",
            "index 'c' of 'a,abc->b; a=1, b=1, c=1': index over factors (0,) touches fewer than two vertices "
            "or no factor; an index joins a factor with x, y or another factor",
        ),
        ("a,ab->b; a=1/2, b=1", "exponents of x sum to 0.5, not 1: (0.5); raise or lower the exponents of x"),
    ],
)
def test_what_is_no_einsum_is_refused_with_value_rule_and_fix(text: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        parse(text)
    assert str(error.value) == message


def test_the_wrong_count_of_numbers_is_refused() -> None:
    with pytest.raises(EinsearchError, match=r"^theta has 2 exponents, not 7; give alpha, beta, gamma, "):
        from_theta(1, 1)
