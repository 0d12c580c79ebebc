"""The obvious einsum linear operator: one pairwise einsum for each step of the reference plan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from einsearch.space.operator import Operator


def einsum_linear(x: Tensor, factors: Sequence[Tensor], operator: Operator) -> Tensor:
    """y = einsum(x, *factors) for x of shape (..., padded_in); returns (..., padded_out).

    factors[f] has the shape `operator.factor_shape(f)`. The indices of x, and of y, are in the order of
    the einsum (alpha beta gamma; delta epsilon phi), the last varying fastest. Every step is a batched
    matrix product, so that torch's FLOP counter sees exactly `operator.macs` MACs a row.
    """
    size = dict(operator.sizes.of)
    number = {index: n for n, index in enumerate(operator.einsum.indices)}
    leading = x.shape[:-1]
    rows = len(number)
    steps = operator.plan.steps
    z = x.reshape(-1, *(size[index] for index in steps[0].live))
    for step in steps:
        live = [rows, *(number[index] for index in step.live)]
        carried = [number[index] for index in step.carried]
        out = [rows, *(number[index] for index in step.out)]
        z = torch.einsum(z, live, factors[step.factor], carried, out)
    return z.reshape(*leading, operator.sizes.padded_out)
