"""What a linear layer computes and moves: FLOPs and bytes of one forward pass, or of forward and backward.

One MAC is 2 FLOPs, and every product has two more in the backward pass: for its two operands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from einsearch.space.execution import BYTES, execution_plan
from einsearch.space.operator import Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Counts of one call.

    moved: bytes, every operand and result of every product or copy counted once. least: bytes that no way of
    computing it can save: inputs, outputs and parameters, and their gradients, each once forward and once backward.
    """

    flops: int
    moved: int
    least: int


def dense_work(d_in: int, d_out: int, tokens: int, itemsize: int, *, backward: bool) -> Work:
    """y = x W for x (tokens, d_in); numbers of `itemsize` bytes."""
    volume = tokens * (d_in + d_out) + d_in * d_out
    return Work(
        flops=(6 if backward else 2) * tokens * d_in * d_out,
        moved=itemsize * volume * (3 if backward else 1),
        least=itemsize * _least(d_in, d_out, tokens, d_in * d_out, backward),
    )


def planned_work(operator: Operator, tokens: int, itemsize: int, *, backward: bool) -> Work:
    """The products of the execution plan, one after the other: intermediates are written and read."""
    plan = execution_plan(operator)
    size = dict(plan.sizes)
    copied = [product.source for product in plan.products if product.copied is not None]
    copied += [plan.last_copy] if plan.last_copy is not None else []
    copies = 2 * tokens * sum(math.prod(size[index] for index in layout) for layout in copied)
    products = plan.bytes_moved(tokens) // BYTES - copies
    # A copy has one gradient, a product two.
    moved = 3 * products + 2 * copies if backward else products + copies
    return Work(
        flops=(3 if backward else 1) * plan.flops(tokens),
        moved=itemsize * moved,
        least=_operator_least(operator, tokens, itemsize, backward),
    )


def merged_work(operator: Operator, tokens: int, itemsize: int, *, backward: bool) -> Work:
    """The dense matrix first, then one product with it, at the padded sizes."""
    sizes = operator.sizes
    matrix = sizes.padded_in * sizes.padded_out
    volume = operator.parameters + 2 * matrix + tokens * (sizes.padded_in + sizes.padded_out)
    return Work(
        flops=(6 if backward else 2) * (merging_macs(operator) + tokens * matrix),
        moved=itemsize * volume * (3 if backward else 1),
        least=_operator_least(operator, tokens, itemsize, backward),
    )


def merging_macs(operator: Operator) -> int:
    """MACs of the dense matrix, the factors contracted from the first to the last.

    >>> from einsearch.space.operator import operator
    >>> from einsearch.space.parse import parse
    >>> merging_macs(operator(parse("low-rank"), 16, 16))  # (16 x 4) times (4 x 16)
    1024
    """
    factors = range(operator.einsum.factors)
    live = {index for index, _ in operator.sizes.of if 0 in index.factors}
    macs = 0
    for factor in factors[1:]:
        touched = live | {index for index, _ in operator.sizes.of if factor in index.factors}
        macs += operator.sizes.product(frozenset(touched))
        live = {i for i in touched if i.in_x or i.in_y or any(later in i.factors for later in factors[factor + 1 :])}
    return macs


def smallest_dimension(operator: Operator, tokens: int) -> int:
    """The smallest of m, n and k over the products of the execution plan; the batch does not count."""
    return min(min(product.m, product.n * tokens, product.k) for product in execution_plan(operator).products)


def _operator_least(operator: Operator, tokens: int, itemsize: int, backward: bool) -> int:
    return itemsize * _least(operator.sizes.d_in, operator.sizes.d_out, tokens, operator.parameters, backward)


def _least(d_in: int, d_out: int, tokens: int, parameters: int, backward: bool) -> int:
    """Numbers: forward reads x and W and writes y; backward reads x, W and dy and writes dx and dW."""
    forward = tokens * (d_in + d_out) + parameters
    return forward + tokens * (2 * d_in + d_out) + 2 * parameters if backward else forward
