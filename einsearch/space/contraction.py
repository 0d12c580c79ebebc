"""What a batch of input vectors really costs: the cheapest of all orders of pairwise contraction.

The reference plan contracts the factors into x one after the other. Factors may also be contracted
with each other first (merged): those MACs are paid once for the whole batch, so that with enough input
vectors a merged operator can be the cheaper one. A tree costs `once + batch * per_vector` MACs: `once`
is the merging, `per_vector` the contractions into x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from einsearch.errors import EinsearchError
from einsearch.space.operator import Operator
from einsearch.space.structure import Index, factor_name

MOST_FACTORS = 12
"""There are 3^(factors + 1) ways to split a set of operands in two; beyond this they take many seconds."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """An operand as it is given: x (`factor` is None) or a factor. `kept`: its indices, the batch apart."""

    factor: int | None
    kept: tuple[Index, ...]

    @property
    def has_x(self) -> bool:
        """Whether it carries the batch index."""
        return self.factor is None

    def __str__(self) -> str:
        return "x" if self.factor is None else factor_name(self.factor)


@dataclass(frozen=True, slots=True)
class Pair:
    """The contraction of two operands; where x is in it, x is in the left one.

    kept: the indices of the result, those that y or an operand outside needs, the batch apart. macs:
    the product of the sizes of all indices of the two, the batch included where x is in it.
    """

    left: Leaf | Pair
    right: Leaf | Pair
    kept: tuple[Index, ...]
    macs: int

    @property
    def has_x(self) -> bool:
        """Whether it carries the batch index."""
        return self.left.has_x

    def __str__(self) -> str:
        left, right = (f"({part})" if isinstance(part, Pair) else str(part) for part in (self.left, self.right))
        return f"{left} {right}"


@dataclass(frozen=True, slots=True)
class ContractionTree:
    """The cheapest tree for `batch` input vectors; `str()` shows it, as `(x A) B` or `x (A B)`."""

    root: Pair
    batch: int

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The contractions, in an order in which they can run."""
        return tuple(_pairs(self.root))

    @property
    def once(self) -> int:
        """MACs of merging factors, whatever the batch."""
        return sum(pair.macs for pair in self.pairs if not pair.has_x)

    @property
    def per_vector(self) -> int:
        """MACs per input vector of the contractions into x."""
        return sum(pair.macs for pair in self.pairs if pair.has_x) // self.batch

    @property
    def macs(self) -> int:
        """MACs for the whole batch."""
        return self.once + self.batch * self.per_vector

    @property
    def macs_per_vector(self) -> float:
        """MACs of the whole batch, divided by its size."""
        return self.macs / self.batch

    @property
    def merges(self) -> bool:
        """Whether factors are contracted with each other before x."""
        return any(not pair.has_x for pair in self.pairs)

    def __str__(self) -> str:
        return str(self.root)


def contraction_tree(operator: Operator, batch: int) -> ContractionTree:
    """The tree of least MACs for `batch` input vectors, at the padded sizes as `Operator.macs`.

    Where merging saves nothing it is the reference plan; of trees that merge and cost the same, one
    with the fewest merges. Exact, by dynamic programming over the sets of operands.

    Raises EinsearchError for a batch below 1 and beyond MOST_FACTORS factors.

    >>> from einsearch.space.operator import operator
    >>> from einsearch.space.parse import parse
    >>> btt = contraction_tree(operator(parse("btt"), 64, 64), 512)
    >>> str(btt), btt.macs_per_vector
    ('(x A) B', 1024.0)
    """
    if batch < 1:
        raise EinsearchError(f"batch is {batch}; give the number of input vectors, 1 or more")
    factors = operator.einsum.factors
    if factors > MOST_FACTORS:
        raise EinsearchError(
            f"{factors} factors have 3^{factors + 1} pairs of sets of operands to compare; at most {MOST_FACTORS} "
            "factors are analysed, and Operator.macs has the cost without merging"
        )
    operands = _Operands(operator, batch)
    macs, splits = _cheapest(operands)
    if macs == batch * operator.macs:
        # No merging is needed: the reference plan, whose ties do not depend on the factors' names.
        chain, splits = operands.x, {}
        for step in operator.plan.steps:
            longer = chain | 1 << step.factor
            splits[longer] = chain
            chain = longer
    root = operands.tree(operands.x | operands.x - 1, splits)
    assert isinstance(root, Pair)
    return ContractionTree(root, batch)


