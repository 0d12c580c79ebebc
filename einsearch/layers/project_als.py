"""Structured approximation of a matrix by alternating least squares, for any einsum.

Given the other factors, the matrix is linear in one: for every value of the indices o of x and y that the
factor carries, its entries over its inner indices s solve a least squares problem over the remaining
indices R of x and y,

    min over F[o, s] of  sum_R (W[o, R] - sum_s G[o, R, s] F[o, s])^2

with G the product of the other factors. Solved are the normal equations, in float64, as an update of the
present factor by the pseudo-inverse: what the others leave undetermined stays as it is. Rows and columns
that padding adds have weight zero.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from einsearch.space.operator import Operator
from einsearch.space.structure import Index

Axis = tuple[Index, int]
"""An index and which copy of it: the normal equations hold every inner index twice."""

Operand = tuple[Tensor, tuple[Axis, ...]]

Contraction = tuple[tuple[int, int], list[list[int]]]
"""The places of two operands, and the axes of both and of their product as numbers; the product goes to the end."""

_SINGULAR = 1e-12
"""Eigenvalues of the normal equations up to this share of the greatest count as zero."""


class AlternatingLeastSquares:
    """Fits factors to a (padded_in, padded_out) float64 matrix, which is zero where it is padded."""

    def __init__(self, matrix: Tensor, operator: Operator) -> None:
        self.operator = operator
        self.size = dict(operator.sizes.of)
        indices = operator.einsum.indices
        self.rows = tuple(index for index in indices if index.in_x)
        self.columns = tuple(index for index in indices if index.in_y)
        self.carried = [tuple(i for i in indices if f in i.factors) for f in range(operator.einsum.factors)]
        self.matrix = matrix
        self.norm = float(torch.linalg.vector_norm(matrix))
        sizes = operator.sizes
        self._plans: dict[str, list[Contraction]] = {}
        self.masks: list[Operand] = []
        for side, real, padded in (
            (self.rows, sizes.d_in, sizes.padded_in),
            (self.columns, sizes.d_out, sizes.padded_out),
        ):
            if real != padded:
                mask = (torch.arange(padded, device=matrix.device) < real).to(matrix.dtype)
                self.masks.append((self._shaped(mask, side), _axes(side)))

    def error(self, factors: Sequence[Tensor]) -> float:
        """Frobenius norm of what is left, over that of the matrix; padding does not count."""
        if self.norm == 0:
            return 0.0
        merged = self.merged(factors)
        real = (self.matrix - merged)[: self.operator.sizes.d_in, : self.operator.sizes.d_out]
        return float(torch.linalg.vector_norm(real)) / self.norm

    def merged(self, factors: Sequence[Tensor]) -> Tensor:
        """The (padded_in, padded_out) matrix that the factors stand for."""
        operands = [(factor, _axes(held)) for factor, held in zip(factors, self.carried, strict=True)]
        out = _axes((*self.rows, *self.columns))
        return self._contract("merged", operands, out).reshape(self.matrix.shape)

    def run(self, factors: Sequence[Tensor], sweeps: int, tolerance: float) -> tuple[list[Tensor], list[float]]:
        """Sweep over the factors until one improves the error by less than `tolerance` of it, or `sweeps` are done.

        Returns the factors and the error of the start and after each sweep, which never increases.
        """
        best, errors = list(factors), [self.error(factors)]
        for _ in range(sweeps):
            found = list(best)
            for factor in range(len(found)):
                found[factor] = self._update(factor, found)
            error = self.error(found)
            # Rounding ends in a sweep that makes nothing better.
            if not error < errors[-1]:
                break
            best = found
            errors.append(error)
            if errors[-2] - error <= tolerance * error:
                break
        return best, errors

    def _update(self, factor: int, factors: Sequence[Tensor]) -> Tensor:
        """The best factor, the others given."""
        held = self.carried[factor]
        inner = tuple(index for index in held if index.side == 2)
        once = [(other, _axes(self.carried[g])) for g, other in enumerate(factors) if g != factor]
        twice = [(other, _axes(self.carried[g], copy=1)) for g, other in enumerate(factors) if g != factor]
        weights = [*once, *twice, *self.masks]
        # Where nobody else carries an index of the factor, the equations are the same for all its values.
        shared = {axis for _, axes in weights for axis in axes}
        batch = tuple(index for index in held if index.side < 2 and (index, 0) in shared)
        free = tuple(index for index in held if index.side < 2 and (index, 0) not in shared)
        gram = self._contract(f"gram {factor}", weights, (*_axes(batch), *_axes(inner), *_axes(inner, copy=1)))
        target = self._shaped(self.matrix, (*self.rows, *self.columns))
        wanted = _axes((*batch, *inner, *free))
        right = self._contract(f"right {factor}", [(target, _axes((*self.rows, *self.columns))), *once], wanted)
        sizes = [math.prod(self.size[index] for index in part) for part in (batch, inner, free)]
        order = [held.index(index) for index in (*batch, *inner, *free)]
        now = factors[factor].permute(order)
        a = gram.reshape(sizes[0], sizes[1], sizes[1])
        residual = right.reshape(sizes) - a @ now.reshape(sizes)
        step = torch.linalg.pinv(a, rtol=_SINGULAR, hermitian=True) @ residual
        best = now + step.reshape(now.shape)
        return best.permute([order.index(place) for place in range(len(held))])

    def _shaped(self, tensor: Tensor, held: Sequence[Index]) -> Tensor:
        return tensor.reshape([self.size[index] for index in held])

    def _contract(self, name: str, operands: list[Operand], out: tuple[Axis, ...]) -> Tensor:
        """The einsum of operands, pair by pair; 1 where there are none. One of this name is planned once."""
        left = list(operands) or [(self.matrix.new_ones(()), ())]
        if name not in self._plans:
            self._plans[name] = self._plan([axes for _, axes in left], out)
        for (a, b), arguments in self._plans[name][:-1]:
            made = torch.einsum(left[a][0], arguments[0], left[b][0], arguments[1], arguments[2])
            left = [operand for n, operand in enumerate(left) if n not in (a, b)] + [(made, ())]
        _, (last, asked) = self._plans[name][-1]
        return torch.einsum(left[0][0], last, asked)

    def _plan(self, left: list[tuple[Axis, ...]], out: tuple[Axis, ...]) -> list[Contraction]:
        """Always the pair next whose product is least above what it replaces; at the end the order of the axes."""

        def kept(a: int, b: int) -> tuple[Axis, ...]:
            needed = set(out).union(*(axes for n, axes in enumerate(left) if n not in (a, b)))
            return tuple(axis for axis in dict.fromkeys((*left[a], *left[b])) if axis in needed)

        def growth(pair: tuple[int, int]) -> int:
            return self._volume(kept(*pair)) - self._volume(left[pair[0]]) - self._volume(left[pair[1]])

        plan: list[Contraction] = []
        while len(left) > 1:
            a, b = min(itertools.combinations(range(len(left)), 2), key=growth)
            product = kept(a, b)
            plan.append(((a, b), _numbered(left[a], left[b], product)))
            left = [axes for n, axes in enumerate(left) if n not in (a, b)] + [product]
        return [*plan, ((0, 0), _numbered(left[0], out))]

    def _volume(self, axes: tuple[Axis, ...]) -> int:
        return math.prod(self.size[index] for index, _ in axes)


def _axes(held: Sequence[Index], copy: int = 0) -> tuple[Axis, ...]:
    """The axes of a tensor; those of x and y are the same in every copy."""
    return tuple((index, copy if index.side == 2 else 0) for index in held)


def _numbered(*operands: tuple[Axis, ...]) -> list[list[int]]:
    """Axes as torch.einsum takes them: small numbers."""
    number: dict[Axis, int] = {}
    return [[number.setdefault(axis, len(number)) for axis in axes] for axes in operands]
