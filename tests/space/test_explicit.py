"""Operators at sizes that a person gives."""

from fractions import Fraction

import pytest

from einsearch.errors import EinsearchError
from einsearch.space.explicit import operator_at, parse_sizes

BTT = {"a": 24, "g": 32, "e": 48, "f": 64}


def test_sizes_are_taken_as_they_are() -> None:
    found = operator_at("ag,agf,gef->ef", BTT, 768, 3072)
    assert str(found) == "a24 g32 e48 f64"
    assert found.parameters == 24 * 32 * 64 + 32 * 48 * 64
    assert found.rank_bound == 768
    assert not found.padded
    assert operator_at("btt", BTT) == found


def test_exponents_are_logarithms_that_sum_to_one() -> None:
    found = operator_at("ag,agfr,gefr->ef", BTT | {"r": 5})
    values = dict(zip("agefr", (value for _, value in found.einsum.exponents), strict=True))
    assert values["a"] + values["g"] == values["e"] + values["f"] == 1
    assert values["r"] == Fraction(242, 1000)  # log_768 of 5


def test_an_index_of_size_one_is_left_out() -> None:
    found = operator_at("abg,agdfr,bgefr->def", {"a": 4, "b": 1, "g": 2, "d": 1, "e": 4, "f": 2, "r": 1})
    assert str(found.einsum.structure) == "ag,agf,gef->ef"
    assert operator_at("a,ab->b", {"a": 1, "b": 1}).parameters == 1


def test_two_letters_of_one_kind_multiply() -> None:
    found = operator_at("pq,pqr,re->e", {"p": 3, "q": 4, "r": 2, "e": 6}, 12, 6)
    assert str(found) == "a12 e6 r2"


@pytest.mark.parametrize(
    ("sizes", "d_in", "message"),
    [
        (BTT, 700, "sizes of x multiply to 768, not d_in 700: a=24, g=32; change one of them"),
        ({"a": 2}, None, "no size for index 'g' of ag,agf,gef->ef; give g=... too"),
        (BTT | {"z": 2}, None, "size of 'z', which is no index of ag,agf,gef->ef; its indices: a, g, f, e"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], d_in: int | None, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        operator_at("ag,agf,gef->ef", sizes, d_in)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=0", "size 'a=0' is not letter=positive integer; write them as a=24, g=32"),
        ("a=2.5", "size 'a=2.5' is not letter=positive integer; write them as a=24, g=32"),
        ("a", "size 'a' is not letter=positive integer; write them as a=24, g=32"),
        ("a=2, a=3", "size of 'a' is given twice; give it once"),
    ],
)
def test_what_is_no_size_is_refused(text: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        parse_sizes(text)
    assert str(error.value) == message


def test_sizes_are_read() -> None:
    assert parse_sizes(" a = 24,g=32 ,") == {"a": 24, "g": 32}
