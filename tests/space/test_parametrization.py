"""Coordinates in [0, 1] that a sampler proposes, and the exponents they stand for."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from einsearch.space.einsum import GREEK, Einsum, Index
from einsearch.space.notation import parse
from einsearch.space.parametrization import GRID, coordinate_names, decode, encode


def test_names_of_coordinates() -> None:
    assert tuple(coordinate_names(2).values()) == GREEK
    assert list(coordinate_names(1).values()) == ["x.A", "y.A"]
    three = coordinate_names(3)
    assert len(set(three.values())) == len(three) == 18
    assert three[Index(True, (0, 2), False)] == "x.AC"
    assert three[Index(False, (0, 1, 2), True)] == "y.ABC"
    assert three[Index(False, (1, 2), False)] == "BC"


@given(st.data(), st.integers(1, 3))
def test_any_coordinates_decode_to_an_einsum_on_the_grid(data: st.DataObject, factors: int) -> None:
    unit = st.floats(0, 1)
    einsum = decode(factors, {name: data.draw(unit) for name in coordinate_names(factors).values()})
    for side in (lambda i: i.in_x, lambda i: i.in_y):
        assert sum(value for index, value in einsum.exponents if side(index)) == 1
    assert all(0 < value <= 1 and (value * GRID).denominator == 1 for _, value in einsum.exponents)


@given(...)
def test_encoding_is_undone_by_decoding(einsum: Einsum) -> None:
    decoded = decode(einsum.factors, encode(einsum))
    assert all(0 <= value <= 1 for value in encode(einsum).values())
    assert decoded.indices == einsum.indices
    for (_, exact), (_, rounded) in zip(einsum.exponents, decoded.exponents, strict=True):
        assert abs(exact - rounded) < Fraction(1, GRID)
    # What is on the grid comes back as it is.
    assert decode(decoded.factors, encode(decoded)) == decoded


@pytest.mark.parametrize("text", ["btt", "btt(1/4)", "kronecker", "low-rank", "(.5|.25|.25|.1|.2|.7|.3)"])
def test_named_structures_come_back_exactly(text: str) -> None:
    assert decode(2, encode(parse(text))) == parse(text)


def test_a_coordinate_left_out_leaves_its_index_out() -> None:
    values = {name: 0.9 for name in GREEK if name not in ("beta", "delta", "rho")}
    assert decode(2, values) == parse("btt")


def test_where_no_index_is_on_the_greatest_coordinate_takes_all() -> None:
    values = {"alpha": 0.2, "beta": 0.4, "gamma": 0.3, "delta": 0.1, "epsilon": 0.5, "phi": 0.0, "rho": 0.5}
    assert decode(2, values) == parse("(0|1|0|0|1|0|0)")


@pytest.fixture(scope="module")
def sampled() -> list[tuple[Fraction, ...]]:
    rng = np.random.default_rng(0)
    return [decode(2, dict(zip(GREEK, rng.random(7), strict=True))).theta for _ in range(6000)]


def test_uniform_coordinates_reach_every_support_equally(sampled: list[tuple[Fraction, ...]]) -> None:
    """Eight supports of a side with 1/8 each; the empty one becomes the vertices, 1/24 each."""
    for side in (slice(0, 3), slice(3, 6)):
        count = Counter(tuple(value > 0 for value in theta[side]) for theta in sampled)
        assert len(count) == 7
        for support, times in count.items():
            expected = 1 / 8 + (1 / 24 if sum(support) == 1 else 0)
            assert times / len(sampled) == pytest.approx(expected, abs=0.02)
    assert sum(theta[6] == 0 for theta in sampled) / len(sampled) == pytest.approx(0.5, abs=0.02)


def test_within_a_support_the_exponents_are_uniform(sampled: list[tuple[Fraction, ...]]) -> None:
    """On the simplex of n vertices one coordinate has the distribution function 1 - (1 - t)^(n - 1)."""
    edges = [float(t[0]) for t in sampled if t[0] > 0 and t[1] > 0 and t[2] == 0]
    insides = [float(t[0]) for t in sampled if min(t[:3]) > 0]
    inner = [float(t[6]) for t in sampled if t[6] > 0]
    assert min(len(edges), len(insides), len(inner)) > 500
    assert kstest(edges, "uniform").pvalue > 0.01
    assert kstest(insides, lambda t: 1 - (1 - t) ** 2).pvalue > 0.01
    assert kstest(inner, "uniform").pvalue > 0.01
    assert kstest(insides, "uniform").pvalue < 1e-6  # the check can fail
