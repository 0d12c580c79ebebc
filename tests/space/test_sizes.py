"""Exponents to integer sizes: exact products, the nearest ones, padding, ties and rank."""

import math
import random
from collections.abc import Iterator
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.operator import operator
from einsearch.space.parse import parse
from einsearch.space.sizes import (
    Sizes,
    canonical_sizes,
    integer_sizes,
    nearest_factorizations,
    rank_bound,
    renamed_sizes,
)
from einsearch.space.structure import Index, index_kinds

Of = tuple[tuple[Index, int], ...]

DIMENSIONS = st.sampled_from([1, 2, 7, 12, 16, 48, 60, 64, 97, 128, 192, 256])


def factorizations(d: int, count: int) -> Iterator[tuple[int, ...]]:
    """All ordered ways to write d as a product, the obvious way."""
    if count == 1:
        yield (d,)
        return
    for n in range(1, d + 1):
        if d % n == 0:
            yield from ((n, *rest) for rest in factorizations(d // n, count - 1))


def squared_error(d: int, sizes: tuple[int, ...], exponents: tuple[float, ...]) -> float:
    return sum((math.log(n) / math.log(d) - e) ** 2 for n, e in zip(sizes, exponents, strict=True))


@pytest.mark.parametrize("d", [2, 12, 48, 64, 96, 97, 128, 192, 256, 384, 768, 1024, 3072])
@pytest.mark.parametrize(
    "exponents", [(1.0,), (0.5, 0.5), (0.33, 0.67), (0.75, 0.25), (0.25, 0.5, 0.25), (1 / 3, 1 / 3, 1 / 3)]
)
def test_factorizations_are_the_nearest_of_all(d: int, exponents: tuple[float, ...]) -> None:
    errors = {sizes: squared_error(d, sizes, exponents) for sizes in factorizations(d, len(exponents))}
    least = min(errors.values())
    nearest = {sizes for sizes, error in errors.items() if error < least + 1e-9}
    assert len(nearest) <= 16
    assert set(nearest_factorizations(d, exponents)) == nearest


def smooth(n: int) -> bool:
    return all(p in (2, 3, 5) for p in range(2, n + 1) if n % p == 0 and all(p % q for q in range(2, p)))


def worst_error(d: int, exponents: tuple[float, ...]) -> float:
    """The worst error of an exponent in the best exact factorization of d."""
    best = min(factorizations(d, len(exponents)), key=lambda sizes: squared_error(d, sizes, exponents))
    return max(abs(math.log(n, d) - e) for n, e in zip(best, exponents, strict=True))


@pytest.mark.parametrize("exponents", [(0.5, 0.5), (0.4, 0.6)])
def test_padding_goes_to_the_next_smooth_size_and_only_where_it_must(exponents: tuple[float, float]) -> None:
    einsum = parse("({}|0|{}|0|1|0|1/2)".format(*exponents))
    near = [n for n in range(2, 200) if smooth(n) and worst_error(n, exponents) <= 0.15]
    padded = 0
    for d in range(2, 130):
        sizes = integer_sizes(einsum, d, 64)
        assert (sizes.d_in, sizes.d_out, sizes.padded_out) == (d, 64, 64)
        assert math.prod(n for index, n in sizes.of if index.in_x) == sizes.padded_in
        above = [n for n in near if d < n <= 2 * d]
        assert sizes.padded_in == (d if worst_error(d, exponents) <= 0.15 or not above else above[0])
        padded += sizes.padded_in > d
    assert 30 < padded < 128


@pytest.mark.parametrize(
    ("theta", "d_in", "d_out", "padded", "expected"),
    [
        ("btt", 64, 64, (64, 64), "a8 g8 e8 f8"),
        ("btt", 64, 256, (64, 256), "a8 g8 e16 f16"),
        ("btt", 97, 64, (100, 64), "a10 g10 e8 f8"),
        ("btt", 64, 97, (64, 100), "a8 g8 e10 f10"),
        ("low-rank", 97, 97, (97, 97), "a97 e97 r10"),
        ("low-rank", 64, 256, (64, 256), "a64 e256 r8"),
        ("btt(1/4)", 256, 256, (256, 256), "a16 g16 e16 f16 r4"),
        ("dense", 97, 13, (97, 13), "a97 b13"),
    ],
)
def test_pinned_sizes(theta: str, d_in: int, d_out: int, padded: tuple[int, int], expected: str) -> None:
    einsum = parse(theta)
    sizes = integer_sizes(einsum, d_in, d_out)
    assert (sizes.padded_in, sizes.padded_out) == padded
    assert " ".join(f"{einsum.structure.letters()[index]}{n}" for index, n in sizes.of) == expected


@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_sizes_of_each_side_multiply_to_the_dimension(einsum: Einsum, d_in: int, d_out: int) -> None:
    sizes = integer_sizes(einsum, d_in, d_out)
    assert tuple(index for index, _ in sizes.of) == einsum.indices
    assert math.prod(n for index, n in sizes.of if index.in_x) == sizes.padded_in
    assert math.prod(n for index, n in sizes.of if index.in_y) == sizes.padded_out
    assert d_in <= sizes.padded_in <= 2 * d_in
    assert d_out <= sizes.padded_out <= 2 * d_out
    smaller = min(d_in, d_out)
    for index, exponent in einsum.exponents:
        if not (index.in_x or index.in_y):
            target = float(exponent) * math.log(smaller)
            error = abs(math.log(sizes[index]) - target)
            assert error <= min(abs(math.log(n) - target) for n in range(1, smaller + 2)) + 1e-12


@pytest.mark.parametrize("d", [32, 96, 128, 192, 768])
def test_of_equally_near_sizes_the_greatest_rank_and_then_the_fewest_parameters_win(d: int) -> None:
    """For BTT: alpha * gamma = epsilon * phi = d, rank min(d, gamma * phi), (gamma + phi) * d parameters."""
    sizes = dict(integer_sizes(parse("btt"), d, d).of)
    nearest = nearest_factorizations(d, (0.5, 0.5))
    assert len(nearest) > 1
    best = min((-min(d, g * p), (g + p) * d) for (_, g), (_, p) in product(nearest, nearest))
    _, gamma, _, phi = sizes.values()
    assert (-min(d, gamma * phi), (gamma + phi) * d) == best


@settings(max_examples=40)
@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_sizes_do_not_see_the_names_of_the_factors(einsum: Einsum, d_in: int, d_out: int) -> None:
    """Up to a symmetry of the structure, which the identity of the operator leaves out."""
    for name in permutations(range(einsum.factors)):
        assert operator(einsum.renamed(name), d_in, d_out).identity == operator(einsum, d_in, d_out).identity


def renamed(of: Of, new_name: tuple[int, ...]) -> Of:
    return tuple((index.renamed(new_name), n) for index, n in of)


@st.composite
def small_sizes(draw: st.DrawFn, factors: int) -> Of:
    """Sizes of a few indices, many of them equal, some 1."""
    kinds = index_kinds(factors)
    chosen = draw(st.dictionaries(st.sampled_from(kinds), st.integers(1, 3), min_size=1, max_size=8))
    return tuple(sorted(chosen.items(), key=lambda item: item[0].sort_key))


@settings(max_examples=50)
@given(small_sizes(2))
def test_canonical_sizes_of_two_factors_are_the_lesser_of_both_namings(of: Of) -> None:
    assert canonical_sizes(of, 2) == min(renamed_sizes(of, (0, 1)), renamed_sizes(of, (1, 0)))


def test_sizes_keyed_by_their_place() -> None:
    """Sort key (side, number of factors, factors) and size, without indices of size 1."""
    of = sized(parse("(.25|.5|.25|.5|.5|0|.125)"), [2, 4, 1, 8, 3, 1]).of
    assert renamed_sizes(of, (0, 1)) == (((0, 1, (0,)), 2), ((0, 1, (1,)), 4), ((1, 1, (0,)), 8), ((1, 1, (1,)), 3))
    assert renamed_sizes(of, (1, 0)) == (((0, 1, (0,)), 4), ((0, 1, (1,)), 2), ((1, 1, (0,)), 3), ((1, 1, (1,)), 8))
    assert canonical_sizes(of, 2) == renamed_sizes(of, (0, 1))


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@settings(max_examples=40)
@given(data=st.data())
def test_canonical_sizes_are_equal_exactly_for_renamings(factors: int, data: st.DataObject) -> None:
    of = data.draw(small_sizes(factors))
    namings = list(permutations(range(factors)))
    assert {canonical_sizes(renamed(of, name), factors) for name in namings} == {canonical_sizes(of, factors)}
    assert canonical_sizes(of, factors) in {renamed_sizes(of, name) for name in namings}
    other = data.draw(small_sizes(factors))
    alike = any(renamed_sizes(other, name) == renamed_sizes(of, tuple(range(factors))) for name in namings)
    assert (canonical_sizes(other, factors) == canonical_sizes(of, factors)) == alike


@settings(max_examples=50)
@given(einsum=..., data=st.data())
def test_exchanged_sizes_have_one_key_only_where_a_renaming_exchanges_them(einsum: Einsum, data: st.DataObject) -> None:
    values = [data.draw(st.integers(1, 3)) for _ in einsum.indices]
    shuffled = data.draw(st.permutations(values))
    of, other = sized(einsum, values).of, sized(einsum, shuffled).of
    namings = list(permutations(range(einsum.factors)))
    alike = any(renamed_sizes(other, name) == renamed_sizes(of, namings[0]) for name in namings)
    assert (canonical_sizes(other, einsum.factors) == canonical_sizes(of, einsum.factors)) == alike


@pytest.mark.parametrize("name", ["kronecker", "monarch", "tensor-train", "low-rank"])
def test_eight_factors_have_one_key_whatever_they_are_called(name: str) -> None:
    einsum = parse(f"{name}(factors=8)")
    rng = random.Random(0)
    names = [tuple(rng.sample(range(8), 8)) for _ in range(5)]
    assert len({operator(einsum.renamed(new_name), 256, 256).identity for new_name in names}) == 1


@pytest.mark.parametrize(("d_in", "d_out", "name"), [(0, 8, "d_in is 0"), (8, -1, "d_out is -1")])
def test_a_dimension_is_positive(d_in: int, d_out: int, name: str) -> None:
    with pytest.raises(EinsearchError, match=f"^{name}; a dimension is a positive integer$"):
        integer_sizes(parse("btt"), d_in, d_out)


def sized(einsum: Einsum, values: list[int]) -> Sizes:
    """Any sizes at all, whatever the exponents say."""
    of = tuple(zip(einsum.indices, values, strict=True))
    d_in = math.prod(n for index, n in of if index.in_x)
    d_out = math.prod(n for index, n in of if index.in_y)
    return Sizes(d_in, d_out, d_in, d_out, of)


def rank_of_random_factors(einsum: Einsum, sizes: Sizes) -> int:
    """By NumPy, from the einsum as a string: the rank of the matrix x -> y."""
    named = {einsum.structure.letters()[index]: n for index, n in sizes.of}
    left, y_term = einsum.structure.equation().split("->")
    x_term, *terms = left.split(",")
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal([named[name] for name in term]) for term in terms]
    matrix = np.einsum(f"{','.join(terms)}->{x_term}{y_term}", *factors, optimize=True)
    return int(np.linalg.matrix_rank(matrix.reshape(sizes.d_in, sizes.d_out)))


def least_cut(einsum: Einsum, sizes: Sizes) -> int:
    """Over all ways to put the factors with x or with y: the product of the sizes that join the two."""
    found = []
    for n in range(einsum.factors + 1):
        for with_x in combinations(range(einsum.factors), n):
            cut = 1
            for index, size in sizes.of:
                near_x = {f in with_x for f in index.factors}
                if (index.in_x and False in near_x) or (index.in_y and True in near_x) or len(near_x) == 2:
                    cut *= size
            found.append(cut)
    return min(found)


@settings(derandomize=True)
@given(einsum=..., data=st.data())
def test_rank_bound_is_the_least_cut_and_bounds_the_rank(einsum: Einsum, data: st.DataObject) -> None:
    sizes = sized(einsum, [data.draw(st.integers(1, 4)) for _ in einsum.indices])
    assert rank_bound(einsum, sizes) == least_cut(einsum, sizes)
    assert rank_of_random_factors(einsum, sizes) <= rank_bound(einsum, sizes)


@settings(derandomize=True)
@given(einsum=..., data=st.data())
def test_rank_reaches_its_bound_at_powers_of_two(einsum: Einsum, data: st.DataObject) -> None:
    """Observed without exception, not proved: the cases drawn are the same in every run."""
    sizes = sized(einsum, [data.draw(st.sampled_from([1, 2, 4])) for _ in einsum.indices])
    assert rank_of_random_factors(einsum, sizes) == rank_bound(einsum, sizes)


@pytest.mark.parametrize(
    ("theta", "values", "rank", "bound"),
    [
        ("(.4|.3|.3|.4|.3|.3|.1)", [2, 2, 2, 3, 3, 1, 1], 7, 8),
        ("(.5|.3|.2|.3|.5|.2|.1)", [5, 3, 1, 3, 5, 1, 2], 14, 15),
    ],
)
def test_known_sizes_whose_rank_is_less_than_the_bound(theta: str, values: list[int], rank: int, bound: int) -> None:
    einsum = parse(theta)
    sizes = sized(einsum, values)
    assert rank_of_random_factors(einsum, sizes) == rank
    assert rank_bound(einsum, sizes) == bound


def test_rank_bound_leaves_padding_out() -> None:
    assert rank_bound(parse("btt"), integer_sizes(parse("btt"), 97, 97)) == 97
