"""The reference plan: in which order the factors are contracted into x at given integer sizes.

It is pure and never depends on the device: FLOPs, initialization and learning-rate multipliers come from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from einsearch.space.canonical import twins
from einsearch.space.einsum import Einsum
from einsearch.space.lattice import Lattice, lattice
from einsearch.space.sizes import Sizes, renamed_sizes
from einsearch.space.structure import Index


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
    table = lattice(einsum.structure)
    of = [n for _, n in sizes.of]
    # Without indices of size 1, which cost nothing: else they would tell twins apart, and k! orders be tried.
    twin = twins(einsum.factors, {(index.side, index.factor_mask): n for index, n in sizes.of if n > 1})
    plans = [_plan(einsum, sizes, order) for order in _cheapest_orders(table, of, twin)]
    return min(plans, key=lambda plan: renamed_sizes(sizes.of, plan.positions))


def _cheapest_orders(table: Lattice, of: list[int], twin: list[int]) -> Iterator[tuple[int, ...]]:
    """Every order of least MACs, by dynamic programming over the lattice; twins in their own order only."""

    def macs(touched: int) -> int:
        return math.prod(n for position, n in enumerate(of) if touched >> position & 1)

    least = [0]
    last: list[list[int]] = [[]]  # the factors that may come last in a cheapest order of the set
    for contracted in range(1, len(table.live)):
        cost = {f: least[contracted & ~(1 << f)] + macs(touched) for f, touched in table.steps_to(contracted)}
        least.append(min(cost.values()))
        last.append([f for f, value in cost.items() if value == least[-1]])

    def orders(contracted: int) -> Iterator[tuple[int, ...]]:
        if not contracted:
            yield ()
        for f in last[contracted]:
            if not any(twin[g] == twin[f] and contracted >> g & 1 for g in range(f + 1, len(twin))):
                for before in orders(contracted & ~(1 << f)):
                    yield (*before, f)

    return orders(len(table.live) - 1)


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
