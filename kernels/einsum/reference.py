"""The obvious einsum linear operator: one batched matrix product for each step of the reference plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from einsearch.space.operator import Operator


def einsum_linear(x: Tensor, factors: Sequence[Tensor], operator: Operator) -> Tensor:
    """y = einsum(x, *factors) for x of shape (..., padded_in); returns (..., padded_out).

    factors[f] has the shape `operator.factor_shape(f)`. The indices of x, and of y, are in the order of
    the einsum (alpha beta gamma; delta epsilon phi), the last varying fastest. Every step is one `bmm`,
    also where it sums nothing, so that torch's FLOP counter sees exactly `operator.macs` MACs a row.
    """
    size = dict(operator.sizes.of)
    leading = x.shape[:-1]
    z = x.reshape(-1, *(size[index] for index in operator.plan.steps[0].live))
    rows = z.shape[0]
    for step in operator.plan.steps:
        # z: (rows, live) -> (batch, rows x passing, contracted)
        place = {index: n + 1 for n, index in enumerate(step.live)}
        order = [place[index] for index in step.batch], [place[index] for index in step.passing]
        z = z.permute(*order[0], 0, *order[1], *(place[index] for index in step.contracted))
        batch, inner = [math.prod([size[index] for index in part]) for part in (step.batch, step.contracted)]
        z = z.reshape(batch, -1, inner)
        # w: (carried) -> (batch, contracted, introduced)
        place = {index: n for n, index in enumerate(step.carried)}
        w = factors[step.factor].permute(
            [place[index] for part in (step.batch, step.contracted, step.introduced) for index in part]
        )
        z = torch.bmm(z, w.reshape(batch, inner, -1))
        # (batch, rows, passing, introduced) -> (rows, out)
        held = (*step.batch, None, *step.passing, *step.introduced)
        z = z.reshape([rows if index is None else size[index] for index in held])
        place = {index: n for n, index in enumerate(held) if index is not None}
        z = z.permute(len(step.batch), *(place[index] for index in step.out))
    return z.reshape(*leading, operator.sizes.padded_out)
