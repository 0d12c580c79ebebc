"""Rank from above, from below and measured, against singular values; cuts against each other."""

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

import einsearch.space.certificate as certificate_module
import einsearch.space.cut as cut_module
from einsearch.errors import EinsearchError
from einsearch.space.certificate import (
    WidePath,
    certificate,
    certified_rank,
    primes_rank,
    rank_of_paths,
    unpadded_sizes,
    widest_paths,
)
from einsearch.space.cut import Cut, cut_by_flow, cut_by_lattice, least_cut, min_cut
from einsearch.space.einsum import Einsum
from einsearch.space.families import btt, low_rank
from einsearch.space.measured_rank import matrix_modulo, measured_rank, product_modulo, rank_modulo
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse
from einsearch.space.plan import reference_plan
from einsearch.space.rank import rank_of
from einsearch.space.sizes import Sizes
from einsearch.space.structure import Index, index_kinds
from einsearch.space.taxonomy import taxonomy

Matrix = npt.NDArray[Any]
MOST = 64  # of the sizes of one side


def operator_at(factors: int, size: dict[Index, int], d_in: int | None = None, d_out: int | None = None) -> Operator:
    """An operator at given integer sizes, with some exponents."""
    sides = [[index for index in size if index.side == side] for side in range(3)]
    einsum = Einsum.of(factors, {index: Fraction(1, len(side)) for side in sides for index in side})
    padded_in, padded_out = (math.prod(size[index] for index in side) for side in sides[:2])
    of = tuple((index, size[index]) for index in einsum.indices)
    sizes = Sizes(d_in or padded_in, d_out or padded_out, padded_in, padded_out, of)
    return Operator(einsum, sizes, reference_plan(einsum, sizes))


def two_factors(*sizes: int) -> Operator:
    """Sizes of alpha beta gamma, delta epsilon phi, rho."""
    return operator_at(2, dict(zip(index_kinds(2), sizes, strict=True)))


def random_operators(factors: int, count: int, allowed: tuple[int, ...] = (2, 3, 4, 5, 6)) -> Iterator[Operator]:
    draw = random.Random(factors)
    while count:
        chosen: list[Index] = []
        for side in range(3):
            kinds = [index for index in index_kinds(factors) if index.side == side]
            chosen += draw.sample(kinds, min(len(kinds), draw.randint(side < 2, 3)))
        size = {index: draw.choice(allowed) for index in chosen}
        if all(math.prod(n for index, n in size.items() if index.side == side) <= MOST for side in range(3)):
            count -= 1
            yield operator_at(factors, size)


def dense(of: Operator, factors: list[Matrix]) -> Matrix:
    """The matrix (d_in, d_out) of some factors, by the definition."""
    left, y = of.einsum.structure.equation().split("->")
    x, *terms = left.split(",")
    matrix = np.einsum(f"{','.join(terms)}->{x}{y}", *factors, optimize=True)
    return matrix.reshape(of.sizes.padded_in, of.sizes.padded_out)[: of.sizes.d_in, : of.sizes.d_out]


def svd_rank(of: Operator) -> int:
    """The number of singular values above rounding, of normal factors."""
    generator = np.random.default_rng(0)
    shapes = [of.factor_shape(f) for f in range(of.einsum.factors)]
    return int(np.linalg.matrix_rank(dense(of, [generator.standard_normal(shape) for shape in shapes])))


