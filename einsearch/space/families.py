"""The named families of structured matrices as points of the einsum space."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.notation import parse_number
from einsearch.space.structure import Index

_HALF = Fraction(1, 2)


def dense() -> Einsum:
    """One factor W[d_in, d_out]."""
    return Einsum.of(1, {Index(True, (0,), False): Fraction(1), Index(False, (0,), True): Fraction(1)})


def low_rank(rank: Fraction = _HALF, factors: int = 2) -> Einsum:
    """A product of `factors` matrices, through d**rank channels between them."""
    last = factors - 1
    ends = {Index(True, (0,), False): Fraction(1), Index(False, (last,), True): Fraction(1)}
    return Einsum.of(factors, ends | _links(rank, factors))


def kronecker(factors: int = 2) -> Einsum:
    """The Kronecker product of `factors` square matrices of one size."""
    part = Fraction(1, factors)
    singles = [(side, (f,)) for side in (True, False) for f in range(factors)]
    return Einsum.of(factors, {Index(side, held, not side): part for side, held in singles})


def tensor_train(rank: Fraction = Fraction(1, 4), factors: int = 2) -> Einsum:
    """Cores of one size, neighbours joined by d**rank channels."""
    return Einsum.of(factors, dict(kronecker(factors).exponents) | _links(rank, factors))


def btt(rank: Fraction = Fraction(0), factors: int = 2) -> Einsum:
    """Block Tensor-Train with square blocks of one size; rank exponent 0 is Monarch.

    Factor j contracts x's j-th index and makes y's j-th; it is block-diagonal over the others
    (arXiv 2406.06248 for any number of cores).
    """
    part = Fraction(1, factors)
    order = tuple(range(factors))
    blocks = {Index(True, order[: j + 1], False): part for j in order}
    blocks |= {Index(False, order[j:], True): part for j in order}
    return Einsum.of(factors, blocks | _links(rank, factors))


def _links(rank: Fraction, factors: int) -> dict[Index, Fraction]:
    return {Index(False, (f, f + 1), False): rank for f in range(factors - 1)}


NAMED: dict[str, Callable[..., Einsum]] = {
    "dense": dense,
    "low-rank": low_rank,
    "kronecker": kronecker,
    "tensor-train": tensor_train,
    "monarch": lambda factors=2: btt(factors=factors),
    "btt": btt,
}
"""Family names that text and YAML may use: `name`, `name(rank exponent)`, `name(factors=3)`, or both."""

_WITHOUT_RANK = {"dense", "kronecker", "monarch"}
_MOST_FACTORS = 8


def from_name(text: str) -> Einsum:
    """An einsum from a family's name, as `btt`, `btt(1/4)`, `kronecker(factors=3)`, `btt(1/8, factors=3)`."""
    match = re.fullmatch(r"([A-Za-z][A-Za-z -]*?)\s*(?:\(([^)]*)\))?", text.strip())
    name = match[1].lower().replace(" ", "-") if match else text.strip()
    if not match or name not in NAMED:
        raise EinsearchError(
            f"unknown structure {text.strip()!r}; give a family ({', '.join(NAMED)}), a theta "
            "(alpha|beta|gamma|delta|epsilon|phi|rho) or an einsum string with exponents"
        )
    chosen: dict[str, Fraction | int] = {}
    for argument in (match[2] or "").split(",") if match[2] is not None else ():
        key, equals, value = (part.strip() for part in argument.partition("="))
        if (key if equals else "rank") in chosen:
            raise EinsearchError(f"family {name}: {key if equals else 'rank'} is given twice; write {_usage(name)}")
        if equals and key == "factors" and name != "dense":
            if not value.isdecimal() or not 2 <= int(value) <= _MOST_FACTORS:
                raise EinsearchError(f"family {name} has 2 to {_MOST_FACTORS} factors, not {value or 'nothing'}")
            chosen["factors"] = int(value)
        elif equals and key != "rank":
            raise EinsearchError(f"family {name} takes no {key!r}; write {_usage(name)}")
        elif name in _WITHOUT_RANK:
            raise EinsearchError(
                f"family {name} takes no rank, but {argument.strip()!r} was given; write {_usage(name)}"
            )
        else:
            chosen["rank"] = parse_number(value if equals else argument, f"rank of {name}")
    return NAMED[name](**chosen)


def _usage(name: str) -> str:
    if name == "dense":
        return name
    return f"{name} or {name}(factors=3)" if name in _WITHOUT_RANK else f"{name}(1/4) or {name}(1/4, factors=3)"
