"""Proven lower bounds of the generic rank: the rank of any one choice of factors is one.

Three choices are proven here:

* *Paths.* Take paths from x to y, each a sequence of indices of which neighbours share a factor, and
  give path j a width w_j such that for every index i of size n_i the widths of the paths through it
  multiply to at most n_i. Read a value of i as one digit for each of its paths. A factor in which
  path j goes from one index to the next is a Kronecker delta of their digits of path j; it is 1 in
  the digits of paths that touch its indices elsewhere, and 0 at values that no digits make. Then y's
  digits equal x's, path by path: the rank is the product of the widths.
* *Primes.* Let p^c(i, p) divide n_i. For one prime, indices are hyperedges of capacity c(i, p), and by
  Menger's theorem for hypergraphs there are m_p = min over cuts of sum_i c(i, p) paths of width p that
  use each index at most c(i, p) times. So the rank is at least the product of p^m_p over the primes:
  where all sizes are powers of one prime, the least cut. (Such paths are found by the search for
  paths too, where it is not cut short.)
* *Block Tensor-Train of two factors* (beta = delta = 0; low rank and Monarch are special cases). The
  matrix consists of gamma x phi blocks, each an alpha x epsilon matrix of rank rho or less, any of them:
  so any partial permutation with up to rho ones. All blocks together can be a partial permutation where a row
  of blocks has at most alpha ones and a column at most epsilon: a flow from gamma sources to phi sinks.
  Its greatest value is the minimum over i and j of alpha i + epsilon j + rho (gamma - i)(phi - j), linear in i
  and in j, so least at a corner: min(alpha gamma, epsilon phi, rho gamma phi), the least cut. Where x is
  padded, a row of blocks has a or a + 1 rows in d_in; the minimum over i, fewest rows first, still
  changes by integers that are never of both signs, so it stays at a corner (and so for y). The rank is always
  the least cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from einsearch.errors import EinsearchError
from einsearch.space.cut import product_of
from einsearch.space.lattice import lattice
from einsearch.space.operator import Operator
from einsearch.space.structure import Index

MOST_CUTS = 100_000
MOST_PATHS = 300
"""Limits of the search for paths: cuts to compare, a fraction of a second, and paths to choose from."""


@dataclass(frozen=True, slots=True)
class WidePath:
    """A path from x to y through indices, and how many values it carries."""

    width: int
    indices: tuple[Index, ...]


def rank_of_paths(operator: Operator, paths: Iterable[WidePath]) -> int:
    """The rank that paths prove, checked: the product of their widths.

    Raises EinsearchError where a path does not lead from x to y, or an index is too small for its paths.
    """
    room = unpadded_sizes(operator)
    rank = 1
    for path in paths:
        names = " ".join(index.name for index in path.indices)
        ends = path.indices and path.indices[0].in_x and path.indices[-1].in_y
        joined = all(set(a.factors) & set(b.factors) for a, b in pairwise(path.indices))
        once = len(set(path.indices)) == len(path.indices) and room.keys() >= set(path.indices)
        if not (ends and joined and once) or path.width < 1:
            raise EinsearchError(
                f"no path from x to y of width 1 or more: {names or 'no index'}, width {path.width}; "
                "its indices are the operator's, each once, and neighbours share a factor"
            )
        for index in path.indices:
            room[index] //= path.width
            if not room[index]:
                raise EinsearchError(
                    f"index {index.name} of size {operator.sizes[index]} is too small for its paths, of which "
                    f"{names} has width {path.width}; their widths multiply to at most its size"
                )
        rank *= path.width
    return rank


def unpadded_sizes(operator: Operator) -> dict[Index, int]:
    """Sizes of a box of index values that lies inside d_in and d_out: all of them where nothing is padded."""
    sizes = dict(operator.sizes.of)
    limits = (operator.sizes.d_in, operator.sizes.padded_in), (operator.sizes.d_out, operator.sizes.padded_out)
    for side, (d, stride) in enumerate(limits):
        for index in (index for index in operator.einsum.indices if index.side == side):
            stride //= sizes[index]  # the first index varies slowest
            sizes[index] = max(1, d // stride)
            if d >= stride:
                break
    return sizes


@dataclass(frozen=True, slots=True)
class Certificate:
    """A proven lower bound of the generic rank, and its proof in a few words."""

    rank: int
    reason: str


def certified_rank(operator: Operator) -> int:
    """A proven lower bound of the generic rank, equal to the bound from above in most cases.

    >>> from einsearch.space.operator import operator
    >>> from einsearch.space.parse import parse
    >>> kronecker = operator(parse("kronecker"), 15, 15)
    >>> str(kronecker), certified_rank(kronecker)
    ('a3 b5 d3 e5', 15)
    """
    return certificate(operator).rank


def certificate(operator: Operator) -> Certificate:
    """The best of the three proofs above; of equally good ones paths, which a person can check."""
    bound = operator.rank_bound
    paths = widest_paths(operator, bound)
    letter = operator.einsum.structure.letters()
    written = ", ".join(f"{'-'.join(letter[i] for i in path.indices)} x{path.width}" for path in paths)
    found = [Certificate(rank_of_paths(operator, paths), f"paths {written}" if paths else "any factors but zero")]
    if found[0].rank < bound:
        primes = primes_rank(operator)
        found.append(Certificate(primes, "paths whose widths are primes, as many as the least cut for each prime"))
        if _is_block_tensor_train(operator):
            found.append(Certificate(bound, "the flow between blocks of a block Tensor-Train of two factors"))
    return max(found, key=lambda proof: proof.rank)


def primes_rank(operator: Operator) -> int:
    """The product over all primes p of p to the power of the least cut, where index i has capacity c(i, p)."""
    of = list(unpadded_sizes(operator).values())
    cuts = set(lattice(operator.einsum.structure).live)
    rank, p = 1, 1
    while any(n > 1 for n in of):
        p += 1
        power = [0] * len(of)
        for position in range(len(of)):
            while of[position] % p == 0:
                of[position] //= p
                power[position] += 1
        if any(power):
            rank *= p ** min(sum(c for n, c in enumerate(power) if cut >> n & 1) for cut in cuts)
    return rank


def widest_paths(operator: Operator, target: int) -> tuple[WidePath, ...]:
    """Paths whose widths multiply to as much as possible; the search ends when that is `target`.

    Path after path, the shortest first and the greatest widths first, turning back where the least cut
    of the room that is left cannot lead to more than is found already.
    """
    indices = operator.einsum.indices
    paths = sorted(_induced_paths(indices), key=lambda path: (len(path), path))[:MOST_PATHS]
    cuts = sorted(set(lattice(operator.einsum.structure).live))
    best: tuple[int, tuple[tuple[int, int], ...]] = 1, ()
    evaluations = 0

    def search(position: int, room: list[int], rank: int, taken: tuple[tuple[int, int], ...]) -> bool:
        """Whether to stop: the target is reached, or the limit of evaluations."""
        nonlocal best, evaluations
        if rank > best[0]:
            best = rank, taken
        if best[0] >= target or evaluations > MOST_CUTS:
            return True
        evaluations += len(cuts)
        if position == len(paths) or rank * min(product_of(room, cut) for cut in cuts) <= best[0]:
            return False
        path = paths[position]
        for width in range(min(room[n] for n in path), 1, -1):
            left = [size // width if n in path else size for n, size in enumerate(room)]
            if search(position + 1, left, rank * width, (*taken, (position, width))):
                return True
        return search(position + 1, room, rank, taken)

    search(0, list(unpadded_sizes(operator).values()), 1, ())
    return tuple(WidePath(width, tuple(indices[n] for n in paths[position])) for position, width in best[1])


def _induced_paths(indices: Sequence[Index]) -> Iterator[tuple[int, ...]]:
    """Paths from x to y, as positions of indices, without those that a shortcut would leave with fewer indices."""
    near = [{m for m, b in enumerate(indices) if set(a.factors) & set(b.factors)} for a in indices]

    def longer(path: tuple[int, ...], avoid: set[int]) -> Iterator[tuple[int, ...]]:
        last = path[-1]
        if indices[last].in_y:
            yield path
            return
        for n in sorted(near[last] - avoid):
            if not indices[n].in_x:
                yield from longer((*path, n), avoid | near[last])

    for n, index in enumerate(indices):
        if index.in_x:
            yield from longer((n,), {n})


def _is_block_tensor_train(operator: Operator) -> bool:
    names = {index.name for index, n in operator.sizes.of if n > 1}
    return operator.einsum.factors == 2 and not ({"x.B", "y.A"} & names and {"x.A", "y.B"} & names)
