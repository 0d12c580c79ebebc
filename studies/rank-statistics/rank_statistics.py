"""How often the rank of an operator is proven to be the least cut, and how often it lies below.

Random irreducible structures of k = 2, 3, 4 factors: 1 to 3 indices of x, 1 to 3 of y, 0 to 3 inner ones, each of
size 2 to 6, the product on each side at most 64. The rank is measured over prime fields. Seed: k.

    python studies/rank-statistics/rank_statistics.py 3000
"""

from __future__ import annotations

import math
import random
import sys
from fractions import Fraction

from einsearch.space.certificate import certified_rank
from einsearch.space.einsum import Einsum
from einsearch.space.measured_rank import measured_rank
from einsearch.space.operator import Operator
from einsearch.space.plan import reference_plan
from einsearch.space.sizes import Sizes
from einsearch.space.structure import Structure, index_kinds

MOST = 64
"""Product of the sizes of one side."""


def random_operator(draw: random.Random, factors: int) -> Operator:
    """An operator at random integer sizes."""
    sides = [[index for index in index_kinds(factors) if index.side == side] for side in range(3)]
    while True:
        chosen = [
            index
            for side, kinds in enumerate(sides)
            for index in draw.sample(kinds, min(len(kinds), draw.randint(side < 2, 3)))
        ]
        size = {index: draw.randint(2, 6) for index in chosen}
        volume = [math.prod(n for index, n in size.items() if index.side == side) for side in range(3)]
        if max(volume) > MOST or Structure.of(factors, chosen).reducible_because:
            continue
        count = [sum(index.side == side for index in chosen) for side in range(3)]
        einsum = Einsum.of(factors, {index: Fraction(1, count[index.side]) for index in chosen})
        of = tuple((index, size[index]) for index in einsum.indices)
        sizes = Sizes(volume[0], volume[1], volume[0], volume[1], of)
        return Operator(einsum, sizes, reference_plan(einsum, sizes))


def main(count: int) -> None:
    for factors in (2, 3, 4):
        draw = random.Random(factors)
        certified, below = 0, []
        for _ in range(count):
            found = random_operator(draw, factors)
            proof, rank, bound = certified_rank(found), measured_rank(found).rank, found.rank_bound
            assert proof <= rank <= bound
            certified += proof == bound
            if rank < bound:
                below.append(f"  {found.einsum.structure} {found}: rank {rank}, bound {bound}, proven {proof}")
        print(f"{factors} factors: {count} operators, proven {certified / count:.1%}, below the bound {len(below)}")
        print(*below, sep="\n", end="\n" * bool(below), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