def delta_factors(of: Operator, paths: tuple[WidePath, ...]) -> list[Matrix]:
    """The factors that the proof by paths chooses."""
    digits: dict[Index, list[dict[int, int] | None]] = {}
    for index, size in of.sizes.of:
        through = [(n, path.width) for n, path in enumerate(paths) if index in path.indices]
        room = math.prod(width for _, width in through)
        values: list[dict[int, int] | None] = []
        for value in range(size):
            rest, read = value, {}
            for n, width in through:
                rest, read[n] = divmod(rest, width)
            values.append(read if value < room else None)
        digits[index] = values
    found = []
    for f in range(of.einsum.factors):
        carried = [index for index in of.einsum.indices if f in index.factors]
        deltas = [
            (n, a, b)
            for n, path in enumerate(paths)
            for a, b in pairwise(path.indices)
            if f == min(set(a.factors) & set(b.factors))
        ]
        factor = np.zeros(of.factor_shape(f))
        for place in product(*(range(of.sizes[index]) for index in carried)):
            at = {index: digits[index][value] for index, value in zip(carried, place, strict=True)}
            held = {index: read for index, read in at.items() if read is not None}
            factor[place] = held == at and all(held[a][n] == held[b][n] for n, a, b in deltas)
        found.append(factor)
    return found


@given(einsum=...)
def test_the_minimum_cut_is_psi_both_ways(einsum: Einsum) -> None:
    assert cut_by_flow(einsum) == cut_by_lattice(einsum) == min_cut(einsum)
    assert (
        min_cut(einsum).value == taxonomy(einsum).psi == sum(dict(einsum.exponents)[i] for i in min_cut(einsum).indices)
    )


@pytest.mark.parametrize("factors", [4, 5])
def test_the_minimum_cut_of_more_factors(factors: int) -> None:
    draw = random.Random(factors)
    for of in random_operators(factors, 60):
        exponents = {index: draw.randint(1, 5) for index in of.einsum.indices}
        sums = [sum(n for index, n in exponents.items() if index.side == side) for side in range(3)]
        einsum = Einsum.of(factors, {i: Fraction(n, sums[i.side] * (1 + (i.side == 2))) for i, n in exponents.items()})
        assert cut_by_flow(einsum) == cut_by_lattice(einsum)
        assert min_cut(einsum).value == taxonomy(einsum).psi


@pytest.mark.parametrize(
    ("text", "value", "names", "factors"),
    [
        ("dense", "1", ["x.A"], ()),
        ("btt", "1", ["x.A", "x.AB"], ()),
        ("low-rank(1/2)", "1/2", ["AB"], (0,)),
        # gamma and phi, 1/4 each: A alone on the side of x.
        ("(.75|0|.25|0|.75|.25|0)", "1/2", ["x.AB", "y.AB"], (0,)),
        ("(.75|0|.25|0|.75|.25|.25)", "3/4", ["x.AB", "y.AB", "AB"], (0,)),
    ],
)
def test_cuts_worked_by_hand(text: str, value: str, names: list[str], factors: tuple[int, ...]) -> None:
    einsum = parse(text)
    found = min_cut(einsum)
    assert (found.value, [index.name for index in found.indices], found.factors) == (Fraction(value), names, factors)
    assert cut_by_flow(einsum) == found


def test_many_factors_go_through_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(einsum: Einsum) -> Cut[Fraction]:
        raise AssertionError(f"all cuts of {einsum.factors} factors compared")

    monkeypatch.setattr(cut_module, "cut_by_lattice", refuse)
    links = {Index(False, (f, f + 1), False): Fraction(1, 3 + abs(f - 4)) for f in range(11)}
    einsum = Einsum.of(12, dict(low_rank(factors=12).exponents) | links)
    found = min_cut(einsum)
    assert (found.value, found.factors) == (Fraction(1, 9), tuple(range(11)))  # the last link: 1 / (3 + 10 - 4)
    assert min_cut(btt(Fraction(1, 12), 20)).value == 1
    with pytest.raises(AssertionError, match="all cuts of 10 factors"):
        min_cut(btt(factors=10))


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_the_least_cut_is_the_bound(factors: int) -> None:
    for of in random_operators(factors, 60, (1, 2, 3, 4, 5, 6)):
        cut = least_cut(of)
        assert cut.value == of.rank_bound == of.sizes.product(frozenset(cut.indices))
        assert all(of.sizes[index] > 1 for index in cut.indices)


