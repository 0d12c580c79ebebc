"""The operator as a chain of matrices, one a step of the reference plan, and what they multiply to.

Entries are named, not numbered: a matrix holds for every entry which parameter stands there. y = x W with W the
product of the steps' matrices in their order; rows and columns are live indices, the last varying fastest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.space.operator import Operator
from einsearch.space.plan import Step
from einsearch.space.structure import Index, factor_name

Integers = npt.NDArray[np.int64]

ZERO = -1
"""In place of a parameter where an entry is zero whatever the parameters are."""

MOST_ROWS = 1024
"""And columns, of one matrix: more can neither be seen nor held cheaply."""


@dataclass(frozen=True, slots=True)
class StepMatrix:
    """The matrix of a step: `parameter[row, column]` is the flat index into its factor, or ZERO.

    rows and columns: the indices that are live before and after.
    """

    factor: int
    rows: tuple[Index, ...]
    columns: tuple[Index, ...]
    parameter: Integers


def too_large(operator: Operator) -> str | None:
    """Which step is no matrix to look at, in words, or None where all are."""
    size = dict(operator.sizes.of)
    for step in operator.plan.steps:
        rows, columns = (math.prod(size[index] for index in part) for part in (step.live, step.out))
        if max(rows, columns) > MOST_ROWS:
            return f"the step of factor {factor_name(step.factor)} is a matrix of {rows:,} x {columns:,}"
    return None


def step_matrices(operator: Operator) -> tuple[StepMatrix, ...]:
    """The matrix of every step, in the order of the reference plan.

    An entry is zero unless its row and its column agree in every index that is live before and after.

    Raises EinsearchError where a matrix has more than MOST_ROWS rows or columns.
    """
    if reason := too_large(operator):
        raise EinsearchError(f"{reason}; at most {MOST_ROWS:,} rows and columns are shown, choose smaller dimensions")
    size = dict(operator.sizes.of)
    return tuple(_step_matrix(step, size) for step in operator.plan.steps)


def _step_matrix(step: Step, size: Mapping[Index, int]) -> StepMatrix:
    rows, columns = (math.prod(size[index] for index in part) for part in (step.live, step.out))
    row = {index: at[:, None] for index, at in _coordinates(step.live, size).items()}
    column = {index: at[None, :] for index, at in _coordinates(step.out, size).items()}
    agree = np.ones((rows, columns), dtype=bool)
    for index in (*step.batch, *step.passing):
        agree &= row[index] == column[index]
    parameter = np.broadcast_to(_flat(step.carried, size, column | row), agree.shape)
    return StepMatrix(step.factor, step.live, step.out, np.where(agree, parameter, ZERO))


def terms(operator: Operator) -> Integers:
    """How many products of parameters every entry of W sums, (d_in, d_out); 0 is a structural zero."""
    found: npt.NDArray[np.float64] = np.eye(operator.sizes.padded_in)
    for step in step_matrices(operator):
        found = found @ (step.parameter != ZERO)  # floats: exact for counts like these, and fast
    return found[: operator.sizes.d_in, : operator.sizes.d_out].astype(np.int64)


def sharing(operator: Operator) -> tuple[Integers, ...]:
    """For every factor, which slice of it each entry of W uses, (d_in, d_out): a flat index, or ZERO.

    A slice is a factor at fixed indices of x and y; W sums over the inner ones.
    """
    sizes = operator.sizes
    size = dict(sizes.of)
    x, y = ([index for index in operator.einsum.indices if index.side == side] for side in (0, 1))
    place = {index: at[: sizes.d_in, None] for index, at in _coordinates(x, size).items()}
    place |= {index: at[None, : sizes.d_out] for index, at in _coordinates(y, size).items()}
    used = terms(operator) > 0
    return tuple(
        np.where(used, _flat(slice_indices(operator, f), size, place), ZERO) for f in range(operator.einsum.factors)
    )


def slice_indices(operator: Operator, factor: int) -> tuple[Index, ...]:
    """The indices of a factor that an entry of W fixes."""
    return tuple(index for index in operator.einsum.indices if factor in index.factors and index.side < 2)


def _coordinates(indices: Sequence[Index], size: Mapping[Index, int]) -> dict[Index, Integers]:
    """The value of every index at every place of an axis that is these indices, flattened."""
    shape = [size[index] for index in indices]
    count = math.prod(shape)
    found: dict[Index, Integers] = {}
    apart = count
    for index, n in zip(indices, shape, strict=True):
        apart //= n
        found[index] = np.arange(count, dtype=np.int64) // apart % n
    return found


def _flat(indices: Sequence[Index], size: Mapping[Index, int], place: Mapping[Index, Integers]) -> Integers:
    """The flat index, the last varying fastest; `place` holds arrays that broadcast to the answer."""
    found: Integers = np.zeros((1, 1), dtype=np.int64)
    for index in indices:
        found = found * size[index] + place[index]
    return found
