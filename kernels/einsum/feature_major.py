"""The einsum linear operator on feature-major activations: the products of its execution plan.

Tokens are the last axis everywhere, so that products read and write long contiguous rows, and what is
permuted between them are whole rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, bmm

from einsearch.space.execution import Layout, Product, execution_plan
from einsearch.space.operator import Operator
from einsearch.space.structure import Index


def einsum_linear(x: Tensor, factors: Sequence[Tensor], operator: Operator) -> Tensor:
    """As :func:`einsearch.kernels.einsum.reference.einsum_linear`, transposed.

    x: (padded_in, tokens) -> (padded_out, tokens). factors[f] has the shape `operator.factor_shape(f)`.
    """
    plan = execution_plan(operator)
    size = dict(plan.sizes)
    tokens = x.shape[1]
    z = x
    for product in plan.products:
        if product.copied is not None:
            z = _permuted(z, product.source, product.copied, size, tokens)
        z = bmm(_factor(factors[product.factor], product, operator, size), _operand(z, product, tokens))
    if plan.last_copy is not None:
        z = _permuted(z, plan.products[-1].out, plan.last_copy, size, tokens)
    return z.reshape(operator.sizes.padded_out, tokens)


def _permuted(z: Tensor, layout: Layout, wanted: Layout, size: dict[Index, int], tokens: int) -> Tensor:
    held = z.view(*(size[index] for index in layout), tokens)
    return held.permute(*(layout.index(index) for index in wanted), len(layout)).contiguous()


def _operand(z: Tensor, product: Product, tokens: int) -> Tensor:
    """z as (batch, contracted, columns x tokens), a view: each group is one axis of it."""
    widths = product.batch_size, product.k, product.n * tokens
    groups = product.batch, product.contracted, product.columns
    # Columns are the fastest in every layout; of batch and contracted either may be the slower one.
    swapped = bool(groups[0] and groups[1]) and product.read.index(groups[0][0]) > product.read.index(groups[1][0])
    if swapped:
        return z.view(widths[1], widths[0], widths[2]).transpose(0, 1)
    return z.view(widths)


def _factor(factor: Tensor, product: Product, operator: Operator, size: dict[Index, int]) -> Tensor:
    """A factor as (batch, introduced, contracted), its values repeated over the indices that it does not carry."""
    carried = [i for i in operator.einsum.indices if product.factor in i.factors and i in size]
    w = factor.reshape([size[index] for index in carried])
    w = w.permute([carried.index(index) for index in product.factor_order()])
    if product.repeated:
        for n, index in enumerate(product.batch):
            if index in product.repeated:
                w = w.unsqueeze(n)
        w = w.expand(*(size[index] for index in product.batch), *w.shape[len(product.batch) :])
    # Without an axis of stride 1 `bmm` would go through the batch one by one.
    return w.reshape(product.batch_size, product.m, product.k).contiguous()
