"""Operators at integer sizes: counts, shapes, identity and text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.space.einsum import Einsum
from einsearch.space.operator import operator
from einsearch.space.parse import parse

DIMENSIONS = st.sampled_from([1, 5, 16, 48, 64, 97, 256])


@pytest.mark.parametrize(
    ("text", "d_in", "d_out", "parameters", "macs", "rank"),
    [
        ("dense", 64, 256, 64 * 256, 64 * 256, 64),
        ("btt", 64, 64, 2 * 8 * 64, 2 * 8 * 64, 64),
        ("btt(1/4)", 256, 256, 2 * 16 * 256 * 4, 2 * 16 * 256 * 4, 256),
        ("low-rank", 64, 64, 2 * 64 * 8, 2 * 64 * 8, 8),
        ("kronecker", 64, 64, 2 * 8 * 8, 2 * 64 * 8, 64),
        ("tensor-train(1/3)", 64, 64, 2 * 8 * 8 * 4, 2 * 64 * 8 * 4, 64),
    ],
)
def test_pinned_counts(text: str, d_in: int, d_out: int, parameters: int, macs: int, rank: int) -> None:
    found = operator(parse(text), d_in, d_out)
    assert (found.parameters, found.macs, found.rank_bound) == (parameters, macs, rank)


def test_padding_is_paid_for_and_named() -> None:
    found = operator(parse("btt"), 97, 64)  # a10 g10 e8 f8
    assert found.padded
    assert found.macs == 10 * 10 * 8 + 10 * 8 * 8
    assert found.rank_bound == 64
    assert str(found) == "a10 g10 e8 f8 padded 97->100, 64->64"
    exact = operator(parse("btt"), 64, 64)
    assert not exact.padded
    assert str(exact) == "a8 g8 e8 f8"


@given(einsum=..., d_in=DIMENSIONS, d_out=DIMENSIONS)
def test_shapes_hold_the_parameters(einsum: Einsum, d_in: int, d_out: int) -> None:
    found = operator(einsum, d_in, d_out)
    shapes = [found.factor_shape(f) for f in range(einsum.factors)]
    assert [math.prod(shape) for shape in shapes] == [found.factor_parameters(f) for f in range(einsum.factors)]
    assert found.parameters == sum(math.prod(shape) for shape in shapes)
    assert found.macs >= max(math.prod(shape) for shape in shapes)


def test_the_axes_of_a_factor_are_in_the_order_of_the_indices() -> None:
    found = operator(parse("(.5|.25|.25|.25|.5|.25|.5)"), 16, 256)  # a4 b2 g2, d4 e16 f4, r4
    assert found.factor_shape(0) == (4, 2, 4, 4, 4)  # alpha gamma delta phi rho
    assert found.factor_shape(1) == (2, 2, 16, 4, 4)  # beta gamma epsilon phi rho


def test_theta_that_round_to_one_operator_have_one_identity() -> None:
    found = {operator(parse(text), 64, 64).identity for text in ("btt", "(.49|0|.51|0|.51|.49|.01)")}
    assert found == {"64>64:xA8.xAB8.yB8.yAB8"}


def test_identity_tells_apart_what_computes_differently() -> None:
    texts = ["dense", "btt", "btt(1/3)", "kronecker", "low-rank", "(.67|0|.33|0|.33|.67|0)"]
    sizes = [(64, 64), (64, 256), (256, 64)]
    assert len({operator(parse(t), *d).identity for t in texts for d in sizes}) == len(texts) * len(sizes)
    wide = parse("(.67|0|.33|0|.5|.5|0)")
    assert operator(wide, 64, 64).identity != operator(wide.transpose(), 64, 64).identity


@pytest.mark.parametrize(
    ("text", "d", "reason"),
    [
        ("btt", 64, None),
        ("low-rank(.01)", 64, None),
        ("tensor-train(.01)", 64, None),
        ("(.9|0|.1|0|.9|.1|0)", 8, None),
        ("(.9|0|.1|.1|.8|.1|0)", 8, None),
        ("(.05|0|.95|.1|.05|.85|0)", 8, "factor A is absorbed by B: all its indices are B's too"),
    ],
)
def test_an_operator_may_degenerate_by_rounding(text: str, d: int, reason: str | None) -> None:
    assert operator(parse(text), d, d).degenerate_because == reason
