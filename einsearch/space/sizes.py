"""From exponents to integer sizes: exact factorizations of d_in and d_out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

from einsearch.errors import EinsearchError
from einsearch.space.canonical import canonical_naming
from einsearch.space.einsum import Einsum
from einsearch.space.lattice import lattice
from einsearch.space.structure import Index

WORST_EXPONENT_ERROR = 0.15
"""An exact factorization off by more than this in one exponent gives way to a padded dimension."""

KeyedSizes = tuple[tuple[tuple[int, int, tuple[int, ...]], int], ...]

_TIE = 1e-9
_MOST_TIES = 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """Integer sizes of the indices, and the dimensions they multiply to.

    `of` holds (index, size) in the order of the einsum. padded_in and padded_out equal d_in and d_out
    unless no exact factorization was near enough; then x is padded with zeros and y is cut off.
    """

    d_in: int
    d_out: int
    padded_in: int
    padded_out: int
    of: tuple[tuple[Index, int], ...]

    def __getitem__(self, index: Index) -> int:
        return dict(self.of)[index]

    def product(self, indices: frozenset[Index]) -> int:
        """The product of the sizes of some indices."""
        return math.prod(size for index, size in self.of if index in indices)


@lru_cache(maxsize=65536)
def integer_sizes(einsum: Einsum, d_in: int, d_out: int) -> Sizes:
    """Sizes for a d_in -> d_out layer, as near to the exponents as exact products allow.

    Each side minimises the sum of squared errors of log_d(size). Of equally near factorizations the
    operator takes the one of greatest rank bound, then of fewest parameters, so that ties (every odd
    power of two has some) do not silently make a full-rank structure rank-deficient; what is still
    equal is decided by :func:`canonical_sizes`, whatever the factors are called. An index that
    neither x nor y carries has the integer nearest to min(d_in, d_out)**theta in the logarithm.

    Raises EinsearchError where a dimension is smaller than 1.
    """
    for name, value in (("d_in", d_in), ("d_out", d_out)):
        if value < 1:
            raise EinsearchError(f"{name} is {value}; a dimension is a positive integer")
    exponent = {index: float(value) for index, value in einsum.exponents}
    x_side = tuple(index for index in einsum.indices if index.in_x)
    y_side = tuple(index for index in einsum.indices if index.in_y)
    padded_in, x_choices = _factorize_or_pad(d_in, tuple(exponent[i] for i in x_side))
    padded_out, y_choices = _factorize_or_pad(d_out, tuple(exponent[i] for i in y_side))
    inner = {
        index: _nearest_power(min(d_in, d_out), exponent[index])
        for index in einsum.indices
        if not (index.in_x or index.in_y)
    }
    choices: dict[tuple[int, int], list[Sizes]] = {}
    for x_sizes, y_sizes in product(x_choices, y_choices):
        sizes = inner | dict(zip(x_side, x_sizes, strict=True)) | dict(zip(y_side, y_sizes, strict=True))
        ordered = tuple((index, sizes[index]) for index in einsum.indices)
        choice = Sizes(d_in, d_out, padded_in, padded_out, ordered)
        parameters = sum(choice.product(einsum.of_factor(f)) for f in range(einsum.factors))
        choices.setdefault((-rank_bound(einsum, choice), parameters), []).append(choice)
    return min(choices[min(choices)], key=lambda choice: canonical_sizes(choice.of, einsum.factors))


def canonical_sizes(of: tuple[tuple[Index, int], ...], factors: int) -> KeyedSizes:
    """What all renamings of the factors have in common: :func:`renamed_sizes` in their canonical names.

    Small sizes come first and indices of size 1, which do not count, last.
    """
    weights = {(index.side, index.factor_mask): -n for index, n in of if n > 1}
    return renamed_sizes(of, canonical_naming(factors, weights, -math.inf))


def renamed_sizes(of: tuple[tuple[Index, int], ...], new_name: tuple[int, ...]) -> KeyedSizes:
    """Sort key and size of every index above size 1, in order, after factor `f` is renamed to `new_name[f]`."""
    return tuple(sorted((index.renamed(new_name).sort_key, n) for index, n in of if n > 1))


def rank_bound(einsum: Einsum, sizes: Sizes) -> int:
    """An upper bound of the rank of every operator with these sizes: the least cut, padding removed.

    The rank of random factors nearly always equals it; see :mod:`einsearch.space.rank`.
    """
    table = lattice(einsum.structure)
    least = min(sizes.product(frozenset(table.indices(cut))) for cut in table.live)
    return min(least, sizes.d_in, sizes.d_out)


def _factorize_or_pad(d: int, exponents: tuple[float, ...]) -> tuple[int, list[tuple[int, ...]]]:
    exact = nearest_factorizations(d, exponents)
    if _worst_error(d, exponents, exact[0]) <= WORST_EXPONENT_ERROR:
        return d, exact
    for padded in _smooth_above(d):
        if padded > 2 * d:
            break
        choices = nearest_factorizations(padded, exponents)
        if _worst_error(padded, exponents, choices[0]) <= WORST_EXPONENT_ERROR:
            return padded, choices
    # Tiny dimensions (d = 2 with three indices) have nothing near: the exact one is then the best there is.
    return d, exact


def _worst_error(d: int, exponents: tuple[float, ...], sizes: tuple[int, ...]) -> float:
    if d == 1:
        return 0.0
    return max(abs(math.log(n, d) - e) for n, e in zip(sizes, exponents, strict=True))


@lru_cache(maxsize=16384)
def nearest_factorizations(d: int, exponents: tuple[float, ...]) -> list[tuple[int, ...]]:
    """All ordered factorizations of d (up to 16) that minimise sum_i (log_d n_i - exponent_i)^2."""
    if d == 1 or len(exponents) == 1:
        return [(d,) + (1,) * (len(exponents) - 1)]

    @cache
    def best_from(rest: int, position: int) -> tuple[float, tuple[tuple[int, ...], ...]]:
        if position == len(exponents) - 1:
            return (math.log(rest, d) - exponents[position]) ** 2, ((rest,),)
        least = math.inf
        found: list[tuple[int, ...]] = []
        for n in _divisors(rest):
            own = (math.log(n, d) - exponents[position]) ** 2
            if own > least + _TIE:
                continue
            tail_error, tails = best_from(rest // n, position + 1)
            error = own + tail_error
            if error < least - _TIE:
                least, found = error, []
            if error <= least + _TIE:
                found += [(n, *tail) for tail in tails]
        return least, tuple(found[:_MOST_TIES])

    return list(best_from(d, 0)[1])


@lru_cache(maxsize=4096)
def _divisors(n: int) -> tuple[int, ...]:
    small = [i for i in range(1, math.isqrt(n) + 1) if n % i == 0]
    return tuple(sorted({*small, *(n // i for i in small)}))


def _smooth_above(d: int) -> Iterator[int]:
    """Integers above d with no prime factor above 5, in order."""
    n = d + 1
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            yield n
        n += 1


def _nearest_power(d: int, exponent: float) -> int:
    target = d**exponent
    low = max(1, math.floor(target))
    return min((low, low + 1), key=lambda n: abs(math.log(n) - exponent * math.log(d)))
