"""Coordinates in [0, 1] that a sampler proposes, and the exponents they stand for."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from einsearch.space.einsum import Einsum
from einsearch.space.parametrization import GRID, coordinate_names, decode, decode_arrays, encode, keep_greatest
from einsearch.space.parse import parse
from einsearch.space.structure import GREEK, Index, index_kinds


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


def units(factors: int, row: np.ndarray) -> list[int]:
    """The exponents that `decode` gives, in units of the grid; a coordinate of -1 is not given."""
    names = coordinate_names(factors).values()
    einsum = decode(factors, {name: float(u) for name, u in zip(names, row, strict=True) if u >= 0})
    return [int(value * GRID) for value in einsum.theta]


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@pytest.mark.parametrize("power", [0.3, 1.0, 3.0])
def test_many_points_decode_as_each_does(factors: int, power: float) -> None:
    """Most on, half on, most off; the last rows are on few distinct values, so that remainders and greatest tie."""
    rng = np.random.default_rng(factors)
    rows = rng.random((120, len(index_kinds(factors)))) ** power
    rows[60:] = np.round(rows[60:] * 4) / 4
    rows[0], rows[1], rows[2] = 0.0, 0.5, 1.0
    assert decode_arrays(factors, rows).tolist() == [units(factors, row) for row in rows]


@given(st.data(), st.integers(1, 3))
def test_any_point_decodes_the_same_among_others(data: st.DataObject, factors: int) -> None:
    unit = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.75, 1.0, -1.0]))
    row = np.array([data.draw(unit) for _ in index_kinds(factors)])
    for side in (0, 1):  # x and y keep one coordinate at least
        first = next(n for n, kind in enumerate(index_kinds(factors)) if kind.side == side)
        row[first] = abs(row[first])
    others = np.random.default_rng(0).random((2, len(row)))
    assert decode_arrays(factors, np.vstack([others, row]))[2].tolist() == units(factors, row)


def test_the_grid_is_filled_in_every_row() -> None:
    rows = np.random.default_rng(0).random((2000, 18)) ** 0.5
    found = decode_arrays(3, rows)
    sides = np.array([kind.side for kind in index_kinds(3)])
    assert (found >= 0).all()
    for side in (0, 1):
        assert (found[:, sides == side].sum(axis=1) == GRID).all()
    assert (found[:, sides == 2] <= GRID).all()
    assert ((found[:, sides == 2] > 0) <= (rows[:, sides == 2] > 0.5)).all()


def kept(factors: int, row: np.ndarray, most: int) -> set[int]:
    """Which indices may stay: the greatest of x, that of y, then the greatest of all."""
    kinds = index_kinds(factors)
    first = [max((n for n, k in enumerate(kinds) if k.side == side), key=lambda n: row[n]) for side in (0, 1)]
    first.sort(key=lambda n: -row[n])
    rest = sorted((n for n in range(len(kinds)) if n not in first), key=lambda n: -row[n])
    return set([*first, *rest][:most])


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@pytest.mark.parametrize("most", [2, 3, 6, 40])
def test_the_greatest_coordinates_are_kept(factors: int, most: int) -> None:
    rows = np.random.default_rng(most).random((50, len(index_kinds(factors)))) ** 0.5
    found = keep_greatest(factors, rows, most)
    for row, after in zip(rows, found, strict=True):
        stay = kept(factors, row, most)
        assert [after[n] for n in stay] == [row[n] for n in stay]
        assert all(after[n] == min(row[n], 0.25) for n in set(range(len(row))) - stay)
    counts = (decode_arrays(factors, found) > 0).sum(axis=1)
    assert counts.max() <= most
    assert counts.min() >= 2


def test_what_has_few_indices_stays_as_it_is() -> None:
    row = np.array([[encode(parse("btt"))[name] for name in GREEK]])
    assert (keep_greatest(2, row, 4) == row).all()
    three = keep_greatest(2, row, 3)
    assert (decode_arrays(2, three) > 0).sum() == 3
    assert (row == np.array([[encode(parse("btt"))[name] for name in GREEK]])).all(), "the argument is left alone"


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