def merges_from(operator: Operator) -> int | None:
    """The least number of input vectors from which merging factors before x is cheaper, or None: it never is.

    Once it pays it pays for every greater batch: merging costs MACs once and saves some per vector.

    Raises EinsearchError as :func:`contraction_tree`.

    >>> from einsearch.space.operator import operator
    >>> from einsearch.space.parse import parse
    >>> merges_from(operator(parse("low-rank"), 64, 64))
    >>> merges_from(operator(parse("low-rank(5/6)"), 64, 64))  # 4,096 instead of 2 * 2,048 MACs: no gain
    >>> merges_from(operator(parse("low-rank(9/10)"), 64, 64))  # 64 * 42 * 64 MACs once save 1,280 per vector
    135
    """
    # A batch so large that a tree with the fewest MACs per vector is the cheapest, whatever its merging costs.
    batch = 1 + operator.einsum.factors * math.prod(n for _, n in operator.sizes.of)
    tree = contraction_tree(operator, batch)
    if not tree.merges:
        return None
    while tree.merges:
        batch = tree.once // (operator.macs - tree.per_vector) + 1  # the least at which this tree is cheaper
        if batch == 1:
            return 1
        tree = contraction_tree(operator, batch - 1)
    return batch


class _Operands:
    """Sets of operands as bit masks: bit f is factor f, the highest bit is x. Indices are masks of positions."""

    def __init__(self, operator: Operator, batch: int) -> None:
        self.batch = batch
        self.x = 1 << operator.einsum.factors
        self.of = operator.sizes.of
        held = [(index.factor_mask | self.x * index.in_x, index.in_y) for index, _ in self.of]
        self.kept = [
            sum(1 << n for n, (who, in_y) in enumerate(held) if who & those and (in_y or who & ~those))
            for those in range(2 * self.x)
        ]
        self._volumes: dict[int, int] = {}

    def macs(self, left: int, right: int) -> int:
        """MACs of contracting the results of two sets of operands with each other."""
        touched = self.kept[left] | self.kept[right]
        if touched not in self._volumes:
            self._volumes[touched] = math.prod(n for position, (_, n) in enumerate(self.of) if touched >> position & 1)
        return self._volumes[touched] * (self.batch if (left | right) & self.x else 1)

    def tree(self, those: int, splits: dict[int, int]) -> Leaf | Pair:
        """The tree of a set, from the left part of every set that is split."""
        kept = tuple(index for position, (index, _) in enumerate(self.of) if self.kept[those] >> position & 1)
        if those & (those - 1) == 0:
            return Leaf(None if those == self.x else those.bit_length() - 1, kept)
        left = splits[those]
        right = those ^ left
        if not those & self.x and right & -right < left & -left:
            left, right = right, left  # written in the order of the factors
        return Pair(self.tree(left, splits), self.tree(right, splits), kept, self.macs(left, right))


def _cheapest(operands: _Operands) -> tuple[int, dict[int, int]]:
    """Least MACs of contracting all operands, and the left part of every set in a tree that attains it."""
    everything = operands.x | operands.x - 1
    best: dict[int, tuple[int, int]] = {}  # MACs and number of merges, of every set
    splits: dict[int, int] = {}
    for those in range(1, everything + 1):
        if those & (those - 1) == 0:
            best[those] = 0, 0
            continue
        highest = 1 << those.bit_length() - 1  # x where it is in the set: so the left part holds it
        rest = those ^ highest
        right = rest
        while right:
            left = those ^ right
            macs = best[left][0] + best[right][0] + operands.macs(left, right)
            merges = best[left][1] + best[right][1] + (highest != operands.x)
            if those not in best or (macs, merges) < best[those]:
                best[those], splits[those] = (macs, merges), left
            right = right - 1 & rest
    return best[everything][0], splits


def _pairs(tree: Leaf | Pair) -> Iterator[Pair]:
    if isinstance(tree, Pair):
        yield from _pairs(tree.left)
        yield from _pairs(tree.right)
        yield tree
