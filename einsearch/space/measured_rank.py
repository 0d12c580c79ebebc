"""The rank of random factors, counted exactly over prime fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.space.operator import Operator

MOST_MACS = 2**35
"""Multiplications that one try of measuring a rank may take: enough for a full-rank layer of 2,048 x 2,048."""

_TRIES = 3
_LEAST_PRIME = 2**20
_PRIMES = 73_586  # between 2^20 and 2^21
_EXACT_TERMS = 2**53 // (2 * _LEAST_PRIME) ** 2  # products of residues that float64 adds exactly
_PANEL = 64
_MOST_ELEMENTS = 2**24

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MeasuredRank:
    """The greatest rank of random factors over the fields GF(p), p in `primes`.

    It never exceeds the generic rank; `error` is the probability that it is below it.
    """

    rank: int
    primes: tuple[int, ...]
    error: float


def measured_rank(operator: Operator, seed: int = 0) -> MeasuredRank:
    """The rank of random factors, counted exactly over prime fields.

    A minor of the matrix is a polynomial in the entries of the factors with integer coefficients. If it
    is not 0 at some entries modulo p, it is not the zero polynomial: the generic rank over the reals is at
    least what is found here. So a rank that attains the least cut is proven, and is found in one try.

    The other way round, the rank r found in a try may be too small in two cases. The minors of size
    r + 1 that are not zero may have only coefficients that p divides: one coefficient has at most
    log2(s! K^s) / 20 prime factors above 2^20, s the bound of the rank and K the product of the sizes of inner indices,
    of the 73,586 between 2^20 and 2^21 from which p is drawn. Or the entries are a root by chance: by Schwartz and
    Zippel with probability at most (k + 2) s / p, for k factors and the two random matrices that
    project the operator to s x s first. `error` is the sum of both to the power of the three tries.

    Raises EinsearchError where a try takes more than MOST_MACS multiplications.
    """
    bound = operator.rank_bound
    macs = bound * (operator.macs + bound * operator.sizes.d_out + bound * bound // 3)
    if macs > MOST_MACS:
        raise EinsearchError(
            f"measuring a rank of up to {bound} at {operator.sizes.d_in} -> {operator.sizes.d_out} takes "
            f"{macs:.1e} MACs, more than {MOST_MACS:.1e}; measure at smaller dimensions, or do without (certified_rank)"
        )
    rank, primes, error = 0, [], 1.0
    for attempt in range(_TRIES):
        random = np.random.default_rng([seed, attempt])
        p = _random_prime(random)
        primes.append(p)
        factors = [random.integers(p, size=operator.factor_shape(f)) for f in range(operator.einsum.factors)]
        rank = max(rank, rank_modulo(_projected(operator, factors, p, bound, random), p))
        if rank == bound:
            return MeasuredRank(rank, tuple(primes), 0.0)
        terms = math.prod(n for index, n in operator.sizes.of if index.side == 2)
        bits = math.lgamma(bound + 1) / math.log(2) + bound * math.log2(terms)
        error *= min(1.0, bits / math.log2(_LEAST_PRIME) / _PRIMES + (operator.einsum.factors + 2) * bound / p)
    return MeasuredRank(rank, tuple(primes), error)


def matrix_modulo(operator: Operator, factors: Sequence[Ints], x: Ints, p: int) -> Ints:
    """Rows of x times the operator's matrix, modulo p: (rows, d_in) -> (rows, d_out), by the reference plan."""
    size = dict(operator.sizes.of)
    rows = len(x)
    z = np.zeros((rows, operator.sizes.padded_in), dtype=np.int64)
    z[:, : operator.sizes.d_in] = x
    z = z.reshape(rows, *(size[index] for index in operator.plan.steps[0].live))
    for step in operator.plan.steps:
        # z: (rows, live) -> (batch, rows x passing, contracted)
        place: dict[Any, int] = {index: n + 1 for n, index in enumerate(step.live)}
        z = z.transpose([*(place[i] for i in step.batch), 0, *(place[i] for i in (*step.passing, *step.contracted))])
        batch, inner = (math.prod(size[index] for index in part) for part in (step.batch, step.contracted))
        # w: (carried) -> (batch, contracted, introduced)
        place = {index: n for n, index in enumerate(step.carried)}
        w = factors[step.factor].transpose([place[i] for i in (*step.batch, *step.contracted, *step.introduced)])
        z = product_modulo(z.reshape(batch, -1, inner), w.reshape(batch, inner, -1), p)
        # (batch, rows, passing, introduced) -> (rows, out)
        held = (*step.batch, None, *step.passing, *step.introduced)
        place = {index: n for n, index in enumerate(held)}
        z = z.reshape([rows if index is None else size[index] for index in held])
        z = z.transpose([place[index] for index in (None, *step.out)])
    return z.reshape(rows, operator.sizes.padded_out)[:, : operator.sizes.d_out]


