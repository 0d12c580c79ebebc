"""Canonical labelling: one naming of the factors for all that are equal up to renaming.

An einsum is a coloured hypergraph: x and y are told apart, the factors are not, and every index may
carry a weight (an exponent, a size). The canonical naming makes the weights, read factor by factor,
lexicographically greatest: first those of the indices over factor 0 alone, then those that bring in
factor 1, and so on. So names can be given one after the other: after each, only the namings whose
weights so far are greatest go on. Of factors that can be exchanged without any change (twins) one is
tried, so that symmetric structures of many factors stay cheap too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

W = TypeVar("W")
Weights = dict[tuple[int, int], W]
"""Weight of an index by (side, bit mask of its factors); sides are 0 for x, 1 for y, 2 for neither."""


def canonical_naming(factors: int, weights: Mapping[tuple[int, int], Any], absent: Any) -> tuple[int, ...]:
    """The new name of every factor: `new_name[f]`.

    weights: of the indices there are, comparable with each other and with `absent`, the weight of all
    others. Isomorphic hypergraphs become equal under their canonical namings, others never do.

    >>> canonical_naming(2, {(0, 2): 1, (1, 1): 1, (2, 3): 1}, 0)  # x-B, A-y, A-B: B becomes A
    (1, 0)
    """
    twin = twins(factors, weights)
    orders: list[tuple[int, ...]] = [()]  # the factors in the order of their new names
    for position in range(factors):
        best: tuple[Any, ...] | None = None
        kept: list[tuple[int, ...]] = []
        for order in orders:
            tried: set[int] = set()
            for factor in range(factors):
                if factor in order or twin[factor] in tried:
                    continue
                tried.add(twin[factor])
                longer = (*order, factor)
                masks = _masks(longer)
                key = tuple(weights.get((side, masks[bits]), absent) for side, bits in _introduced(position))
                if best is None or key > best:
                    best, kept = key, [longer]
                elif key == best:
                    kept.append(longer)
        orders = kept
    order = orders[0]
    return tuple(order.index(factor) for factor in range(factors))


@lru_cache(maxsize=32)
def _introduced(position: int) -> tuple[tuple[int, int], ...]:
    """Side and new bit mask of the kinds of index whose last new name is `position`."""
    own = 1 << position
    return tuple((side, own | rest) for side in range(3) for rest in range(own) if side < 2 or rest)


def _masks(order: tuple[int, ...]) -> list[int]:
    """Bit mask in old names of every bit mask in new names."""
    masks = [0]
    for factor in order:
        masks += [mask | 1 << factor for mask in masks]
    return masks


def twins(factors: int, weights: Mapping[tuple[int, int], Any]) -> list[int]:
    """For every factor the least one that it can be exchanged with."""
    found = list(range(factors))
    for second in range(factors):
        for first in range(second):
            both = 1 << first | 1 << second
            changed = [(side, mask) for side, mask in weights if (mask & both).bit_count() == 1]
            if all(weights.get((side, mask ^ both)) == weights[side, mask] for side, mask in changed):
                found[second] = found[first]
                break
    return found
