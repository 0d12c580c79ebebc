"""What an operator is called, and why, in words that a person can check against its indices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache

from einsearch.space.einsum import Einsum, write_number
from einsearch.space.structure import Index, Structure, factor_name
from einsearch.space.taxonomy import taxonomy


class Family(Enum):
    """The named families, most special first. All but the last are sets of structures, whatever the exponents."""

    DENSE = "Dense"
    LOW_RANK = "Low rank"
    KRONECKER = "Kronecker"
    TENSOR_TRAIN = "Tensor-Train"
    MONARCH = "BTT rank 1"
    BTT = "BTT"
    GENERIC = "Generic"


class Trait(Enum):
    """What may be said of an operator besides its family."""

    BLOCK = "block structure"
    FULL_RANK = "full rank"
    RANK_DEFICIENT = "rank-deficient"
    NO_SHARING = "no parameter sharing"
    PARAMETER_SHARING = "parameter-sharing"
    DENSE_EQUIVALENT = "dense-equivalent"
    DEARER_THAN_DENSE = "dearer than dense"
    REDUCIBLE = "reducible"


@dataclass(frozen=True, slots=True)
class Membership:
    """One class that an operator belongs to, and the reason."""

    kind: Family | Trait
    reason: str


@dataclass(frozen=True, slots=True)
class Classification:
    """The families of an einsum, most special first, and its traits, each with its reason.

    Reasons speak of the canonical form.
    """

    families: tuple[Membership, ...]
    traits: tuple[Membership, ...]

    @property
    def family(self) -> Family:
        """The most special family."""
        kind = self.families[0].kind
        assert isinstance(kind, Family)
        return kind

    @property
    def reason(self) -> str:
        """Why it is of that family."""
        return self.families[0].reason

    def has(self, kind: Family | Trait) -> bool:
        return any(membership.kind is kind for membership in (*self.families, *self.traits))


@lru_cache(maxsize=4096)
def classify(einsum: Einsum) -> Classification:
    """The families and traits of an einsum.

    >>> from einsearch.space.families import low_rank
    >>> classify(low_rank()).family, [m.kind.value for m in classify(low_rank()).families]
    (<Family.LOW_RANK: 'Low rank'>, ['Low rank', 'BTT'])
    """
    canonical = einsum.canonical()
    families = tuple(families_of(canonical.structure))
    return Classification(families, tuple(_traits(canonical)))


def families_of(structure: Structure) -> Iterator[Membership]:
    """The families of a structure as it stands, all of its indices above size 1; most special first."""
    if structure.factors == 1:
        yield Membership(Family.DENSE, "one factor that carries all of x and y")
        return
    found = [*_kronecker_or_tensor_train(structure), *_block_tensor_train(structure)]
    found.sort(key=lambda membership: list(Family).index(membership.kind))  # type: ignore[arg-type]
    yield from found
    if not found:
        yield Membership(Family.GENERIC, f"no named family: {_why_generic(structure)}")


def _kronecker_or_tensor_train(structure: Structure) -> Iterator[Membership]:
    outer = {(index.side, index.factors) for index in structure.indices if index.side < 2}
    if outer != {(side, (f,)) for side in (0, 1) for f in range(structure.factors)}:
        return
    two = structure.factors == 2
    links = [index.factors for index in structure.indices if index.side == 2]
    each = "every factor has an index of x and one of y of its own"
    if not links:
        reason = "gamma = phi = rho = 0: A and B share no index" if two else f"{each}, and none is shared"
        yield Membership(Family.KRONECKER, reason)
    elif _is_path(links, structure.factors):
        reason = "gamma = phi = 0, rho > 0: cores joined by rho alone" if two else f"{each}; cores joined in a line"
        yield Membership(Family.TENSOR_TRAIN, reason)


def _is_path(links: list[tuple[int, ...]], factors: int) -> bool:
    """Whether the links are pairs that join all factors in a line."""
    if len(links) != factors - 1 or any(len(link) != 2 for link in links):
        return False
    ends = [f for f in range(factors) if sum(f in link for link in links) == 1]
    reached = {ends[0]} if len(ends) == 2 else set()
    for _ in links:
        reached |= {f for link in links if reached & set(link) for f in link}
    return len(reached) == factors


def _block_tensor_train(structure: Structure) -> Iterator[Membership]:
    order = next(_trains(structure, ()), None)
    if order is None:
        return
    two = structure.factors == 2
    links = [index for index in structure.indices if index.side == 2]
    outer = {(index.side, index.factors) for index in structure.indices if index.side < 2}
    line = " ".join(factor_name(f) for f in order)
    full, none = ("alpha = epsilon", "beta = delta") if order[0] == 0 else ("beta = delta", "alpha = epsilon")
    if outer == {(0, (order[0],)), (1, (order[-1],))}:
        first, last = factor_name(order[0]), factor_name(order[-1])
        reason = f"a product of full matrices {line}, joined one to the next"
        if two and links:
            reason = f"{full} = 1: {first} maps x to rho, {last} maps rho to y"
        elif two:
            reason = f"{full} = 1, rho = 0: {first} maps x to one number, {last} maps it to y"
        yield Membership(Family.LOW_RANK, reason)
    where = (
        f"{none} = 0"
        if two
        else f"in the order {line}, x's indices are carried by prefixes, y's by suffixes, the rest by neighbours"
    )
    if not links:
        reason = f"{none} = rho = 0: two block-diagonal factors" if two else f"{where}; no inner index"
        yield Membership(Family.MONARCH, reason)
    suffix = ", rho > 0: block Tensor-Train of that rank" if two and links else ""
    yield Membership(Family.BTT, where + suffix)


def _trains(structure: Structure, order: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Orders of the factors in which every index of x is on a prefix, of y on a suffix, every other on neighbours.

    In such an order every factor carries all that is live when it is contracted, so omega = 0.
    """
    if len(order) == structure.factors:
        yield order
        return
    for f in range(structure.factors):
        if f not in order and all(_fits(index, order, f) for index in structure.indices):
            yield from _trains(structure, (*order, f))


