"""Every irreducible structure of k factors, each once, by orderly generation.

A structure is a set of kinds of index. Its canonical form is the renaming that comes first when the
kinds are read factor by factor, the order of :mod:`einsearch.space.canonical`. If a set is canonical, so
is the set without its last kind (Read 1978, Faradzhev 1978). So the canonical sets of m + 1 kinds are
found by adding a kind behind the last one of every canonical set of m, and keeping the canonical ones:
nothing is generated twice, nothing is remembered. Sets are handled in blocks, as arrays of bit masks
whose highest bit is the first kind; the greatest mask among all renamings is then the canonical one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import comb, factorial

import numpy as np
import numpy.typing as npt

from einsearch.errors import EinsearchError
from einsearch.space.structure import Index, Structure, index_kinds

Masks = npt.NDArray[np.uint64]

MOST_COMPARISONS = 500_000_000
"""Sets of kinds times renamings, beyond which enumerations are refused: a few minutes for any number of factors."""

MOST_FACTORS = 6
"""A set is compared with its images under all renamings of the factors; of seven there are 5,040."""

_BLOCK = 4096
_WORD = 64


def kinds_by_factor(factors: int) -> tuple[Index, ...]:
    """The kinds of index in the order in which the canonical form reads them."""
    return tuple(sorted(index_kinds(factors), key=lambda i: (i.factors[-1], i.side, i.factor_mask)))


def structures(factors: int, max_indices: int | None = None, up_to_transpose: bool = False) -> Iterator[Structure]:
    """Every irreducible structure of `factors` factors with at most `max_indices` indices, in canonical form.

    In the order of the number of indices, then of the kinds; the order never changes. With
    `up_to_transpose` one of a structure and its transpose. Memory does not grow with what has been found.

    Raises EinsearchError where there would be more than MOST_COMPARISONS to make.

    >>> [str(s) for s in structures(1)], sum(1 for _ in structures(2))
    (['a,ab->b'], 40)
    """
    require_enumerable(factors, max_indices)
    search = _Search.of(factors, up_to_transpose)
    for indices in range(2, _last(factors, max_indices) + 1):
        for block in search.canonical_sets(indices):
            for masks in block[search.irreducible(block)]:
                yield search.structure(masks)


def count_structures(factors: int, max_indices: int | None = None, up_to_transpose: bool = False) -> dict[int, int]:
    """The number of irreducible structures by number of indices; as :func:`structures`, without building them."""
    require_enumerable(factors, max_indices)
    search = _Search.of(factors, up_to_transpose)
    found = {
        indices: sum(int(search.irreducible(block).sum()) for block in search.canonical_sets(indices))
        for indices in range(2, _last(factors, max_indices) + 1)
    }
    return {indices: count for indices, count in found.items() if count}


def supports(factors: int, max_indices: int | None = None) -> int:
    """The number of sets of at most `max_indices` kinds that touch x and y, before renaming and reducibility.

    >>> supports(3)
    258064
    """
    side = 2**factors - 1
    inner = side - factors
    total = 0
    for m in range(2, _last(factors, max_indices) + 1):
        total += comb(2 * side + inner, m) - 2 * comb(side + inner, m) + comb(inner, m)
    return total


def require_enumerable(factors: int, max_indices: int | None) -> None:
    """EinsearchError unless the enumeration can finish; it says how large it would be and what to restrict."""
    if factors < 1:
        raise EinsearchError(f"factors is {factors}; a structure has at least one factor")
    if factors > MOST_FACTORS:
        raise EinsearchError(f"factors is {factors}; structures of at most {MOST_FACTORS} factors are enumerated")
    if max_indices is not None and max_indices < 2:
        raise EinsearchError(f"at most {max_indices} indices: a structure has at least 2, one of x and one of y")
    most = MOST_COMPARISONS // factorial(factors)
    if _visits(factors, max_indices) <= most:
        return
    asked = "" if max_indices is None else f" and at most {max_indices} indices"
    fits = [m for m in range(2, _last(factors, None) + 1) if _visits(factors, m) <= most]
    fix = f"give at most {fits[-1]} indices (--max-indices {fits[-1]})" if fits else "give fewer factors"
    raise EinsearchError(
        f"{factors} factors{asked} have about {_visits(factors, max_indices):.2g} structures; "
        f"enumeration ends at {most:.0e}; {fix}"
    )


def _visits(factors: int, max_indices: int | None) -> int:
    """About how many canonical sets there are: nearly all sets have no symmetry."""
    return supports(factors, max_indices) // factorial(factors)


def _last(factors: int, max_indices: int | None) -> int:
    every = 3 * (2**factors - 1) - factors
    return every if max_indices is None else min(max_indices, every)


@dataclass(frozen=True, slots=True)
class _Search:
    """Bit masks of `words` words: of the kinds of each factor and side, and their images under every renaming."""

    factors: int
    kinds: tuple[Index, ...]
    words: int
    of_factor: Masks  # (factors, words)
    of_side: Masks  # (3, words)
    bits: Masks  # (kinds, words)
    images: Masks  # (renamings, bytes, 256, words): what a byte of a mask becomes

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, factors: int, up_to_transpose: bool) -> _Search:
        kinds = kinds_by_factor(factors)
        words = -(-len(kinds) // _WORD)
        bits = np.zeros((len(kinds), words), dtype=np.uint64)
        for n in range(len(kinds)):
            bits[n, n // _WORD] = np.uint64(1) << np.uint64(_WORD - 1 - n % _WORD)
        place = {kind: n for n, kind in enumerate(kinds)}
        renamings = [[place[kind.renamed(name)] for kind in kinds] for name in permutations(range(factors))]
        if up_to_transpose:
            exchanged = [place[kind.transposed()] for kind in kinds]
            renamings += [[exchanged[n] for n in renaming] for renaming in renamings]
        return cls(
            factors,
            kinds,
            words,
            np.array([_union(bits, [n for n, i in enumerate(kinds) if f in i.factors]) for f in range(factors)]),
            np.array([_union(bits, [n for n, i in enumerate(kinds) if i.side == side]) for side in range(3)]),
            bits,
            np.array([_byte_images(bits, renaming) for renaming in renamings if renaming != list(range(len(kinds)))]),
        )

    def canonical_sets(self, indices: int) -> Iterator[Masks]:
        """Blocks (sets, words) of all canonical sets of so many kinds, in order."""
        yield from self._longer(np.zeros((1, self.words), dtype=np.uint64), np.array([-1]), indices)

    def _longer(self, sets: Masks, last: npt.NDArray[np.int64], missing: int) -> Iterator[Masks]:
        if not missing:
            yield sets
            return
        # The kinds that may follow the last one and leave room for the others.
        ends = len(self.kinds) - missing + 1
        counts = np.maximum(ends - (last + 1), 0)
        for begin, end in _blocks(counts):
            own = counts[begin:end]
            parent = np.repeat(np.arange(begin, end), own)
            within = np.arange(len(parent)) - np.repeat(np.cumsum(own) - own, own)
            added = last[parent] + 1 + within
            longer = sets[parent] | self.bits[added]
            kept = self._canonical(longer)
            if kept.any():
                yield from self._longer(longer[kept], added[kept], missing - 1)

    def _canonical(self, sets: Masks) -> npt.NDArray[np.bool_]:
        """Whether no renaming gives a greater mask."""
        alive = np.arange(len(sets))
        for images in self.images:
            own = sets[alive]
            image = _image(own, images)
            greater = np.zeros(len(own), dtype=bool)
            equal = np.ones(len(own), dtype=bool)
            for word in range(self.words):
                greater |= equal & (image[:, word] > own[:, word])
                equal &= image[:, word] == own[:, word]
            alive = alive[~greater]
        kept = np.zeros(len(sets), dtype=bool)
        kept[alive] = True
        return kept

    def irreducible(self, sets: Masks) -> npt.NDArray[np.bool_]:
        """The rule of :func:`einsearch.space.structure.reducible_because`, for (sets, words) at once."""
        carried = [sets & own for own in self.of_factor]
        kept = (sets & self.of_side[0]).any(axis=1) & (sets & self.of_side[1]).any(axis=1)
        for f, own in enumerate(carried):
            for g in range(self.factors):
                if f != g:
                    kept &= (own & ~self.of_factor[g]).any(axis=1)
        outer = self.of_side[0] | self.of_side[1]
        reached = [(own & outer).any(axis=1) for own in carried]
        for _ in range(self.factors - 1):
            for f in range(self.factors):
                for g in range(self.factors):
                    if f != g:
                        reached[f] = reached[f] | (reached[g] & (carried[f] & carried[g]).any(axis=1))
        for found in reached:
            kept &= found
        return kept

    def structure(self, masks: Masks) -> Structure:
        present = (self.bits & masks).any(axis=1)
        return Structure.of(self.factors, (self.kinds[n] for n in np.flatnonzero(present)))


def _blocks(counts: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of parents whose children together are about a block."""
    begin = total = 0
    for n, count in enumerate(counts):
        total += int(count)
        if total >= _BLOCK:
            yield begin, n + 1
            begin, total = n + 1, 0
    if total:
        yield begin, len(counts)


def _union(bits: Masks, chosen: Sequence[int]) -> Masks:
    found: Masks = np.bitwise_or.reduce(bits[list(chosen)], axis=0) if chosen else np.zeros_like(bits[0])
    return found


def _byte_images(bits: Masks, renaming: Sequence[int]) -> Masks:
    """What every value of every byte of a mask becomes when kind n becomes kind renaming[n]."""
    words = bits.shape[1]
    table = np.zeros((words * 8, 256, words), dtype=np.uint64)
    values = np.arange(256)
    for n, image in enumerate(renaming):
        has = (values >> (7 - n % 8) & 1).astype(bool)
        table[n // 8, has] |= bits[image]
    return table


def _image(sets: Masks, table: Masks) -> Masks:
    """The masks after a renaming."""
    octets = sets.astype(">u8").view(np.uint8)
    image = table[0, octets[:, 0]]
    for n in range(1, octets.shape[1]):
        image = image | table[n, octets[:, n]]
    return image
