"""Names of structures: what they stand for, and how an einsum is given one."""

from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum, reducible_because
from einsearch.space.families import NAMED, Family, classify, from_name, label
from einsearch.space.notation import parse, write
from einsearch.space.taxonomy import taxonomy


@pytest.mark.parametrize(
    ("text", "family", "shown", "reason"),
    [
        ("dense", Family.DENSE, "Dense", "one factor that carries all of x and y"),
        ("low-rank", Family.LOW_RANK, "Low rank d^0.5", "alpha = epsilon = 1: A maps x to rho, B maps rho to y"),
        ("(0|1|0|1|0|0|1/3)", Family.LOW_RANK, "Low rank d^1/3", "alpha = epsilon = 1: A maps x to rho"),
        ("kronecker", Family.KRONECKER, "Kronecker", "gamma = phi = rho = 0: A and B share no index"),
        ("(.25|.75|0|.5|.5|0|0)", Family.KRONECKER, "Kronecker", "gamma = phi = rho = 0"),
        ("tensor-train", Family.TENSOR_TRAIN, "Tensor-Train rank d^0.25", "gamma = phi = 0, rho > 0"),
        ("monarch", Family.MONARCH, "BTT rank 1", "beta = delta = rho = 0: two block-diagonal factors"),
        ("(0|.5|.5|.5|0|.5|0)", Family.MONARCH, "BTT rank 1", "beta = delta = rho = 0"),
        ("btt(.1)", Family.BTT, "BTT rank d^0.1", "beta = delta = 0, rho > 0: block Tensor-Train of that rank"),
        ("(.5|.25|.25|.25|.5|.25|0)", Family.GENERIC, "Generic", "no named family: beta or delta is not 0"),
        (
            "(.5|.5|0|0|1|0|.5)",
            Family.GENERIC,
            "Generic",
            "no named family: one of alpha, beta, delta, epsilon is 0",
        ),
        ("a,ab,bc,cd->d; a=1, b=.5, c=.5, d=1", Family.GENERIC, "Generic", "3 factors: no named family"),
    ],
)
def test_classification(text: str, family: Family, shown: str, reason: str) -> None:
    found = classify(parse(text))
    assert found.family is family
    assert found.reason.startswith(reason)
    assert label(parse(text)) == shown


@given(...)
def test_classification_does_not_see_the_names_of_the_factors(einsum: Einsum) -> None:
    found = {
        classify(Einsum.of(einsum.factors, {i.renamed(name): v for i, v in einsum.exponents}))
        for name in permutations(range(einsum.factors))
    }
    assert len(found) == 1


@pytest.mark.parametrize("name", NAMED)
def test_every_named_family_may_be_searched_and_is_read_back(name: str) -> None:
    einsum = from_name(name)
    assert parse(name) == parse(write(einsum)) == einsum
    assert reducible_because(frozenset(einsum.indices), einsum.factors) is None
    assert taxonomy(einsum).nu <= 1
    assert classify(einsum).family is not Family.GENERIC


def test_a_rank_is_exact_and_a_name_may_have_a_space() -> None:
    assert from_name("btt(1/3)").theta[-1] == Fraction(1, 3)
    assert from_name(" Low Rank ( 1/3 ) ") == from_name("low-rank(1/3)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kronecker(1/2)", "family kronecker takes no rank, but '1/2' was given; write kronecker"),
        ("btt(nan)", "exponent rank of btt is not finite: nan; write a decimal or a fraction"),
        ("btt(-1)", "exponent rank of btt is negative: -1; exponents lie between 0 and 1"),
        ("btt()", "exponent rank of btt is not a number: nothing; write a decimal or a fraction"),
    ],
)
def test_what_is_no_family_is_refused(text: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        from_name(text)
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["bttt", "btt(1", "(btt)", ""])
def test_an_unknown_name_lists_the_known_ones(text: str) -> None:
    with pytest.raises(EinsearchError, match=r"unknown structure .*dense, low-rank, kronecker, tensor-train"):
        from_name(text)
