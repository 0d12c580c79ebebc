"""omega, psi and nu of a structure as expressions in its exponents, for any exponents at once.

N is a maximum over the factors, F a minimum over the orders of contraction of a maximum over steps, psi a
minimum over cuts, all of sums of exponents. With T, the sum of all exponents (2 and the inner ones), a sum
is T less the exponents that are missing from it, so

    N = T - min over factors of what the factor lacks
    F = T - max over orders of min over steps of what the step does not touch
    omega = F - N,  nu = F - 1,  psi = min over cuts

which for two factors is the paper's omega = min(alpha + delta, beta + epsilon) - min(alpha, epsilon) if A
goes first. Terms that never decide are dropped: under the two constraints (x's exponents sum to 1, y's
too) one sum of exponents is at most another everywhere iff it is so at the corners, which bits decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from einsearch.space.lattice import Lattice, lattice
from einsearch.space.structure import Index, Structure

MinSets = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ClosedForms:
    """Sums of exponents as bit masks of positions in `structure.indices`.

    lacks: N = T - min(lacks). untouched: F = T - max over orders of min(order). cuts: psi = min(cuts).
    """

    structure: Structure
    lacks: tuple[int, ...]
    untouched: MinSets
    cuts: tuple[int, ...]

    @property
    def never_shares(self) -> bool:
        """Whether omega = 0 whatever the exponents: F and N have the same form."""
        return self.untouched == (self.lacks,)

    @property
    def always_shares(self) -> bool:
        """Whether omega > 0 is plain for all positive exponents: every order has a step dearer than any factor."""
        at_most = comparison(lattice(self.structure))
        return not any(
            all(at_most(lack, left) or not at_most(left, lack) for left in order)
            for order in self.untouched
            for lack in self.lacks
        )

    def texts(self, letters: dict[Index, str] | None = None) -> dict[str, str]:
        """N, F, omega, psi and nu in letters, as `min(a, e) - max(...)`.

        >>> from einsearch.space.parse import parse_structure
        >>> forms = closed_forms(parse_structure("kronecker")).texts()
        >>> forms["omega"], forms["psi"], forms["nu"]
        ('min(a + d, b + e) - max(min(a, e), min(b, d))', 'min(b + d, a + e)', '1 - max(min(a, e), min(b, d))')
        """
        write = _Writer(self.structure, letters or self.structure.letters())
        least, greatest = write.minimum(self.lacks), write.max_min(self.untouched)
        shares = least if greatest == "0" else f"{least} - {_bracket(greatest)}"
        return {
            "N": write.total(2, least),
            "F": write.total(2, greatest),
            "omega": "0" if self.never_shares else shares,
            "psi": write.minimum(self.cuts),
            "nu": write.total(1, greatest),
        }


@lru_cache(maxsize=1024)
def closed_forms(structure: Structure) -> ClosedForms:
    """The closed forms of a structure, without the terms that one or two others make needless."""
    table = lattice(structure)
    everything = (1 << len(structure.indices)) - 1
    at_most = comparison(table)

    def rest(mask: int) -> int:
        return _same_sum(everything & ~mask, table)

    lacks = _without_means(_least({rest(mask) for mask in table.factor}, at_most), table)
    orders: list[set[tuple[int, ...]]] = [{()}]
    for contracted in range(1, len(table.live)):
        found = {
            _least({*before, rest(touched)}, at_most)
            for f, touched in table.steps_to(contracted)
            for before in orders[contracted & ~(1 << f)]
        }
        orders.append(_undominated(found, at_most))
    untouched = _undominated({_without_means(order, table) for order in orders[-1]}, at_most)
    cuts = _without_means(_least({_same_sum(cut, table) for cut in table.live}, at_most), table)
    return ClosedForms(structure, lacks, tuple(sorted(untouched)), cuts)


def _same_sum(mask: int, table: Lattice) -> int:
    """One mask of all with its sum: all of y without any of x is as much as all of x without any of y."""
    swaps = not table.y & ~mask and not table.x & mask
    return mask & ~table.y | table.x if swaps else mask


def comparison(table: Lattice) -> Callable[[int, int], bool]:
    """Whether the sum over one mask is at most that over another for all exponents.

    If so, and not the other way round too, it is less wherever all exponents are positive.
    """

    def at_most(a: int, b: int) -> bool:
        more, less = a & ~b, b & ~a
        if not more:
            return True
        if more & table.inner:
            return False
        worst = 0
        for side in (table.x, table.y):
            # The corners of a simplex: all of a side's exponent on one of its indices.
            worst += 1 if more & side else -1 if not side & ~less else 0
        return worst <= 0

    return at_most


def _least(masks: set[int], at_most: Callable[[int, int], bool]) -> tuple[int, ...]:
    """The masks that are not, everywhere, at least some other: those that may be the minimum."""
    kept: list[int] = []
    for mask in sorted(masks):
        if not any(at_most(other, mask) for other in kept):
            kept = [other for other in kept if not at_most(mask, other)] + [mask]
    return tuple(kept)


def _without_means(masks: tuple[int, ...], table: Lattice) -> tuple[int, ...]:
    """Without the masks that are, everywhere, at least the mean of two others, and so of the lesser."""
    kept = list(masks)
    for mask in masks:
        others = [other for other in kept if other != mask]
        if any(_mean_at_most(p, q, mask, table) for p, q in combinations(others, 2)):
            kept = others
    return tuple(kept)


def _mean_at_most(p: int, q: int, mask: int, table: Lattice) -> bool:
    """Whether the mean of two sums is at most a third one for all exponents."""
    if (p | q) & ~mask & table.inner:
        return False
    worst = 0
    for side in (table.x, table.y):
        # The indices on which p + q - 2 mask is 2, 1, 0, -1; the rest of the side has -2.
        levels = (p & q & ~mask, (p ^ q) & ~mask, ~(p | q | mask) | (p & q & mask), (p ^ q) & mask)
        worst += next((2 - n for n, level in enumerate(levels) if level & side), -2)
    return worst <= 0


def _undominated(sets: set[tuple[int, ...]], at_most: Callable[[int, int], bool]) -> set[tuple[int, ...]]:
    """The sets whose minimum is not, everywhere, at most the minimum of another."""

    def below(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return all(any(at_most(p, q) for p in a) for q in b)

    kept: list[tuple[int, ...]] = []
    for candidate in sorted(sets):
        if not any(below(candidate, other) for other in kept):
            kept = [other for other in kept if not below(other, candidate)] + [candidate]
    return set(kept)


class _Writer:
    """Masks as text, each sum written once."""

    def __init__(self, structure: Structure, letters: dict[Index, str]) -> None:
        self._table = lattice(structure)
        self._names = [letters[index] for index in structure.indices]
        self._written: dict[int, str] = {}

    def minimum(self, masks: tuple[int, ...]) -> str:
        return _call("min", [self._sum(mask) for mask in masks])

    def max_min(self, sets: MinSets) -> str:
        return _call("max", [self.minimum(masks) for masks in sets])

    def total(self, constant: int, subtracted: str) -> str:
        """`constant` and the inner exponents, less an expression."""
        inner = self._letters(self._table.inner)
        if subtracted.isdecimal():
            constant -= int(subtracted)
            return " + ".join([str(constant)] * bool(constant or not inner) + inner)
        return f"{' + '.join([str(constant), *inner])} - {_bracket(subtracted)}"

    def _sum(self, mask: int) -> str:
        if mask not in self._written:
            constant, plus, minus = short_sum(self._table, mask)
            text = " + ".join([str(constant)] * bool(constant) + self._letters(plus)) or "0"
            self._written[mask] = text + "".join(f" - {letter}" for letter in self._letters(minus))
        return self._written[mask]

    def _letters(self, mask: int) -> list[str]:
        return [self._names[n] for n in bits(mask)]


def bits(mask: int) -> Iterator[int]:
    """The positions of a bit mask."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def short_sum(table: Lattice, mask: int) -> tuple[int, int, int]:
    """A sum of exponents as constant + sum(plus) - sum(minus), in few terms: x's and y's each sum to 1."""
    constant = minus = 0
    plus = mask
    for side in (table.x, table.y):
        outside = side & ~mask
        if not outside or 1 + outside.bit_count() < (side & mask).bit_count():
            constant += 1
            minus |= outside
            plus &= ~side
    return constant, plus, minus


def _call(name: str, arguments: list[str]) -> str:
    unique = list(dict.fromkeys(arguments))
    return unique[0] if len(unique) == 1 else f"{name}({', '.join(unique)})"


def _bracket(text: str) -> str:
    return f"({text})" if " " in text and not text.startswith(("min(", "max(")) else text
