"""Execution plans: how an operator's products run on a machine, as data.

Activations are feature-major: a vector's features vary slowly, the tokens fastest, so that every step is
one batched matrix product with long contiguous columns, and what has to be permuted between two steps are
whole rows of tokens. A step of the reference plan becomes

    out[b, i, c] = sum_k factor[b, i, k] * z[b, k, c]

with b the indices that both carry and the result keeps, k the contracted, i those that the factor brings in,
and c the columns: the tokens and the indices that only z carries. z can be read where it lies if each of the
groups b, k and c is one axis of it (a single stride); else it is copied, or indices that only z carries join b
and the factor's values are repeated for them. The plan of least traffic is found by dynamic programming over
the layouts of the intermediates; the arithmetic is that of the reference plan in all of them. Indices of size
1 appear nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations

from einsearch.space.operator import Operator
from einsearch.space.plan import Step
from einsearch.space.structure import Index

Layout = tuple[Index, ...]
"""Indices of an intermediate, the slowest first; the tokens follow as the fastest axis."""

TOKENS = 4096
"""Tokens at which plans are compared: repeated factors weigh against copied activations. A constant, so that a
plan, and with it every bit of a result, does not depend on the batch."""

BYTES = 4
"""Of a number (float32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One batched matrix product of a plan.

    source: layout of z as it lies before the step. copied: the layout it is permuted to first, or None where it
    is read in place. batch, contracted, columns: the groups as they are merged in z, each slowest first (the
    tokens come after `columns`); introduced: in the order in which the result has them. repeated: the indices of
    `batch` that the factor does not carry. The result lies as batch, introduced, columns.
    batch_size, m, n, k: of the product for one token: (batch_size, m, k) x (batch_size, k, n * tokens).
    """

    factor: int
    source: Layout
    copied: Layout | None
    batch: Layout
    contracted: Layout
    introduced: Layout
    columns: Layout
    repeated: Layout
    batch_size: int
    m: int
    n: int
    k: int

    @property
    def read(self) -> Layout:
        """The layout that the product reads."""
        return self.source if self.copied is None else self.copied

    @property
    def out(self) -> Layout:
        return (*self.batch, *self.introduced, *self.columns)

    @property
    def macs(self) -> int:
        """MACs per token."""
        return self.batch_size * self.m * self.n * self.k

    def factor_order(self) -> Layout:
        """The factor's axes as the product wants them: batch (without the repeated), introduced, contracted."""
        return (*(i for i in self.batch if i not in self.repeated), *self.introduced, *self.contracted)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPlan:
    """Products in the order they run. x lies in the einsum's order; so does y, after `last_copy` if there is one.

    sizes: of every index above 1. values_moved: numbers read or written for one token, factors apart.
    """

    products: tuple[Product, ...]
    last_copy: Layout | None
    sizes: tuple[tuple[Index, int], ...]

    @property
    def macs(self) -> int:
        """MACs per token; the reference plan's."""
        return sum(product.macs for product in self.products)

    @property
    def copies(self) -> int:
        """How many permutations did not disappear into a neighbour."""
        return sum(product.copied is not None for product in self.products) + (self.last_copy is not None)

    @property
    def values_moved(self) -> int:
        size = dict(self.sizes)
        moved = sum(_traffic(product, size) for product in self.products)
        return moved + (2 * _volume(self.last_copy, size) if self.last_copy is not None else 0)

    def flops(self, tokens: int) -> int:
        """Of a forward pass: 2 a MAC."""
        return 2 * self.macs * tokens

    def bytes_moved(self, tokens: int) -> int:
        """Of a forward pass in float32, if every array is read and written once: activations and factors."""
        factors = sum(p.batch_size * p.m * p.k for p in self.products)
        return BYTES * (self.values_moved * tokens + factors)


@lru_cache(maxsize=65536)
def execution_plan(operator: Operator) -> ExecutionPlan:
    """The feature-major plan of least traffic.

    >>> from einsearch.space.operator import operator
    >>> from einsearch.space.parse import parse
    >>> plan = execution_plan(operator(parse("btt"), 64, 64))
    >>> [(p.batch_size, p.m, p.n, p.k) for p in plan.products], plan.copies
    ([(8, 8, 1, 8), (8, 8, 1, 8)], 1)
    """
    size = {index: n for index, n in operator.sizes.of if n > 1}
    steps = [_without_ones(step, size) for step in operator.plan.steps]
    groups = _groups(steps)
    start: Layout = tuple(index for index in operator.einsum.indices if index.in_x and index in size)
    best: dict[Layout, tuple[int, tuple[Product, ...]]] = {start: (0, ())}
    for step in steps:
        found: dict[Layout, tuple[int, tuple[Product, ...]]] = {}
        for layout, (cost, before) in best.items():
            for product in _products(step, layout, groups, size):
                total = cost + _cost(product, size)
                if product.out not in found or total < found[product.out][0]:
                    found[product.out] = total, (*before, product)
        best = found
    wanted: Layout = tuple(index for index in operator.einsum.indices if index.in_y and index in size)
    volume = TOKENS * 2 * _volume(wanted, size)
    last = min(best, key=lambda layout: best[layout][0] + (volume if layout != wanted else 0))
    return ExecutionPlan(
        products=best[last][1],
        last_copy=wanted if last != wanted else None,
        sizes=tuple(size.items()),
    )


def mergeable(layout: Layout, group: Layout) -> bool:
    """Whether indices lie beside each other, in this order, so that they are one axis."""
    if not group:
        return True
    first = layout.index(group[0])
    return layout[first : first + len(group)] == group


@dataclass(frozen=True, slots=True)
class _Roles:
    """The indices of a step, those above size 1."""

    factor: int
    batch: frozenset[Index]
    contracted: frozenset[Index]
    introduced: frozenset[Index]
    passing: frozenset[Index]


def _without_ones(step: Step, size: dict[Index, int]) -> _Roles:
    batch, contracted, introduced, passing = (
        frozenset(index for index in part if index in size)
        for part in (step.batch, step.contracted, step.introduced, step.passing)
    )
    return _Roles(step.factor, batch, contracted, introduced, passing)


def _groups(steps: list[_Roles]) -> dict[Index, tuple[int, ...]]:
    """What every index is to each step. Indices that are the same to all later steps may as well stay in one order."""
    held: dict[Index, list[int]] = {}
    for n, step in enumerate(steps):
        for role, part in enumerate((step.batch, step.contracted, step.introduced, step.passing)):
            for index in part:
                held.setdefault(index, [4] * len(steps))[n] = role
    return {index: tuple(roles) for index, roles in held.items()}


def _orders(indices: Iterable[Index], groups: dict[Index, tuple[int, ...]]) -> list[Layout]:
    """Orders of some indices: every order of the groups that later steps tell apart."""
    parts: dict[tuple[int, ...], list[Index]] = {}
    for index in sorted(indices, key=_place):
        parts.setdefault(groups[index], []).append(index)
    return [tuple(i for part in order for i in part) for order in permutations(parts.values())]


def _products(
    step: _Roles, layout: Layout, groups: dict[Index, tuple[int, ...]], size: dict[Index, int]
) -> Iterator[Product]:
    """Every way to run a step on an intermediate that lies in `layout`."""
    introduced_orders = _orders(step.introduced, groups)
    for count in range(len(step.passing) + 1):
        for repeated in combinations(sorted(step.passing, key=_place), count):
            batch = step.batch | set(repeated)
            columns = step.passing - set(repeated)
            own = tuple(tuple(i for i in layout if i in part) for part in (batch, step.contracted, columns))
            in_place = all(mergeable(layout, part) for part in own) and layout[len(layout) - len(own[2]) :] == own[2]
            reads: list[tuple[Layout | None, tuple[Layout, ...]]] = [(None, own)] if in_place else []
            if not in_place:
                reads = [
                    ((*b, *k, *c), (b, k, c))
                    for b in _orders(batch, groups)
                    for k in _orders(step.contracted, groups)
                    for c in _orders(columns, groups)
                ]
            for copied, (b, k, c) in reads:
                for introduced in introduced_orders:
                    yield Product(
                        factor=step.factor,
                        source=layout,
                        copied=copied,
                        batch=b,
                        contracted=k,
                        introduced=introduced,
                        columns=c,
                        repeated=tuple(i for i in b if i in repeated),
                        batch_size=_volume(b, size),
                        m=_volume(introduced, size),
                        n=_volume(c, size),
                        k=_volume(k, size),
                    )


def _place(index: Index) -> tuple[int, int]:
    return index.side, index.factor_mask


def _volume(indices: Iterable[Index], size: dict[Index, int]) -> int:
    return math.prod(size[index] for index in indices)


def _traffic(product: Product, size: dict[Index, int]) -> int:
    """Numbers read and written for one token: z, the result, and a copy of z."""
    copied = 2 * _volume(product.source, size) if product.copied is not None else 0
    return copied + _volume(product.source, size) + _volume(product.out, size)


def _cost(product: Product, size: dict[Index, int]) -> int:
    """Traffic for TOKENS tokens, repeated factors included (written once, read once)."""
    repeated = 2 * product.batch_size * product.m * product.k if product.repeated else 0
    return TOKENS * _traffic(product, size) + repeated
