"""Structured approximation of matrices: optimal where a closed form is, exact where the matrix has the structure."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.kernels.einsum.merged import dense_matrix
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.project import project, project_into, relative_error
from einsearch.layers.project_als import AlternatingLeastSquares
from einsearch.layers.project_svd import split, split_is_optimal
from einsearch.space.einsum import Einsum
from einsearch.space.operator import Operator, operator
from einsearch.space.parse import parse

CLOSED = {
    "dense": "dense",
    "low-rank": "low-rank",
    "kronecker": "kronecker",
    "tensor-train": "tensor-train",
    "monarch": "monarch",
    "btt": "btt(1/4)",
    "generic": "(.5|.25|.25|.25|.5|.25|.25)",
    "no-contraction": "(0|0|1|.5|.5|0|0)",
}
TRAINS = {
    "low-rank-3": "low-rank(1/2, factors=3)",
    "kronecker-3": "kronecker(factors=3)",
    "tensor-train-3": "tensor-train(1/8, factors=3)",
    "btt-3": "btt(1/8, factors=3)",
    "chain": "a,abp,bcpq,cdq->d; a=1, b=1/3, c=1/3, d=1, p=1/4, q=1/4",
}
LOOP = "abc,adr,berp,cfp->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3, r=1/6, p=1/6"
TRIANGLE = "abc,adrq,berp,cfpq->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3, r=1/6, p=1/6, q=1/6"
"""No train: every pair of factors is joined, so that splitting factors off is only a start."""


def matrix(d_in: int, d_out: int, seed: int = 0) -> Tensor:
    return torch.randn(d_in, d_out, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def structured(op: Operator, seed: int = 0) -> Tensor:
    """The matrix of random factors."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [op.factor_shape(f) for f in range(op.einsum.factors)]
    factors = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    return dense_matrix(factors, op)[: op.sizes.d_in, : op.sizes.d_out]


def error_of(factors: tuple[Tensor, ...], op: Operator, wanted: Tensor) -> float:
    """The relative error, by the merged matrix of the kernels."""
    found = dense_matrix(factors, op)[: op.sizes.d_in, : op.sizes.d_out]
    return float((found - wanted).norm() / wanted.norm())


def tail(blocks: Tensor, rank: int) -> float:
    """Eckart and Young: the norm of what no matrices of that rank can reach, over that of the blocks."""
    return float(torch.linalg.svdvals(blocks)[..., rank:].norm() / blocks.norm())


@pytest.mark.parametrize(("d_in", "d_out"), [(16, 16), (36, 64), (31, 37)])
@pytest.mark.parametrize("name", CLOSED | TRAINS)
def test_a_matrix_that_has_the_structure_is_met_exactly(name: str, d_in: int, d_out: int) -> None:
    op = operator(parse((CLOSED | TRAINS)[name]), d_in, d_out)
    wanted = structured(op)
    found = project(wanted, op)
    assert found.relative_error < 1e-12
    assert error_of(found.factors, op, wanted) < 1e-12


@pytest.mark.parametrize("name", CLOSED | TRAINS)
def test_the_error_is_that_of_the_factors(name: str) -> None:
    op = operator(parse((CLOSED | TRAINS)[name]), 24, 36)
    wanted = matrix(24, 36)
    found = project(wanted, op)
    assert found.relative_error == pytest.approx(error_of(found.factors, op, wanted), abs=1e-12)
    assert found.relative_error == found.errors[-1]
    assert (found.relative_error < 1e-12) == (name == "dense")


def test_low_rank_is_the_truncated_singular_value_decomposition() -> None:
    op = operator(parse("low-rank(1/2)"), 25, 49)
    wanted = matrix(25, 49)
    assert project(wanted, op).relative_error == pytest.approx(tail(wanted, rank=5))


def test_a_kronecker_product_is_van_loans_rearrangement() -> None:
    op = operator(parse("kronecker"), 36, 16)
    wanted = matrix(36, 16)
    # W[(a b), (d e)] = A[a d] B[b e].
    rearranged = wanted.reshape(6, 6, 4, 4).permute(0, 2, 1, 3).reshape(24, 24)
    assert project(wanted, op).relative_error == pytest.approx(tail(rearranged, rank=1))


def test_a_tensor_train_is_the_same_with_more_channels() -> None:
    op = operator(parse("tensor-train(1/2)"), 16, 16)
    wanted = matrix(16, 16)
    rearranged = wanted.reshape(4, 4, 4, 4).permute(0, 2, 1, 3).reshape(16, 16)
    assert project(wanted, op).relative_error == pytest.approx(tail(rearranged, rank=4))