def product_modulo(a: Ints, b: Ints, p: int) -> Ints:
    """Matrix products (..., m, n) x (..., n, q) of residues modulo p < 2^21, exactly, through float64."""
    total: Ints = np.zeros((), dtype=np.int64)
    for start in range(0, max(1, a.shape[-1]), _EXACT_TERMS):
        part = slice(start, start + _EXACT_TERMS)
        exact = a[..., part].astype(np.float64) @ b[..., part, :].astype(np.float64)
        total = (total + exact.astype(np.int64)) % p
    return total


def rank_modulo(matrix: Ints, p: int) -> int:
    """The rank of a matrix of residues over GF(p), p < 2^21: Gaussian elimination, a panel of columns at a time."""
    rank = 0
    while matrix.size:
        panel, matrix = matrix[:, :_PANEL], matrix[:, _PANEL:]
        rows, columns, inverse = _pivots(panel, p)
        rank += len(rows)
        others = np.delete(np.arange(len(panel)), rows)
        weights = product_modulo(
            panel[others][:, columns], inverse, p
        )  # the other rows of the panel, by its pivot rows
        matrix = (matrix[others] - product_modulo(weights, matrix[rows], p)) % p
    return rank


def _pivots(panel: Ints, p: int) -> tuple[list[int], list[int], Ints]:
    """Rows and columns of an invertible part of a matrix of the same rank, and the inverse of that part."""
    left = panel.copy()
    rows: list[int] = []
    columns: list[int] = []
    for column in range(panel.shape[1]):
        candidates = np.flatnonzero(left[:, column])
        if len(candidates):
            row = int(candidates[0])
            scaled = left[row] * pow(int(left[row, column]), -1, p) % p
            left = (left - left[:, column, None] * scaled) % p
            rows.append(row)
            columns.append(column)
    size = len(rows)
    both = np.hstack([panel[rows][:, columns], np.eye(size, dtype=np.int64)])
    for n in range(size):
        pivot = n + int(np.flatnonzero(both[n:, n])[0])
        both[[n, pivot]] = both[[pivot, n]]
        scaled = both[n] * pow(int(both[n, n]), -1, p) % p
        both = (both - both[:, n, None] * scaled) % p
        both[n] = scaled
    return rows, columns, both[:, size:]


def _projected(operator: Operator, factors: Sequence[Ints], p: int, size: int, random: np.random.Generator) -> Ints:
    """The matrix of the operator between two random ones, (size, size): of its rank, but for bad luck."""
    largest = max(math.prod(operator.sizes[index] for index in step.out) for step in operator.plan.steps)
    chunk = max(1, _MOST_ELEMENTS // max(largest, operator.sizes.padded_in))
    right = random.integers(p, size=(operator.sizes.d_out, size))
    parts = []
    for start in range(0, size, chunk):
        x = random.integers(p, size=(min(chunk, size - start), operator.sizes.d_in))
        parts.append(product_modulo(matrix_modulo(operator, factors, x, p), right, p))
    return np.concatenate(parts)


def _random_prime(random: np.random.Generator) -> int:
    """One of the primes between 2^20 and 2^21, each with the same probability."""
    while True:
        n = int(random.integers(_LEAST_PRIME, 2 * _LEAST_PRIME)) | 1
        if all(n % divisor for divisor in range(3, math.isqrt(n) + 1, 2)):
            return n
