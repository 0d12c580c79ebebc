"""The reference plan: in which order the factors are contracted into x at given integer sizes.

It is pure and never depends on the device: FLOPs, initialization and learning-rate multipliers come from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

from einsearch.space.einsum import Einsum, Index
from einsearch.space.sizes import Sizes, renamed_sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One factor contracted into the running intermediate: a batched matrix product.

    live: indices of the intermediate before; carried: the factor's; out: the intermediate's after.
    batch, contracted and introduced split what is touched: in both and kept, summed, brought in by the
    factor. `passing` is kept and unknown to the factor (it multiplies the rows of the product).
    macs: MACs per input vector. fan_in and fan_out are the factor's, as this step contracts it.
    """

    factor: int
    live: tuple[Index, ...]
    carried: tuple[Index, ...]
    out: tuple[Index, ...]
    batch: tuple[Index, ...]
    contracted: tuple[Index, ...]
    introduced: tuple[Index, ...]
    passing: tuple[Index, ...]
    macs: int
    fan_in: int
    fan_out: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order they run; the last one leaves exactly the indices of y."""

    steps: tuple[Step, ...]

    @property
    def macs(self) -> int:
        """MACs per input vector."""
        return sum(step.macs for step in self.steps)

    @property
    def positions(self) -> tuple[int, ...]:
        """The position of each factor's step."""
        order = [step.factor for step in self.steps]
        return tuple(order.index(factor) for factor in range(len(order)))

    def step_of(self, factor: int) -> Step:
        return next(step for step in self.steps if step.factor == factor)


def reference_plan(einsum: Einsum, sizes: Sizes) -> Plan:
    """The order of least MACs at these sizes; of equally cheap ones the same whatever the factors are called."""
    plans = [_plan(einsum, sizes, order) for order in permutations(range(einsum.factors))]
    least = min(plan.macs for plan in plans)
    cheapest = [plan for plan in plans if plan.macs == least]
    return min(cheapest, key=lambda plan: renamed_sizes(sizes.of, plan.positions))


def _plan(einsum: Einsum, sizes: Sizes, order: tuple[int, ...]) -> Plan:
    size = dict(sizes.of)
    live = tuple(index for index in einsum.indices if index.in_x)
    steps = []
    for position, factor in enumerate(order):
        carried = tuple(index for index in einsum.indices if factor in index.factors)
        remaining = set(order[position + 1 :])
        touched = [index for index in einsum.indices if index in live or index in carried]
        out = tuple(index for index in touched if index.in_y or remaining & set(index.factors))
        contracted = tuple(index for index in touched if index not in out)
        introduced = tuple(index for index in carried if index not in live)
        batch = tuple(index for index in carried if index in live and index in out)
        steps.append(
            Step(
                factor=factor,
                live=live,
                carried=carried,
                out=out,
                batch=batch,
                contracted=contracted,
                introduced=introduced,
                passing=tuple(index for index in live if index not in carried),
                macs=math.prod(size[index] for index in touched),
                fan_in=math.prod(size[index] for index in contracted),
                fan_out=math.prod(size[index] for index in introduced),
            )
        )
        live = out
    return Plan(tuple(steps))