@pytest.mark.parametrize(("text", "rank"), [("monarch", 1), ("btt(1/4)", 2)])
def test_every_block_of_a_btt_is_approximated_by_itself(text: str, rank: int) -> None:
    op = operator(parse(text), 16, 36)
    wanted = matrix(16, 36)
    # x[a g] and y[e f]: for each g and f a matrix of a by e.
    blocks = wanted.reshape(4, 4, 6, 6).permute(1, 3, 0, 2)
    assert project(wanted, op).relative_error == pytest.approx(tail(blocks, rank))


@pytest.mark.parametrize(("d_in", "d_out"), [(16, 16), (31, 13)])
@pytest.mark.parametrize("name", CLOSED)
def test_alternating_least_squares_never_beat_the_closed_form_and_mostly_find_it(
    name: str, d_in: int, d_out: int
) -> None:
    op = operator(parse(CLOSED[name]), d_in, d_out)
    wanted = matrix(d_in, d_out)
    found = project(wanted, op)
    padded = torch.zeros(op.sizes.padded_in, op.sizes.padded_out, dtype=torch.float64)
    padded[:d_in, :d_out] = wanted
    fit = AlternatingLeastSquares(padded, op)
    _, errors = fit.run(random_factors(op, seed=5), sweeps=300, tolerance=1e-6)
    if split_is_optimal(op):
        assert found.method == "closed form"
        assert errors[-1] >= found.relative_error - 1e-12
        assert errors[-1] == pytest.approx(found.relative_error, rel=1e-3)
    else:
        assert found.method == "alternating least squares"
        assert found.relative_error <= fit.error(split(padded, op, [0, 1])) + 1e-12


def random_factors(op: Operator, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [op.factor_shape(f) for f in range(op.einsum.factors)]
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


@settings(max_examples=20)
@given(einsum=..., d_in=st.sampled_from([5, 12, 17]), d_out=st.sampled_from([6, 13, 16]), seed=st.integers(0, 3))
def test_no_sweep_increases_the_error(einsum: Einsum, d_in: int, d_out: int, seed: int) -> None:
    op = operator(einsum, d_in, d_out)
    if op.parameters > 20_000:
        return
    padded = torch.zeros(op.sizes.padded_in, op.sizes.padded_out, dtype=torch.float64)
    padded[:d_in, :d_out] = matrix(d_in, d_out, seed)
    fit = AlternatingLeastSquares(padded, op)
    factors = random_factors(op, seed)
    errors = [fit.error(factors)]
    for _ in range(4):
        for factor in range(op.einsum.factors):
            factors[factor] = fit._update(factor, factors)
            errors.append(fit.error(factors))
            assert errors[-1] <= errors[-2] + 1e-9
    found, kept = fit.run(random_factors(op, seed), sweeps=4, tolerance=0.0)
    assert all(later < earlier for earlier, later in itertools.pairwise(kept))
    assert kept[-1] == fit.error(found)


@pytest.mark.parametrize(("text", "d"), [(LOOP, 27), (TRIANGLE, 64), ("btt(1/8, factors=3)", 27)])
def test_three_factors_come_as_near_as_their_cuts_allow(text: str, d: int) -> None:
    """Merging all factors but one into one never makes it worse: a bound by two factors, in closed form."""
    op = operator(parse(text), d, d)
    wanted = matrix(d, d)
    found = project(wanted, op)
    assert found.method == "alternating least squares"
    size = dict(op.sizes.of)
    outer = [i for i in op.einsum.indices if i.in_x] + [i for i in op.einsum.indices if i.in_y]
    tensor = wanted.reshape([size[i] for i in outer])
    for factor in range(3):
        own = [i for i in outer if i.factors == (factor,)]
        both = [i for i in outer if factor in i.factors and i not in own]
        rest = [i for i in outer if factor not in i.factors]
        blocks = tensor.permute([outer.index(i) for i in (*both, *own, *rest)])
        blocks = blocks.reshape([math.prod(size[i] for i in part) for part in (both, own, rest)])
        channels = math.prod(n for i, n in size.items() if i.side == 2 and factor in i.factors)
        assert found.relative_error >= tail(blocks, channels) - 1e-12
    assert found.relative_error <= AlternatingLeastSquares(wanted, op).error(split(wanted, op, [0, 1, 2]))


def test_a_structure_that_is_no_train_is_found_by_alternating() -> None:
    op = operator(parse(TRIANGLE), 64, 64)
    wanted = structured(op)
    start = AlternatingLeastSquares(wanted, op).error(split(wanted, op, [0, 1, 2]))
    assert start > 0.1
    assert project(wanted, op, tolerance=1e-6).relative_error < 1e-6


def test_padding_counts_for_nothing() -> None:
    """What padding adds is open: zeros there are no goal, and a matrix that is structured without them is met."""
    op = operator(parse("kronecker"), 31, 37)
    assert op.padded
    wanted = structured(op)
    with_zeros = torch.zeros(op.sizes.padded_in, op.sizes.padded_out, dtype=torch.float64)
    with_zeros[:31, :37] = wanted
    assert AlternatingLeastSquares(with_zeros, op).error(split(with_zeros, op, [0, 1])) > 0.01
    assert project(wanted, op).relative_error < 1e-12


def test_the_singular_values_are_shared_in_equal_parts() -> None:
    op = operator(parse("low-rank"), 64, 64)
    wanted = matrix(64, 64)
    a, b = project(wanted, op).factors
    assert a.shape == b.shape == (64, 8)
    largest = torch.linalg.svdvals(wanted)[:8]
    for factor in (a, b):
        assert torch.allclose(factor.mT @ factor, largest.diag(), atol=1e-9)


def test_a_projection_repeats_bit_for_bit() -> None:
    op = operator(parse(LOOP), 27, 27)
    first, second = (project(matrix(27, 27), op) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.factors, second.factors, strict=True))


