"""Names of structures: what they stand for, for any number of factors."""

from fractions import Fraction

import pytest

from einsearch.errors import EinsearchError
from einsearch.space.classify import Family, classify
from einsearch.space.families import NAMED, btt, from_name, kronecker, low_rank, tensor_train
from einsearch.space.parse import parse
from einsearch.space.taxonomy import taxonomy


@pytest.mark.parametrize("name", NAMED)
def test_every_named_family_may_be_searched_and_is_read_back(name: str) -> None:
    einsum = from_name(name)
    assert parse(name) == parse(str(einsum)) == einsum
    assert einsum.structure.reducible_because is None
    assert taxonomy(einsum).nu <= 1
    assert classify(einsum).family is not Family.GENERIC


@pytest.mark.parametrize("factors", range(2, 9))
@pytest.mark.parametrize("name", [name for name in NAMED if name != "dense"])
def test_every_family_of_matrices_has_any_number_of_factors(name: str, factors: int) -> None:
    einsum = from_name(f"{name}(factors={factors})")
    assert einsum.factors == factors
    assert parse(str(einsum)) == einsum
    assert einsum.structure.reducible_because is None
    assert taxonomy(einsum).nu <= 1
    assert classify(einsum).family is classify(from_name(name)).family


def test_two_factors_are_the_default() -> None:
    for name in NAMED:
        if name != "dense":
            assert from_name(name) == from_name(f"{name}(factors=2)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dense", "a,ab->b; a=1, b=1"),
        ("low-rank(1/4)", "(1|0|0|0|1|0|0.25)"),
        ("kronecker", "(0.5|0.5|0|0.5|0.5|0|0)"),
        ("tensor-train", "(0.5|0.5|0|0.5|0.5|0|0.25)"),
        ("monarch", "(0.5|0|0.5|0|0.5|0.5|0)"),
        ("btt", "(0.5|0|0.5|0|0.5|0.5|0)"),
        ("btt(1/3)", "(0.5|0|0.5|0|0.5|0.5|1/3)"),
        ("low-rank(1/4, factors=3)", "a,ac,cd,bd->b; a=1, b=1, c=0.25, d=0.25"),
        ("kronecker(factors=3)", "abc,ad,be,cf->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3"),
        (
            "tensor-train(1/8, factors=3)",
            "abc,adg,begh,cfh->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3, g=0.125, h=0.125",
        ),
        ("monarch(factors=3)", "abc,abcf,bcef,cdef->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3"),
        (
            "btt(1/8, factors=3)",
            "abc,abcfg,bcefgh,cdefh->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3, g=0.125, h=0.125",
        ),
    ],
)
def test_families_written_out(text: str, expected: str) -> None:
    assert str(from_name(text)) == expected


def test_a_name_is_read_freely() -> None:
    assert from_name("btt(1/3)").theta[-1] == Fraction(1, 3)
    assert from_name(" Low Rank ( 1/3 ) ") == from_name("low-rank(1/3)") == from_name("LOW-RANK(rank=1/3)")
    assert from_name("btt( factors = 3 , rank = .125 )") == from_name("btt(1/8, factors=3)") == btt(Fraction(1, 8), 3)
    assert from_name("btt(0)") == from_name("monarch")
    assert from_name("tensor-train(0, factors=4)") == from_name("kronecker(factors=4)")


RANKS = [Fraction(rank) for rank in ("0", "1/16", "1/3", "1")]


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("rank", RANKS)
def test_taxonomy_of_block_tensor_train(k: int, rank: Fraction) -> None:
    """A factor holds all of x or what is left of it, 1 + 1/k with the index of y it makes, and its one or two ranks."""
    found = taxonomy(btt(rank, k))
    ranks = rank if k == 2 else 2 * rank
    assert found.parameters == found.macs == 1 + Fraction(1, k) + ranks
    assert (found.omega, found.psi, found.nu) == (0, 1, Fraction(1, k) + ranks)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("rank", RANKS)
def test_taxonomy_of_tensor_train(k: int, rank: Fraction) -> None:
    """The intermediate holds one index of every core, of x or of y; a step adds one more, and its ranks."""
    found = taxonomy(tensor_train(rank, k))
    ranks = rank if k == 2 else 2 * rank
    assert found.parameters == Fraction(2, k) + ranks
    assert found.macs == 1 + Fraction(1, k) + ranks
    assert (found.omega, found.psi, found.nu) == (1 - Fraction(1, k), 1, Fraction(1, k) + ranks)
    assert taxonomy(kronecker(k)) == taxonomy(tensor_train(Fraction(0), k))


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("rank", RANKS)
def test_taxonomy_of_low_rank(k: int, rank: Fraction) -> None:
    found = taxonomy(low_rank(rank, k))
    assert (found.omega, found.psi, found.nu) == (0, rank, rank)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kronecker(1/2)",
            "family kronecker takes no rank, but '1/2' was given; write kronecker or kronecker(factors=3)",
        ),
        (
            "monarch(rank=1/2)",
            "family monarch takes no rank, but 'rank=1/2' was given; write monarch or monarch(factors=3)",
        ),
        ("dense(1)", "family dense takes no rank, but '1' was given; write dense"),
        ("dense(factors=2)", "family dense takes no 'factors'; write dense"),
        ("btt(cores=3)", "family btt takes no 'cores'; write btt(1/4) or btt(1/4, factors=3)"),
        ("btt(factors=1)", "family btt has 2 to 8 factors, not 1"),
        ("btt(factors=9)", "family btt has 2 to 8 factors, not 9"),
        ("btt(factors=2.5)", "family btt has 2 to 8 factors, not 2.5"),
        ("btt(factors=)", "family btt has 2 to 8 factors, not nothing"),
        ("btt(1/4, 1/8)", "family btt: rank is given twice; write btt(1/4) or btt(1/4, factors=3)"),
        ("btt(1/4, rank=1/4)", "family btt: rank is given twice; write btt(1/4) or btt(1/4, factors=3)"),
        (
            "kronecker(factors=3, factors=4)",
            "family kronecker: factors is given twice; write kronecker or kronecker(factors=3)",
        ),
        ("btt(nan)", "exponent rank of btt is not finite: nan; write a decimal or a fraction"),
        ("btt(-1)", "exponent rank of btt is negative: -1; exponents lie between 0 and 1"),
        ("btt()", "exponent rank of btt is not a number: nothing; write a decimal or a fraction"),
        ("btt(1/4,)", "family btt: rank is given twice; write btt(1/4) or btt(1/4, factors=3)"),
    ],
)
def test_what_is_no_family_is_refused(text: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        from_name(text)
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["bttt", "btt(1", "btt(1)(2)", "(btt)", "btt 2", ""])
def test_an_unknown_name_lists_the_known_ones(text: str) -> None:
    with pytest.raises(EinsearchError) as error:
        from_name(text)
    assert str(error.value) == (
        f"unknown structure {text!r}; give a family (dense, low-rank, kronecker, tensor-train, monarch, btt), "
        "a theta (alpha|beta|gamma|delta|epsilon|phi|rho) or an einsum string with exponents"
    )