def test_a_cut_around_padding_is_the_dimension() -> None:
    of = operator(parse("btt"), 97, 97)
    assert (str(of), least_cut(of).value, of.rank_bound) == ("a10 g10 e10 f10 padded 97->100, 100->97", 97, 97)
    assert (least_cut(of).factors, [index.name for index in least_cut(of).indices]) == ((), ["x.A", "x.AB"])


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_bound_certificate_and_measure_enclose_the_rank_of_random_factors(factors: int) -> None:
    certified = 0
    for of in random_operators(factors, 80):
        rank, proof = svd_rank(of), certified_rank(of)
        assert proof <= rank <= of.rank_bound
        assert measured_rank(of).rank == rank
        found = rank_of(of)
        if found.exact:
            assert found.certified == found.bound == found.least == rank
            certified += 1
    assert certified > 60


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@pytest.mark.parametrize("prime", [2, 3])
def test_powers_of_one_prime_attain_the_bound(factors: int, prime: int) -> None:
    for of in random_operators(factors, 40, (1, prime, prime**2)):
        assert certified_rank(of) == primes_rank(of) == svd_rank(of) == of.rank_bound


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_the_factors_of_the_proof_have_the_rank_it_claims(factors: int) -> None:
    for of in random_operators(factors, 30):
        paths = widest_paths(of, of.rank_bound)
        matrix = dense(of, delta_factors(of, paths))
        assert np.linalg.matrix_rank(matrix.astype(float)) == rank_of_paths(of, paths)
        assert rank_of_paths(of, paths) >= primes_rank(of)


def test_wrong_paths_are_rejected() -> None:
    of = two_factors(8, 1, 8, 1, 8, 8, 1)  # BTT
    alpha, _, gamma, _, epsilon, phi, _ = (index for index, _ in of.sizes.of)
    right = (WidePath(8, (alpha, phi)), WidePath(8, (gamma, epsilon)))
    assert rank_of_paths(of, right) == 64
    for wrong, message in [
        (
            (*right, WidePath(2, (gamma, phi))),
            "index x.AB of size 8 is too small for its paths, of which x.AB y.AB has",
        ),
        ((WidePath(9, (alpha, phi)),), "index x.A of size 8 is too small"),
        ((WidePath(8, (alpha, epsilon)),), "no path from x to y of width 1 or more: x.A y.B, width 8"),
        ((WidePath(8, (alpha,)),), "no path"),
        ((WidePath(8, (phi, alpha)),), "no path"),
        ((WidePath(8, (alpha, gamma, gamma, phi)),), "no path"),
        ((WidePath(0, (alpha, phi)),), "no path"),
        ((WidePath(2, ()),), "no path from x to y of width 1 or more: no index"),
        ((WidePath(2, (Index(True, (0, 2), False), phi)),), "no path"),
    ]:
        with pytest.raises(EinsearchError, match=message):
            rank_of_paths(of, wrong)
    # The proof that the test above rebuilds does fail with paths that do not fit.
    bad = (WidePath(8, (alpha, phi)), WidePath(8, (gamma, phi)))
    assert np.linalg.matrix_rank(dense(of, delta_factors(of, bad)).astype(float)) < 64


@pytest.mark.parametrize(
    ("of", "rank", "bound"),
    [
        (two_factors(2, 2, 2, 3, 3, 1, 1), 7, 8),
        (two_factors(5, 3, 1, 3, 5, 1, 2), 14, 15),
    ],
)
def test_the_rank_may_be_below_every_cut(of: Operator, rank: int, bound: int) -> None:
    assert (svd_rank(of), of.rank_bound, least_cut(of).value) == (rank, bound, bound)
    found = rank_of(of, measure=True)
    assert found.measured is not None
    assert (found.measured.rank, found.least, found.exact, str(found)) == (rank, rank, True, str(rank))
    assert len(found.measured.primes) == 3
    assert 0 < found.measured.error < 1e-9
    unmeasured = rank_of(of)
    assert not unmeasured.exact
    assert str(unmeasured) == f"{unmeasured.certified} to {bound}"
    assert unmeasured.certified <= rank


