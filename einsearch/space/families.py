"""The named families of structured matrices as points of the einsum space."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum, Index
from einsearch.space.notation import from_theta, parse_number, write_number

_HALF = Fraction(1, 2)


class Family(Enum):
    """The classes of the paper's table, most special first."""

    DENSE = "Dense"
    LOW_RANK = "Low rank"
    KRONECKER = "Kronecker"
    TENSOR_TRAIN = "Tensor-Train"
    MONARCH = "BTT rank 1"
    BTT = "BTT"
    GENERIC = "Generic"


@dataclass(frozen=True, slots=True)
class Classification:
    """The family of an einsum, and why, in words that a person can check against theta."""

    family: Family
    reason: str


def dense() -> Einsum:
    """One factor W[d_in, d_out]."""
    return Einsum.of(1, {Index(True, (0,), False): Fraction(1), Index(False, (0,), True): Fraction(1)})


def low_rank(rank: Fraction = _HALF) -> Einsum:
    """y = B A x through d**rank channels."""
    return from_theta(1, 0, 0, 0, 1, 0, rank)


def kronecker() -> Einsum:
    return from_theta(_HALF, _HALF, 0, _HALF, _HALF, 0, 0)


def tensor_train(rank: Fraction = Fraction(1, 4)) -> Einsum:
    """Two cores joined by d**rank channels."""
    return from_theta(_HALF, _HALF, 0, _HALF, _HALF, 0, rank)


def btt(rank: Fraction = Fraction(0)) -> Einsum:
    """Block Tensor-Train with square blocks; rank exponent 0 is Monarch."""
    return from_theta(_HALF, 0, _HALF, 0, _HALF, _HALF, rank)


NAMED: dict[str, Callable[..., Einsum]] = {
    "dense": dense,
    "low-rank": low_rank,
    "kronecker": kronecker,
    "tensor-train": tensor_train,
    "monarch": btt,
    "btt": btt,
}
"""Family names that text and YAML may use; those with a rank take it as `name(rank exponent)`."""

_WITHOUT_RANK = {"dense", "kronecker", "monarch"}


def from_name(text: str) -> Einsum:
    """An einsum from `name` or `name(rank exponent)`, as `btt(1/4)`."""
    match = re.fullmatch(r"([A-Za-z][A-Za-z -]*?)\s*(?:\(([^)]*)\))?", text.strip())
    name = match[1].lower().replace(" ", "-") if match else text.strip()
    if not match or name not in NAMED:
        raise EinsearchError(
            f"unknown structure {text.strip()!r}; give a family ({', '.join(NAMED)}), a theta "
            "(alpha|beta|gamma|delta|epsilon|phi|rho) or an einsum string with exponents"
        )
    if match[2] is None:
        return NAMED[name]()
    if name in _WITHOUT_RANK:
        raise EinsearchError(f"family {name} takes no rank, but {match[2]!r} was given; write {name}")
    return NAMED[name](parse_number(match[2], f"rank of {name}"))


def classify(einsum: Einsum) -> Classification:
    """The family of an einsum, from its canonical form.

    >>> classify(low_rank()).family
    <Family.LOW_RANK: 'Low rank'>
    """
    if einsum.factors == 1:
        return Classification(Family.DENSE, "one factor that carries all of x and y")
    if einsum.factors != 2:
        return Classification(Family.GENERIC, f"{einsum.factors} factors: no named family")
    alpha, beta, gamma, delta, epsilon, phi, rho = einsum.canonical().theta
    if alpha == epsilon == 1:
        return Classification(Family.LOW_RANK, "alpha = epsilon = 1: A maps x to rho, B maps rho to y")
    if gamma == phi == 0 and min(alpha, beta, delta, epsilon) > 0:
        if rho == 0:
            return Classification(Family.KRONECKER, "gamma = phi = rho = 0: A and B share no index")
        return Classification(Family.TENSOR_TRAIN, "gamma = phi = 0, rho > 0: cores joined by rho alone")
    if beta == delta == 0:
        if rho == 0:
            return Classification(Family.MONARCH, "beta = delta = rho = 0: two block-diagonal factors")
        return Classification(Family.BTT, "beta = delta = 0, rho > 0: block Tensor-Train of that rank")
    broken = "beta or delta is not 0" if max(gamma, phi) > 0 else "one of alpha, beta, delta, epsilon is 0"
    return Classification(Family.GENERIC, f"no named family: {broken}")


def label(einsum: Einsum) -> str:
    """A short name for tables: the family, with its rank exponent where it has one.

    >>> label(btt(Fraction(1, 4)))
    'BTT rank d^0.25'
    """
    family = classify(einsum).family
    rank = write_number(einsum.theta[-1]) if einsum.factors == 2 else None
    if family is Family.LOW_RANK:
        return f"Low rank d^{rank}"
    if family in (Family.TENSOR_TRAIN, Family.BTT):
        return f"{family.value} rank d^{rank}"
    return family.value