def _fits(index: Index, before: tuple[int, ...], factor: int) -> bool:
    """Whether an index may still be on a prefix (x), a suffix (y), neighbours (else) if `factor` comes next."""
    held = set(index.factors)
    if index.in_x:
        return held.issuperset(before) if factor in held else held.issubset(before)
    if index.in_y:
        return factor in held or not held & set(before)
    if factor in held:
        return len(held) == 2 and (not held & set(before) or before[-1] in held)
    # Whatever else the last factor is joined to has to come next: known now, it keeps long chains from exploding.
    return not (before and before[-1] in held and not held <= set(before))


def _why_generic(structure: Structure) -> str:
    if structure.factors == 2:
        names = {index.name for index in structure.indices}
        if names & {"x.AB", "y.AB"}:
            return "beta or delta is not 0"
        return "one of alpha, beta, delta, epsilon is 0"
    return (
        f"in no order of the {structure.factors} factors are x's indices on prefixes, y's on suffixes and the rest on "
        "neighbours, and the factors are not cores with one index of x and one of y each"
    )


def _traits(einsum: Einsum) -> Iterator[Membership]:
    found = taxonomy(einsum)
    if reason := einsum.structure.reducible_because:
        yield Membership(Trait.REDUCIBLE, reason)
    shared = [index for index in einsum.indices if index.side < 2 and len(index.factors) > 1]
    if shared:
        letter = einsum.structure.letters()
        named = ", ".join(f"{letter[index]} ({index.name})" for index in shared)
        yield Membership(Trait.BLOCK, f"factors are block-diagonal over what they share with x or y: {named}")
    n, f = (write_number(value) for value in (found.parameters, found.macs))
    if found.omega == 0:
        yield Membership(Trait.NO_SHARING, f"omega = F - N = {f} - {n} = 0")
    else:
        yield Membership(Trait.PARAMETER_SHARING, f"omega = F - N = {f} - {n} = {write_number(found.omega)} > 0")
    if found.psi == 1:
        yield Membership(Trait.FULL_RANK, "psi = 1: no cut between x and y is below 1")
    else:
        yield Membership(Trait.RANK_DEFICIENT, f"psi = {write_number(found.psi)} < 1: the minimum cut")
    if found.nu > 1:
        yield Membership(Trait.DEARER_THAN_DENSE, f"nu = F - 1 = {write_number(found.nu)} > 1")
    if (found.omega, found.psi, found.nu) == (0, 1, 1):
        yield Membership(Trait.DENSE_EQUIVALENT, "omega = 0, psi = nu = 1: the parameters, compute and rank of dense")


def label(einsum: Einsum) -> str:
    """A short name for tables: the family, with its rank exponent where it has one.

    >>> from einsearch.space.families import btt
    >>> label(btt(Fraction(1, 4))), label(btt(Fraction(1, 8), factors=3))
    ('BTT rank d^0.25', 'BTT rank d^0.125, 3 factors')
    """
    family = classify(einsum).family
    name = family.value
    ranks = {value for index, value in einsum.exponents if index.side == 2} or {Fraction(0)}
    if family in (Family.LOW_RANK, Family.TENSOR_TRAIN, Family.BTT):
        shown = write_number(ranks.pop()) if len(ranks) == 1 else "mixed"
        name = f"{name} d^{shown}" if family is Family.LOW_RANK else f"{name} rank d^{shown}"
    return name if einsum.factors <= 2 else f"{name}, {einsum.factors} factors"