def test_reasons_can_be_checked() -> None:
    proven = rank_of(operator(parse("btt"), 64, 64))
    assert proven.reason == "at most 64: the cut a8 g8; at least 64: paths a-f x8, g-e x8"
    assert (str(proven), proven.measured) == ("64", None)
    assert rank_of(operator(parse("btt"), 64, 64), measure=True) == proven  # nothing is left to measure
    odd = two_factors(2, 2, 2, 3, 3, 1, 1)
    assert rank_of(odd).reason == "at most 8: the cut a2 b2 g2; at least 4: paths a-d x2, b-e x2"
    assert rank_of(odd, measure=True).reason.startswith("at most 8: the cut a2 b2 g2; 7: random factors over GF(")
    assert ", wrong with probability " in rank_of(odd, measure=True).reason


SPLIT = two_factors(5, 1, 3, 1, 7, 2, 3)
"""BTT: rho gamma phi = 18, alpha gamma = 15, epsilon phi = 14; no paths are that wide."""


def test_two_factor_btt_is_certified_at_all_sizes() -> None:
    assert rank_of_paths(SPLIT, widest_paths(SPLIT, 14)) < 14
    assert (certified_rank(SPLIT), svd_rank(SPLIT), SPLIT.rank_bound) == (14, 14, 14)
    assert "block Tensor-Train" in certificate(SPLIT).reason
    for alpha, gamma, epsilon, phi, rho in product((2, 3, 5), (1, 3, 4), (2, 5), (2, 3), (1, 2, 3)):
        of = two_factors(alpha, 1, gamma, 1, epsilon, phi, rho)
        assert certified_rank(of) == of.rank_bound == svd_rank(of)
        # The factors exchanged.
        of = two_factors(1, alpha, gamma, epsilon, 1, phi, rho)
        assert certified_rank(of) == of.rank_bound == svd_rank(of)