@pytest.mark.parametrize("name", CLOSED | TRAINS)
def test_directions_that_the_matrix_does_not_use_can_still_learn(name: str) -> None:
    """A matrix of zeros, and one of rank 1: the function is met and not every gradient is zero."""
    for wanted in (torch.zeros(16, 36), torch.outer(torch.arange(16.0), torch.ones(36))):
        layer = EinsumLinear(16, 36, (CLOSED | TRAINS)[name], normalize=False, dtype=torch.float64)
        assert project_into(layer, wanted.double()) < 1 or not wanted.any()
        x = matrix(5, 16)
        if not wanted.any():
            assert torch.equal(layer(x), torch.zeros(5, 36, dtype=torch.float64))
        (layer(x) - 1).square().sum().backward()
        assert any(factor.grad is not None and bool(factor.grad.any()) for factor in layer.factors)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("btt(1/4)", torch.float64),
        ("btt(1/4)", torch.float32),
        ("btt(1/4)", torch.bfloat16),
        ("low-rank", torch.float16),
        (LOOP, torch.float64),
    ],
)
@pytest.mark.parametrize("normalize", [False, True])
def test_a_layer_is_its_projection(text: str, normalize: bool, dtype: torch.dtype) -> None:
    wanted = 3.0 * matrix(31, 64).to(dtype)  # far above the std of the factors: normalization would shrink it
    layer = EinsumLinear(31, 64, text, normalize=normalize, dtype=dtype)
    reported = project_into(layer, wanted)
    exact = project(wanted, layer.operator)
    rounding = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 3e-2}[dtype]
    assert reported == pytest.approx(exact.relative_error, abs=rounding)
    x = matrix(7, 31).to(dtype)
    difference = torch.linalg.vector_norm((layer(x) - layer.bias).double() - x.double() @ wanted.double())
    spectral = float(torch.linalg.matrix_norm(x.double(), 2))
    assert difference <= spectral * (reported + rounding) * torch.linalg.matrix_norm(wanted.double())
    assert (layer.gain is not None and bool((layer.gain > 1).any())) == normalize
    layer(x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_the_error_of_a_wrong_layer_is_seen() -> None:
    layer = EinsumLinear(16, 16, "btt", dtype=torch.float64)
    wanted = dense_matrix(layer.effective_factors(), layer.operator).detach()
    assert relative_error(layer, wanted) < 1e-12
    with torch.no_grad():
        layer.factors[0][0] += 1.0
    assert relative_error(layer, wanted) > 0.01
    assert relative_error(layer, wanted.mT) > 0.5


def test_what_cannot_be_projected() -> None:
    op = operator(parse("btt"), 16, 36)
    with pytest.raises(EinsearchError, match=r"^matrix is 36 x 16, the operator is 16 x 36; give it x to y$"):
        project(matrix(36, 16), op)
    broken = matrix(16, 36)
    broken[3, 4] = math.nan
    with pytest.raises(EinsearchError, match=r"^the weights are not all finite"):
        project(broken, op)
    with pytest.raises(EinsearchError, match=r"^the weights are on the meta device"):
        project(torch.empty(16, 36, device="meta"), op)
    with pytest.raises(EinsearchError, match=r"^a weight-normalised layer without gains"):
        project_into(EinsumLinear(16, 36, "btt", gain=False), matrix(16, 36))
