"""The one door for text: three notations, one einsum."""

from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.einsum import Einsum
from einsearch.space.families import NAMED
from einsearch.space.parse import parse, parse_structure
from einsearch.space.structure import index_kinds

SHAPE = ModelShape(width=64, head_size=8)


def repeats_a_factor(einsum: Einsum) -> bool:
    """Whether two factors are on the same indices, which an einsum string may not say."""
    carried = [einsum.of_factor(f) for f in range(einsum.factors)]
    return any(a and a == b for a, b in combinations(carried, 2))


@given(...)
def test_what_is_written_is_read_back(einsum: Einsum) -> None:
    assume(not repeats_a_factor(einsum))
    assert parse(str(einsum)) == einsum
    assert parse(einsum.equation()) == einsum
    assert parse(f"  {einsum}\n") == einsum
    assert parse_structure(einsum.equation()) == parse_structure(str(einsum)) == einsum.structure


def test_one_operator_in_three_notations() -> None:
    monarch = parse("monarch")
    assert parse("(0.5|0|0.5|0|0.5|0.5|0)") == parse("0.5|0|0.5|0|0.5|0.5|0") == monarch
    assert parse("ag,agf,gef->ef; a=1/2, g=1/2, e=1/2, f=1/2") == monarch
    assert parse("x,xy->y; x=1, y=1") == parse("dense")


@pytest.mark.parametrize("name", NAMED)
def test_a_name_has_a_structure(name: str) -> None:
    assert parse_structure(f" {name} ") == parse(name).structure


def test_a_structure_needs_no_exponents() -> None:
    assert parse_structure("ag,agf,gef->ef") == parse("btt").structure
    assert parse_structure("(.25|0|.75|0|.5|.5|0)") == parse("btt").structure
    with pytest.raises(EinsearchError) as error:
        parse("ag,agf,gef->ef; e=1/2, f=1/2, a=1/2")
    assert str(error.value) == (
        "'ag,agf,gef->ef; e=1/2, f=1/2, a=1/2', character 2 ('g'): no exponent for index 'g'; "
        "add `g=0.5` behind the semicolon"
    )


def test_a_structure_leaves_out_indices_of_exponent_zero() -> None:
    assert parse("ab,abcr,rc->c; a=1, b=0, c=1, r=1/2").structure == parse_structure("a,acr,rc->c")


def test_spaces_around_the_text_do_not_move_the_place() -> None:
    with pytest.raises(EinsearchError, match=r"^'a,a1->b', character 4 \('1'\): an operand is made of letters; "):
        parse("  a,a1->b ")


@pytest.mark.parametrize("text", ["butterfly", "", "ag,agf,gef", "a,ab- >b"])
def test_what_is_in_no_notation_lists_all_three(text: str) -> None:
    with pytest.raises(EinsearchError) as error:
        parse(text)
    assert str(error.value) == (
        f"unknown structure {text!r}; give a family (dense, low-rank, kronecker, tensor-train, monarch, "
        "btt), a theta (alpha|beta|gamma|delta|epsilon|phi|rho) or an einsum string with exponents"
    )


def test_theta_and_a_string_with_the_factors_renamed_are_one_operator() -> None:
    theta = parse("(.25|.5|.25|.375|.625|0|.125)")
    # B first, letters at will, gamma in two parts.
    string = parse("pquv, quvw r, puvs r -> ws; p=.25, q=.5, u=.125, v=.125, w=.625, s=.375, r=.125")
    assert string != theta
    assert string.canonical() == theta.canonical()
    assert Candidate.of(string, SHAPE).key == Candidate.of(theta, SHAPE).key
    assert Candidate.of(string.transpose(), SHAPE).key != Candidate.of(theta, SHAPE).key


QUARTERS = st.sampled_from([n for n in product(range(5), repeat=3) if sum(n) == 4])


@settings(max_examples=50)
@given(QUARTERS, QUARTERS, st.integers(0, 4))
def test_every_theta_is_one_operator_with_its_string_renamed(x: tuple[int, ...], y: tuple[int, ...], rho: int) -> None:
    values = [Fraction(n, 4) for n in (*x, *y, rho)]
    theta = parse("|".join(map(str, values)))
    assume(not repeats_a_factor(theta))
    string = parse(theta.renamed((1, 0)).equation())
    assert string == Einsum.of(2, {kind.renamed((1, 0)): v for kind, v in zip(index_kinds(2), values, strict=True)})
    assert string.canonical() == theta.canonical()
    assert Candidate.of(string, SHAPE).key == Candidate.of(theta, SHAPE).key


@settings(max_examples=50)
@given(einsum=..., data=st.data())
def test_every_string_is_one_operator_with_its_factors_renamed(einsum: Einsum, data: st.DataObject) -> None:
    assume(not repeats_a_factor(einsum))
    left, right = einsum.structure.equation().split("->")
    x_term, *terms = left.split(",")
    values = einsum.equation().partition(";")[2]
    shuffled = data.draw(st.permutations(terms))
    string = parse(f"{x_term},{','.join(shuffled)}->{right};{values}")
    assert string.canonical() == einsum.canonical()
    assert string.structure.canonical() == einsum.structure.canonical()
    assert Candidate.of(string, SHAPE).key == Candidate.of(einsum, SHAPE).key