def test_padding_is_cut_off_before_anything_is_claimed() -> None:
    draw = random.Random(0)
    loose = 0
    for factors in (1, 2, 3):
        for padded in random_operators(factors, 40):
            d_in, d_out = (draw.randint((n + 1) // 2, n) for n in (padded.sizes.padded_in, padded.sizes.padded_out))
            of = operator_at(factors, dict(padded.sizes.of), d_in, d_out)
            box = unpadded_sizes(of)
            assert all(math.prod(n for i, n in box.items() if i.side == s) <= d for s, d in enumerate((d_in, d_out)))
            rank = svd_rank(of)
            assert certified_rank(of) <= rank == measured_rank(of).rank <= of.rank_bound
            loose += certified_rank(of) < certified_rank(padded)
    assert loose > 0  # where it is cut off it may matter
    for gamma, phi, rho in product((2, 3, 4), (2, 3), (1, 2)):
        for d_in, d_out in product(range(2 * gamma, 4 * gamma), (3 * phi + 1, 5 * phi - 1)):
            sizes = dict(zip(index_kinds(2), (4, 1, gamma, 1, 5, phi, rho), strict=True))
            of = operator_at(2, sizes, d_in, d_out)
            assert certified_rank(of) == of.rank_bound == svd_rank(of)


def test_a_box_inside_the_padding() -> None:
    of = operator(parse("btt"), 97, 97)
    assert list(unpadded_sizes(of).values()) == [9, 10, 9, 10]
    of = operator_at(2, dict(zip(index_kinds(2), (2, 1, 8, 1, 4, 2, 1), strict=True)), 7, 8)
    assert list(unpadded_sizes(of).values()) == [1, 1, 7, 1, 4, 2, 1]


def test_rank_one_needs_no_path() -> None:
    of = operator_at(1, {Index(True, (0,), False): 1, Index(False, (0,), True): 5})
    assert (certified_rank(of), rank_of(of).reason) == (
        1,
        "at most 1: the cut of size 1; at least 1: any factors but zero",
    )


def test_the_search_for_paths_may_be_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_module, "MOST_CUTS", -1)
    of = operator_at(1, {Index(True, (0,), False): 6, Index(False, (0,), True): 12})
    assert widest_paths(of, 6) == ()
    assert (certified_rank(of), certificate(of).reason) == (
        6,
        "paths whose widths are primes, as many as the least cut for each prime",
    )


def test_measuring_is_refused_where_it_would_take_minutes() -> None:
    with pytest.raises(
        EinsearchError, match=r"a rank of up to 4096 at 4096 -> 4096 takes .* MACs, more than 3.4e\+10; "
    ):
        measured_rank(operator(parse("dense"), 4096, 4096))
    assert measured_rank(operator(parse("low-rank(1/4)"), 4096, 4096)).rank == 8


def test_what_attains_the_bound_is_proven_by_one_prime() -> None:
    found = measured_rank(operator(parse("kronecker"), 60, 60))
    assert (found.rank, found.error, len(found.primes)) == (60, 0.0, 1)
    assert found == measured_rank(operator(parse("kronecker"), 60, 60))
    assert found.primes != measured_rank(operator(parse("kronecker"), 60, 60), seed=1).primes


def test_all_primes_are_drawn_from_the_stated_number() -> None:
    sieve = np.ones(2**21, dtype=bool)
    for n in range(2, math.isqrt(2**21) + 1):
        sieve[n * n :: n] &= not sieve[n]
    assert sieve[2**20 :].sum() == 73_586
    for seed in range(5):
        assert sieve[list(measured_rank(two_factors(2, 2, 2, 3, 3, 1, 1), seed).primes)].all()


P = 2**21 - 9  # the greatest prime below 2^21


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
def test_residues_follow_the_definition(factors: int) -> None:
    generator = np.random.default_rng(0)
    for of in random_operators(factors, 20):
        weights = [generator.integers(P, size=of.factor_shape(f)) for f in range(factors)]
        exact = dense(of, [weight.astype(object) for weight in weights]) if factors < 3 else None
        small = [weight % 3 for weight in weights]
        np.testing.assert_array_equal(
            matrix_modulo(of, small, np.eye(of.sizes.d_in, dtype=np.int64), P), dense(of, list(small)) % P
        )
        if exact is not None:
            found = matrix_modulo(of, weights, np.eye(of.sizes.d_in, dtype=np.int64), P)
            np.testing.assert_array_equal(found, (exact % P).astype(np.int64))


def test_products_of_the_greatest_residues_are_exact() -> None:
    a, b = np.full((1, 5000), P - 1), np.full((5000, 1), P - 1)
    assert product_modulo(a, b, P).tolist() == [[5000]]  # (-1) * (-1), summed
    assert (
        product_modulo(np.zeros((3, 0), dtype=np.int64), np.zeros((0, 2), dtype=np.int64), P).tolist() == [[0, 0]] * 3
    )


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 7), (64, 65), (150, 100), (100, 150)])
def test_elimination_finds_the_rank_that_is_put_in(rows: int, columns: int) -> None:
    generator = np.random.default_rng(0)
    for rank in {0, 1, min(rows, columns) // 2, min(rows, columns)}:
        left, right = generator.integers(P, size=(rows, rank)), generator.integers(P, size=(rank, columns))
        matrix = product_modulo(left, right, P)
        assert rank_modulo(matrix, P) == rank
        # Columns of zeros and repeated rows leave it as it is.
        wide = np.hstack([np.zeros((rows, 70), dtype=np.int64), matrix])
        assert rank_modulo(np.vstack([wide, wide]), P) == rank
    permuted = np.eye(130, dtype=np.int64)[generator.permutation(130)]
    assert rank_modulo(permuted, P) == 130
