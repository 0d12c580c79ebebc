"""The obvious mixture of experts: one expert after the other, on the tokens that chose it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from einsearch.kernels.einsum.reference import einsum_linear
from einsearch.space.operator import Operator

Expert = Callable[[Tensor], Tensor]
"""What one expert makes of its tokens: (rows, width of x) -> (rows, width of y)."""


def einsum_moe(x: Tensor, factors: Sequence[Tensor], operator: Operator, gate: Tensor, expert: Tensor) -> Tensor:
    """y[n] = sum over j of gate[n, j] * einsum(x[n], *(factor[expert[n, j]] for factor in factors)).

    x: (..., padded_in); factors[f]: (experts, *operator.factor_shape(f)); gate and expert: (..., active),
    expert of int64 in [0, experts). Returns (..., padded_out). torch's FLOP counter sees exactly
    active * operator.macs MACs a row.
    """
    return weighted_sum(x, gate, expert, linear_experts(factors, operator, einsum_linear), operator.sizes.padded_out)


def linear_experts(
    factors: Sequence[Tensor],
    operator: Operator,
    product: Callable[[Tensor, Sequence[Tensor], Operator], Tensor],
) -> list[Expert]:
    """The operator of each expert, by some product of an einsum operator."""
    # Unbound once: the gradient of a slice is an array of zeros as large as all experts, and each would make one.
    stacked = zip(*(factor.unbind() for factor in factors), strict=True)
    return [partial(_applied, product, own, operator) for own in stacked]


def _applied(
    product: Callable[[Tensor, Sequence[Tensor], Operator], Tensor],
    factors: Sequence[Tensor],
    operator: Operator,
    rows: Tensor,
) -> Tensor:
    return product(rows, factors, operator)


def weighted_sum(x: Tensor, gate: Tensor, expert: Tensor, experts: Sequence[Expert], width: int) -> Tensor:
    """y[n] = sum over j of gate[n, j] * experts[expert[n, j]](x[n]).

    x: (..., features); gate and expert: (..., active). Returns (..., width). Sums in the wider of the
    gate's and the experts' dtypes, and returns that of the experts. An expert without tokens is not
    called. Waits for the device once an expert.
    """
    rows = x.reshape(-1, x.shape[-1])
    chosen, weight = expert.reshape(len(rows), expert.shape[-1]), gate.reshape(len(rows), expert.shape[-1])
    dtype = x.dtype
    y = rows.new_zeros(len(rows), width, dtype=torch.promote_types(dtype, gate.dtype))
    for e, run in enumerate(experts):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        if len(token):
            out = run(rows[token])
            y, dtype = y.index_add(0, token, out.to(y.dtype) * weight[token, slot, None].to(y.dtype)), out.dtype
    return y.to(dtype).reshape(*x.shape[:-1], width)
