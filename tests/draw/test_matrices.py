"""The chain of matrices is the einsum, and what is said to be shared is."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsearch.draw.matrices import MOST_ROWS, ZERO, sharing, step_matrices, terms, too_large
from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse

DIMENSIONS = [(16, 16), (8, 32), (12, 6), (7, 16)]


def random_factors(op: Operator, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(op.factor_shape(f)) for f in range(op.einsum.factors)]


def dense(op: Operator, factors: list[np.ndarray]) -> np.ndarray:
    """W as numpy's own einsum has it, without padding."""
    number = {index: n for n, index in enumerate(op.einsum.indices)}
    operands = []
    for f, factor in enumerate(factors):
        operands += [factor, [number[index] for index in op.einsum.indices if f in index.factors]]
    ends = [number[index] for side in (0, 1) for index in op.einsum.indices if index.side == side]
    matrix = np.einsum(*operands, ends, optimize="greedy").reshape(op.sizes.padded_in, op.sizes.padded_out)
    return matrix[: op.sizes.d_in, : op.sizes.d_out]


def chain(op: Operator, factors: list[np.ndarray]) -> np.ndarray:
    """W as the product of the matrices of the steps."""
    found = np.eye(op.sizes.padded_in)
    for step in step_matrices(op):
        values = np.append(factors[step.factor].ravel(), 0.0)  # ZERO is -1: the last
        found = found @ values[step.parameter]
    return found[: op.sizes.d_in, : op.sizes.d_out]


@given(einsum=..., dimensions=st.sampled_from(DIMENSIONS))
@settings(max_examples=60)
def test_the_chain_multiplies_to_the_einsum(einsum: Einsum, dimensions: tuple[int, int]) -> None:
    op = operator(einsum, *dimensions)
    assume(not too_large(op))
    factors = random_factors(op, 0)
    np.testing.assert_allclose(chain(op, factors), dense(op, factors), atol=1e-10)


@pytest.mark.parametrize("text", ["btt(factors=4)", "kronecker(factors=4)", "tensor-train(1/4, factors=4)"])
def test_four_factors(text):
    op = operator(parse(text), 16, 16)
    factors = random_factors(op, 1)
    np.testing.assert_allclose(chain(op, factors), dense(op, factors), atol=1e-10)


def test_random_structures_of_four_factors(diagram):
    op = diagram.operator
    if op is None or op.einsum.factors < 4:
        return
    op = operator(op.einsum, 16, 16)
    if too_large(op) is None:
        factors = random_factors(op, 2)
        np.testing.assert_allclose(chain(op, factors), dense(op, factors), atol=1e-10)


def test_that_comparison_can_fail():
    op = operator(parse("btt"), 16, 16)
    a, b = random_factors(op, 0)
    assert not np.allclose(chain(op, [a, b]), dense(op, [a.swapaxes(0, 1), b]))


@pytest.mark.parametrize(
    "text",
    ["dense", "btt(1/4)", "kronecker", "low-rank", "(.5|.25|.25|.25|.5|.25|.25)", "tensor-train(1/4, factors=3)"],
)
@pytest.mark.parametrize("dimensions", [(16, 16), (7, 16)])
def test_a_slice_is_what_changes_its_entries(text, dimensions):
    op = operator(parse(text), *dimensions)
    factors = random_factors(op, 3)
    before = dense(op, factors)
    inner = [index for index in op.einsum.indices if index.side == 2]
    for f, slices in enumerate(sharing(op)):
        assert slices.shape == before.shape
        carried = [index for index in op.einsum.indices if f in index.factors]
        axes = [n for n, index in enumerate(carried) if index not in inner]
        summed = [n for n, index in enumerate(carried) if index in inner]
        changed_factor = factors[f].copy()
        # One row a slice: x's and y's indices first, in order; the inner ones are the columns.
        rows = changed_factor.transpose(axes + summed).reshape(
            int(np.prod([changed_factor.shape[n] for n in axes], dtype=int)), -1
        )
        for flat in np.unique(slices)[:: max(1, rows.shape[0] // 5)]:
            edited = rows.copy()
            edited[flat] += 1.0
            shape = [changed_factor.shape[n] for n in axes + summed]
            back = np.argsort(axes + summed)
            after = dense(op, [*factors[:f], edited.reshape(shape).transpose(back), *factors[f + 1 :]])
            np.testing.assert_array_equal(~np.isclose(before, after, rtol=1e-9), slices == flat)


def test_terms_are_counted():
    assert (terms(operator(parse("btt"), 16, 16)) == 1).all()
    assert (terms(operator(parse("low-rank(1/2)"), 16, 16)) == 4).all()
    ones = operator(parse("(.5|.25|.25|.25|.5|.25|.25)"), 64, 64)
    every = [np.ones(ones.factor_shape(f)) for f in range(2)]
    np.testing.assert_array_equal(terms(ones), dense(ones, every))


def test_a_step_by_hand():
    # Monarch 4 -> 4: A[alpha gamma phi] takes x[alpha gamma] to z[gamma phi], block by block of gamma.
    first, second = step_matrices(operator(parse("btt"), 4, 4))
    assert first.parameter.tolist() == [[0, 1, -1, -1], [-1, -1, 2, 3], [4, 5, -1, -1], [-1, -1, 6, 7]]
    assert second.parameter.tolist() == [[0, -1, 2, -1], [-1, 1, -1, 3], [4, -1, 6, -1], [-1, 5, -1, 7]]
    assert ZERO == -1


def test_a_matrix_that_is_too_large():
    op = operator(parse("low-rank(1)"), 2 * MOST_ROWS, 16)
    with pytest.raises(EinsearchError, match=r"step of factor A is a matrix of 2,048 x 16; at most 1,024 rows"):
        step_matrices(op)
