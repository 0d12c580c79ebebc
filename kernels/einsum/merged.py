"""The einsum linear operator by way of its dense matrix: faster where the matrix is small.

Batched products of tiny matrices run far below the peak of a CPU; one product with the merged matrix
costs more arithmetic and less time there. FLOPs are booked by the reference plan all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from einsearch.space.operator import Operator


def dense_matrix(factors: Sequence[Tensor], operator: Operator) -> Tensor:
    """The (padded_in, padded_out) matrix W of x W = einsum(x, *factors)."""
    number = {index: n for n, index in enumerate(operator.einsum.indices)}
    operands: list[Tensor | list[int]] = []
    for f, factor in enumerate(factors):
        operands += [factor, [number[index] for index in operator.einsum.indices if f in index.factors]]
    rows = [number[index] for index in operator.einsum.indices if index.in_x]
    columns = [number[index] for index in operator.einsum.indices if index.in_y]
    matrix = torch.einsum(*operands, rows + columns)
    return matrix.reshape(operator.sizes.padded_in, operator.sizes.padded_out)


def einsum_linear(x: Tensor, factors: Sequence[Tensor], operator: Operator) -> Tensor:
    """As :func:`einsearch.kernels.einsum.reference.einsum_linear`."""
    return x @ dense_matrix(factors, operator)


def feature_major_einsum_linear(x: Tensor, factors: Sequence[Tensor], operator: Operator) -> Tensor:
    """As :func:`einsearch.kernels.einsum.feature_major.einsum_linear`."""
    return dense_matrix(factors, operator).t() @ x
