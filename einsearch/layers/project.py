"""The best approximation of a dense matrix by factors of an einsum operator."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from einsearch.errors import EinsearchError
from einsearch.layers.linear import EinsumLinear
from einsearch.layers.project_als import AlternatingLeastSquares
from einsearch.layers.project_svd import split, split_is_optimal
from einsearch.space.operator import Operator

_EXACT = 1e-13
"""A relative error at which nothing is left to improve."""

_ORDERS_TRIED = 3
"""Factors up to which every order of splitting them off is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Factors, in float64, and how near they come.

    relative_error: Frobenius norm of the difference over that of the matrix (0 for a matrix of zeros).
    method: `closed form`, which no other factors beat, or `alternating least squares`. errors: of the chosen
    start and after each of its sweeps.
    """

    factors: tuple[Tensor, ...]
    relative_error: float
    method: str
    errors: tuple[float, ...]


@torch.no_grad()
def project(
    matrix: Tensor, operator: Operator, *, starts: int = 2, sweeps: int = 200, tolerance: float = 1e-4
) -> Projection:
    """Factors for a (d_in, d_out) matrix W of y = x W, so that their einsum comes near it.

    Two factors (and one) have a closed form; else, and where padding leaves entries open, alternating least
    squares improve its result and that of `starts` random (fixed) starts, each until a sweep improves the
    error by less than `tolerance` of it or `sweeps` are done; the best is kept. Repeats bit for bit.

    Raises EinsearchError for a matrix of another shape, on no device, or with numbers that are not finite.
    """
    sizes = operator.sizes
    if tuple(matrix.shape) != (sizes.d_in, sizes.d_out):
        shape = " x ".join(map(str, matrix.shape))
        raise EinsearchError(f"matrix is {shape}, the operator is {sizes.d_in} x {sizes.d_out}; give it x to y")
    if matrix.is_meta:
        raise EinsearchError("the weights are on the meta device, without values; load them before projecting")
    # Apple's GPUs have no float64.
    work = matrix.detach().to("cpu" if matrix.device.type == "mps" else matrix.device, torch.float64)
    if not bool(work.isfinite().all()):
        raise EinsearchError("the weights are not all finite; a matrix with nan or inf has no approximation")
    padded = work.new_zeros(sizes.padded_in, sizes.padded_out)
    padded[: sizes.d_in, : sizes.d_out] = work
    fit = AlternatingLeastSquares(padded, operator)
    candidates = [split(padded, operator, order) for order in _orders(operator)]
    start = min(candidates, key=fit.error)
    error = fit.error(start)
    if split_is_optimal(operator) or error <= _EXACT:
        return Projection(factors=tuple(start), relative_error=error, method="closed form", errors=(error,))
    runs = [fit.run(start, sweeps, tolerance)]
    runs += [fit.run(_random(operator, seed, padded), sweeps, tolerance) for seed in range(starts)]
    factors, errors = min(runs, key=lambda run: run[1][-1])
    return Projection(
        factors=tuple(_balanced(factors)),
        relative_error=errors[-1],
        method="alternating least squares",
        errors=tuple(errors),
    )


@torch.no_grad()
def project_into(layer: EinsumLinear, matrix: Tensor) -> float:
    """Set a layer's factors so that x W comes nearest to that of a (in_features, out_features) matrix W.

    Under weight normalization the gains make up for it, so that the layer is the projection all the same.
    Returns the relative error of the layer as it is then, rounding to its dtype included.

    Raises EinsearchError as :func:`project`, and for a normalised layer without gains.
    """
    if layer.normalize and layer.gain is None:
        raise EinsearchError(
            "a weight-normalised layer without gains cannot hold any matrix; give gain or no normalize"
        )
    found = project(matrix, layer.operator)
    for parameter, factor in zip(layer.factors, found.factors, strict=True):
        parameter.copy_(factor)
    if layer.gain is not None:
        layer.gain.fill_(1.0)
        norms = zip(layer.factors, layer.effective_factors(), strict=True)
        ratios = [_norm(raw) / _norm(used) if used.any() else 1.0 for raw, used in norms]
        layer.gain.copy_(torch.tensor(ratios, dtype=torch.float64))
    return relative_error(layer, matrix)


@torch.no_grad()
def relative_error(layer: EinsumLinear, matrix: Tensor) -> float:
    """Frobenius norm of a layer's matrix less another (in_features, out_features) one, over that one's."""
    sizes = layer.operator.sizes
    factors = [factor.detach().to("cpu", torch.float64) for factor in layer.effective_factors()]
    padded = torch.zeros(sizes.padded_in, sizes.padded_out, dtype=torch.float64)
    padded[: sizes.d_in, : sizes.d_out] = matrix.detach().to("cpu", torch.float64)
    return AlternatingLeastSquares(padded, layer.operator).error(factors)


def _orders(operator: Operator) -> Iterator[Sequence[int]]:
    """Orders in which to split off the factors: all, or along the plan and back."""
    planned = [step.factor for step in operator.plan.steps]
    if 2 < len(planned) <= _ORDERS_TRIED:
        yield from itertools.permutations(planned)
        return
    yield planned
    if len(planned) > _ORDERS_TRIED:
        yield planned[::-1]


def _random(operator: Operator, seed: int, like: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [operator.factor_shape(f) for f in range(operator.einsum.factors)]
    return [torch.randn(shape, dtype=torch.float64, generator=generator).to(like) for shape in shapes]


def _balanced(factors: Sequence[Tensor]) -> list[Tensor]:
    """The same product, the factors of one Frobenius norm; as they are where one is zero."""
    norms = torch.stack([torch.linalg.vector_norm(factor) for factor in factors])
    if not bool(norms.all()):
        return list(factors)
    mean = norms.log().mean().exp()
    return [factor * (mean / norm) for factor, norm in zip(factors, norms, strict=True)]


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.double()))
