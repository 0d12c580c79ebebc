"""Structured approximation of a matrix in closed form: singular value decompositions of its rearrangements.

For two factors A and B every einsum is, for each value of the indices of x and y that both carry, one
matrix with the indices of A alone as rows and those of B alone as columns, and the inner indices as the
channels between: so truncated decompositions of those blocks are the best approximation (Eckart and
Young). That is the truncated SVD for low rank, Van Loan's rearrangement for Kronecker products and
Tensor-Trains, and a decomposition of every block for Monarch and BTT. More factors are split off one
after the other: exact for a matrix that is a train of factors, a start for alternating least squares else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from einsearch.space.operator import Operator
from einsearch.space.structure import Index

_UNUSED = 1e-14
"""Singular values up to this share of the greatest are rounding."""


def split(matrix: Tensor, operator: Operator, order: Sequence[int]) -> list[Tensor]:
    """Factors, by their numbers, of a (padded_in, padded_out) matrix, split off in this order.

    Singular values are shared in equal parts. A direction that the matrix does not use starts at random
    (fixed) in the factor that is split off and at zero in the rest, so that it can learn.
    """
    size = dict(operator.sizes.of)
    held = [i for i in operator.einsum.indices if i.in_x] + [i for i in operator.einsum.indices if i.in_y]
    rest = matrix.reshape([size[index] for index in held])
    factors: dict[int, Tensor] = {}
    remaining = set(order)
    for factor in order[:-1]:
        remaining.remove(factor)
        own = {index for index in operator.einsum.indices if factor in index.factors}
        others = {index for index in held if remaining & set(index.factors)}
        batch = [index for index in held if index in own and index in others]
        rows = [index for index in held if index not in others]
        columns = [index for index in held if index not in own]
        links = [index for index in operator.einsum.indices if index in own and index not in held]
        blocks = rest.permute([held.index(index) for index in (*batch, *rows, *columns)])
        blocks = blocks.reshape([math.prod(size[i] for i in part) for part in (batch, rows, columns)])
        left, right = _halves(blocks, math.prod(size[index] for index in links), operator, factor)
        factors[factor] = _named(left, (*batch, *rows, *links), operator, factor)
        held = [*batch, *links, *columns]
        rest = right.reshape([size[index] for index in held])
    factors[order[-1]] = _named(rest, held, operator, order[-1])
    return [factors[factor] for factor in range(operator.einsum.factors)]


def split_is_optimal(operator: Operator) -> bool:
    """Whether :func:`split` gives the best approximation there is.

    That of two factors does. Where x is padded, the rows that are real have to form whole rows or columns of
    the blocks, so that zeros stand for the others at no cost: x's own indices are those of one factor. The
    same for y.
    """
    if operator.einsum.factors > 2:
        return operator.einsum.factors == 1
    sizes = operator.sizes
    padded = (sizes.padded_in != sizes.d_in, sizes.padded_out != sizes.d_out)
    return not any(
        padded[side] and sum(index.side == side and len(index.factors) == 1 and n > 1 for index, n in sizes.of) > 1
        for side in (0, 1)
    )


def _halves(blocks: Tensor, channels: int, operator: Operator, factor: int) -> tuple[Tensor, Tensor]:
    """(batch, rows, columns) as (batch, rows, channels) times (batch, channels, columns), as near as can be."""
    batch, rows, columns = blocks.shape
    u, s, vh = torch.linalg.svd(blocks, full_matrices=False)
    kept = min(channels, rows, columns)
    root = s[:, :kept].sqrt()
    step = operator.plan.step_of(factor)
    noise = torch.randn((batch, rows, channels), dtype=torch.float64, generator=torch.Generator().manual_seed(factor))
    left = noise.to(blocks) * (math.sqrt(min(step.fan_in, step.fan_out)) / step.fan_in)
    right = blocks.new_zeros(batch, channels, columns)
    used = s[:, :kept] > _UNUSED * s.max()
    left[:, :, :kept] = torch.where(used[:, None, :], u[:, :, :kept] * root[:, None, :], left[:, :, :kept])
    right[:, :kept] = torch.where(used[:, :, None], root[:, :, None] * vh[:, :kept], right[:, :kept])
    return left, right


def _named(tensor: Tensor, held: Sequence[Index], operator: Operator, factor: int) -> Tensor:
    """A factor from its axes in the order `held`, in that of the einsum."""
    size = dict(operator.sizes.of)
    wanted = [index for index in operator.einsum.indices if factor in index.factors]
    return tensor.reshape([size[index] for index in held]).permute([held.index(index) for index in wanted])
