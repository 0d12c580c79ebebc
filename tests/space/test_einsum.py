"""An einsum: exact exponents over a structure, their rules, and how they are written."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum, write_number
from einsearch.space.families import btt, dense, kronecker
from einsearch.space.notation import parse_number
from einsearch.space.parse import parse
from einsearch.space.structure import Index, Structure, index_kinds

HALF = Fraction(1, 2)
X, Y, INNER = (True, False), (False, True), (False, False)


def index(side: tuple[bool, bool], *factors: int) -> Index:
    return Index(side[0], factors, side[1])


def test_zeros_are_no_indices_but_part_of_theta() -> None:
    einsum = parse("(.5|0|.5|0|.5|.5|0)")
    alpha, beta, gamma, _, epsilon, phi, _ = index_kinds(2)
    assert einsum.indices == (alpha, gamma, epsilon, phi)
    assert einsum.theta == (HALF, 0, HALF, 0, HALF, HALF, 0)
    assert einsum.of_factor(0) == {alpha, gamma, phi}
    assert beta not in einsum.indices


@settings(max_examples=50)
@given(...)
def test_theta_and_structure_are_the_whole_einsum(einsum: Einsum) -> None:
    assert len(einsum.theta) == 3 * (2**einsum.factors - 1) - einsum.factors
    assert Einsum.of(einsum.factors, dict(zip(index_kinds(einsum.factors), einsum.theta, strict=True))) == einsum
    assert einsum.structure == Structure(einsum.factors, einsum.indices)
    assert [einsum.of_factor(f) for f in range(einsum.factors)] == [
        einsum.structure.of_factor(f) for f in range(einsum.factors)
    ]


@settings(max_examples=50)
@given(...)
def test_transpose_is_an_involution_that_exchanges_x_and_y(einsum: Einsum) -> None:
    transposed = einsum.transpose()
    assert transposed.transpose() == einsum
    assert transposed.structure == einsum.structure.transpose()
    for i, exponent in einsum.exponents:
        assert dict(transposed.exponents)[Index(i.in_y, i.factors, i.in_x)] == exponent


def test_transpose_of_two_factors() -> None:
    assert str(parse("(.5|.25|.25|.1|.2|.7|.3)").transpose()) == "(0.1|0.2|0.7|0.5|0.25|0.25|0.3)"


@settings(max_examples=50)
@given(einsum=..., data=st.data())
def test_renaming_moves_the_exponents_with_their_indices(einsum: Einsum, data: st.DataObject) -> None:
    new_name = tuple(data.draw(st.permutations(range(einsum.factors))))
    renamed = einsum.renamed(new_name)
    assert renamed.structure == einsum.structure.renamed(new_name)
    for i, exponent in einsum.exponents:
        moved = Index(i.in_x, tuple(sorted(new_name[f] for f in i.factors)), i.in_y)
        assert dict(renamed.exponents)[moved] == exponent


def test_two_factors_are_written_as_theta_and_others_as_einsum_strings() -> None:
    assert str(btt()) == "(0.5|0|0.5|0|0.5|0.5|0)"
    assert btt().equation() == "ag,agf,gef->ef; a=0.5, g=0.5, e=0.5, f=0.5"
    assert str(dense()) == dense().equation() == "a,ab->b; a=1, b=1"
    assert str(kronecker(3)) == "abc,ad,be,cf->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3"
    assert repr(btt()) == "parse('(0.5|0|0.5|0|0.5|0.5|0)')"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("1", "1"),
        ("10", "10"),
        ("1/4", "0.25"),
        ("0.0001", "0.0001"),
        ("0.00005", "1/20000"),
        ("1/3", "1/3"),
        ("7/5", "1.4"),
    ],
)
def test_a_number_is_a_decimal_where_four_digits_are_exact(value: str, text: str) -> None:
    assert write_number(Fraction(value)) == text


@given(st.fractions(0, 10, max_denominator=10**6))
def test_a_written_number_is_read_back_exactly(value: Fraction) -> None:
    assert parse_number(write_number(value), "alpha") == value


DENSE = ((index(X, 0), Fraction(1)), (index(Y, 0), Fraction(1)))


@pytest.mark.parametrize(
    ("factors", "exponents", "message"),
    [
        (0, DENSE, "an einsum has at least one factor, not 0"),
        (1, DENSE[::-1], "the indices of an einsum are each given once, in the order of index_kinds"),
        (
            1,
            ((index(X, 0), HALF), (index(X, 0), HALF), DENSE[1]),
            "the indices of an einsum are each given once, in the order of index_kinds",
        ),
        (1, ((index(X, 0), Fraction(0)), DENSE[1]), "exponent 0 is not positive; leave out indices of size 1"),
        (1, (DENSE[0], (index(Y, 1), Fraction(1))), "index over factors (1,), but there are 1 factors"),
        (1, (DENSE[0], *DENSE), "exponents of x sum to 2, not 1: (1, 1); raise or lower the exponents of x"),
        (1, DENSE[:1], "exponents of y sum to 0, not 1: (); raise or lower the exponents of y"),
        (
            2,
            ((index(X, 0), HALF), (index(X, 1), Fraction(2, 5)), (index(Y, 0), Fraction(1))),
            "exponents of x sum to 0.9, not 1: (0.5, 0.4); raise or lower alpha, beta or gamma",
        ),
        (
            2,
            ((index(X, 0), Fraction(1)), (index(Y, 0), HALF), (index(Y, 0, 1), Fraction(3, 4))),
            "exponents of y sum to 1.25, not 1: (0.5, 0.75); raise or lower delta, epsilon or phi",
        ),
    ],
)
def test_an_einsum_that_is_none_is_refused(
    factors: int, exponents: tuple[tuple[Index, Fraction], ...], message: str
) -> None:
    with pytest.raises(EinsearchError) as error:
        Einsum(factors, exponents)
    assert str(error.value) == message


def test_a_negative_exponent_is_refused() -> None:
    with pytest.raises(EinsearchError) as error:
        Einsum.of(1, {index(X, 0): Fraction(3, 2), index(Y, 0): -HALF})
    assert str(error.value) == "exponent -0.5 is negative; exponents lie between 0 and 1"
