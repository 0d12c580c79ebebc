"""A mixture of experts with the (token, slot) pairs sorted by expert, so that each expert has one run of rows.

Rows are gathered once and the results summed once, by `embedding_bag`, forward and backward: no row is
scattered, every sum has a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor
from torch.nn import functional as F

from einsearch.kernels.einsum_moe.reference import Expert
from einsearch.space.operator import Operator

P = ParamSpec("P")


def _eagerly(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Left out of what torch compiles: how many rows an expert has differs from call to call.

    torch's compiler takes seconds to import, so it is asked for only where it is at work.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return run


@_eagerly
def weighted_sum(x: Tensor, gate: Tensor, expert: Tensor, experts: Sequence[Expert], width: int) -> Tensor:
    """As :func:`einsearch.kernels.einsum_moe.reference.weighted_sum`. Waits for the device once."""
    rows = x.reshape(-1, x.shape[-1])
    chosen, weight = expert.reshape(len(rows), expert.shape[-1]), gate.reshape(len(rows), expert.shape[-1])
    active = chosen.shape[1]
    order = chosen.flatten().argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    place = place.view(-1, active)
    parts = _Gathered.apply(rows, order // active, place).split(
        torch.bincount(chosen.flatten(), minlength=len(experts)).tolist()
    )
    # Without any token one expert still runs on no rows: so the result knows its dtype and what it depends on.
    busy = [e for e, part in enumerate(parts) if len(part)] or [0]
    outs = torch.cat([experts[e](parts[e]) for e in busy])
    dtype = torch.promote_types(outs.dtype, weight.dtype)
    y = _Summed.apply(outs.to(dtype), weight.to(dtype), order, place)
    return y.to(outs.dtype).view(*x.shape[:-1], width)


class _Gathered(torch.autograd.Function):
    """rows[token]: the row of each pair, by expert. place: (tokens, active), where each token's pairs stand."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, token: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return rows.index_select(0, token)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (place,) = ctx.saved_tensors
        return F.embedding_bag(place, gradient.contiguous(), mode="sum"), None, None


class _Summed(torch.autograd.Function):
    """y[n] = sum over j of weight[n, j] * outs[place[n, j]]."""

    @staticmethod
    def forward(ctx: Any, outs: Tensor, weight: Tensor, order: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(outs, weight, order, place)
        return F.embedding_bag(place, outs, mode="sum", per_sample_weights=weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        outs, weight, order, place = ctx.saved_tensors
        paired = gradient.index_select(0, order // place.shape[1])
        of_weight = torch.linalg.vecdot(outs, paired)[place]
        return paired.mul_(weight.flatten()[order, None]), of_weight, None, None


def merged_experts(factors: Sequence[Tensor], operator: Operator) -> list[Expert]:
    """The operator of each expert by way of its dense matrix; those of all experts are made at once.

    As :func:`einsearch.kernels.einsum.merged`: faster where the matrices are small. FLOPs are booked by
    the reference plan all the same.
    """
    number = {index: n for n, index in enumerate(operator.einsum.indices)}
    which = len(number)
    operands: list[Tensor | list[int]] = []
    for f, factor in enumerate(factors):
        operands += [factor, [which, *(n for index, n in number.items() if f in index.factors)]]
    rows, columns = ([n for index, n in number.items() if index.side == side] for side in (0, 1))
    matrices = torch.einsum(*operands, [which, *rows, *columns])
    matrices = matrices.reshape(-1, operator.sizes.padded_in, operator.sizes.padded_out)
    return [partial(_times, matrix) for matrix in matrices.unbind()]


def _times(matrix: Tensor, rows: Tensor) -> Tensor:
    return rows @ matrix
