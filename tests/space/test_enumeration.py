"""Every irreducible structure, each once: against brute force and against counts that build nothing."""

import random
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, combinations, permutations, product
from math import comb

import networkx as nx
import pytest

from einsearch.errors import EinsearchError
from einsearch.space.enumeration import (
    MOST_COMPARISONS,
    count_structures,
    kinds_by_factor,
    require_enumerable,
    structures,
    supports,
)
from einsearch.space.structure import Index, Structure, index_kinds

THREE = {
    3: 5,
    4: 91,
    5: 554,
    6: 1857,
    7: 4116,
    8: 6583,
    9: 7986,
    10: 7573,
    11: 5698,
    12: 3420,
    13: 1640,
    14: 625,
    15: 186,
    16: 43,
    17: 8,
    18: 1,
}
FOUR_UP_TO_SIX = {4: 70, 5: 2486, 6: 36532}


@pytest.fixture(scope="module")
def of_three() -> list[Structure]:
    return list(structures(3))


def every_set(factors: int) -> Iterator[Structure]:
    """All sets of kinds that touch x and y."""
    kinds = index_kinds(factors)
    for chosen in chain.from_iterable(combinations(kinds, m) for m in range(len(kinds) + 1)):
        if {0, 1} <= {kind.side for kind in chosen}:
            yield Structure.of(factors, chosen)


@pytest.mark.parametrize(("factors", "count"), [(1, 1), (2, 40)])
def test_all_subsets_filtered_and_made_canonical_give_the_same(factors: int, count: int) -> None:
    expected = {s.canonical() for s in every_set(factors) if s.reducible_because is None}
    found = list(structures(factors))
    assert set(found) == expected
    assert len(found) == len(expected) == count
    assert sum(count_structures(factors).values()) == count


Polynomial = tuple[int, ...]
"""Coefficient of t**m: the number of sets of m kinds."""


@lru_cache
def unions(orbits: tuple[int, ...], degree: int) -> Polynomial:
    """The number of unions of orbits of these lengths, by size: the product of 1 + t**length."""
    found = [1] + [0] * degree
    for length in orbits:
        for m in range(degree, length - 1, -1):
            found[m] += found[m - length]
    return tuple(found)


def without_absorption(factors: int, renaming: tuple[int, ...], exchange: bool, degree: int) -> Polynomial:
    """Sets of kinds that a renaming (with `exchange`, of x and y too) leaves as they are, by size.

    They touch x and y, and no factor's kinds are all another's. Inclusion-exclusion over the rules that are
    broken: under `f within g` no kind has f without g; under `no x` none has x. What is allowed decides all.
    """
    kinds = index_kinds(factors)
    image = {k: (k.transposed() if exchange else k).renamed(renaming) for k in kinds}
    orbits: list[list[Index]] = []
    for kind in kinds:
        if all(kind not in orbit for orbit in orbits):
            orbit = [kind]
            while (following := image[orbit[-1]]) != kind:
                orbit.append(following)
            orbits.append(orbit)
    rules = [
        [kind.factor_mask >> f & 1 and not kind.factor_mask >> g & 1 for orbit in orbits for kind in orbit]
        for f, g in permutations(range(factors), 2)
    ]
    rules += [[kind.side == side for orbit in orbits for kind in orbit] for side in (0, 1)]
    # The kinds that a broken rule forbids, as a bit mask of the orbits they lie in.
    place = [n for n, orbit in enumerate(orbits) for _ in orbit]
    forbidden = [sum({1 << n for n, hit in zip(place, rule, strict=True) if hit}) for rule in rules]
    signs = Counter({0: 1})
    for mask in forbidden:
        longer = Counter(signs)
        for before, sign in signs.items():
            longer[before | mask] -= sign
        signs = Counter({before: sign for before, sign in longer.items() if sign})
    total = [0] * (degree + 1)
    for mask, sign in signs.items():
        lengths = tuple(sorted(len(orbit) for n, orbit in enumerate(orbits) if not mask >> n & 1))
        for m, count in enumerate(unions(lengths, degree)):
            total[m] += sign * count
    return tuple(total)


def by_burnside(factors: int, degree: int, up_to_transpose: bool = False) -> dict[int, int]:
    """Structures by number of indices, up to `degree`: the mean over the renamings of what each leaves as it is."""
    group = list(product(permutations(range(factors)), (False, True) if up_to_transpose else (False,)))
    fixed = [without_absorption(factors, renaming, exchange, degree) for renaming, exchange in group]
    found = {}
    for m, counts in enumerate(zip(*fixed, strict=True)):
        assert sum(counts) % len(group) == 0
        if any(counts):
            found[m] = sum(counts) // len(group)
    return found


@pytest.mark.parametrize("up_to_transpose", [False, True])
def test_two_factors_are_as_many_as_burnside_says(up_to_transpose: bool) -> None:
    expected = by_burnside(2, len(index_kinds(2)), up_to_transpose)
    assert count_structures(2, up_to_transpose=up_to_transpose) == expected
    assert sum(expected.values()) == (24 if up_to_transpose else 40)


@pytest.mark.parametrize("up_to_transpose", [False, True])
def test_three_factors_are_as_many_as_burnside_says(up_to_transpose: bool) -> None:
    expected = by_burnside(3, len(index_kinds(3)), up_to_transpose)
    assert count_structures(3, up_to_transpose=up_to_transpose) == expected
    assert sum(expected.values()) == (20_512 if up_to_transpose else 40_386)
    assert up_to_transpose or expected == THREE


def test_four_factors_with_few_indices_are_as_many_as_burnside_says() -> None:
    """Less the two in which B, C and D are joined among themselves only: no rule of absorption sees them."""
    expected = by_burnside(4, 6)
    among = [Index(False, held, False) for held in [(1, 2), (1, 3), (2, 3)]]
    alone = [Index(True, (0,), False), Index(False, (0,), True), *among]
    for unconnected in (alone, [*alone, Index(False, (1, 2, 3), False)]):
        structure = Structure.of(4, unconnected)
        assert structure.reducible_because == "factor B is connected neither to x nor to y"
        expected[len(structure.indices)] -= 1
    assert expected == FOUR_UP_TO_SIX
    assert count_structures(4, 6) == FOUR_UP_TO_SIX


def test_the_independent_count_can_be_wrong() -> None:
    """Without the connection to x and y, four factors would be more."""
    assert by_burnside(4, 6) != FOUR_UP_TO_SIX


def test_what_is_listed_is_what_is_counted(of_three: list[Structure]) -> None:
    assert Counter(len(structure.indices) for structure in of_three) == THREE
    assert len(set(of_three)) == len(of_three) == 40_386


def test_all_are_canonical_and_irreducible(of_three: list[Structure]) -> None:
    for structure in of_three[::15]:
        assert structure.canonical() == structure
        assert structure.reducible_because is None
    for structure in structures(4, 5):
        assert structure.canonical() == structure
        assert structure.reducible_because is None


def test_the_order_is_by_number_then_by_kinds(of_three: list[Structure]) -> None:
    place = {kind: n for n, kind in enumerate(kinds_by_factor(3))}
    keys = [(len(s.indices), sorted(place[index] for index in s.indices)) for s in of_three]
    assert keys == sorted(keys)
    assert list(structures(3, 5)) == of_three[: 5 + 91 + 554]
    assert [str(s) for s in of_three[:3]] == [str(s) for s in structures(3, 3)][:3]


def test_two_factors_in_full() -> None:
    found = [str(s) for s in structures(2)]
    assert (found[0], found[-1]) == ("a,a,e->e", "abg,agdfr,bgefr->def")
    assert count_structures(2) == {2: 1, 3: 7, 4: 14, 5: 12, 6: 5, 7: 1}


def test_one_of_each_pair_of_transposes(of_three: list[Structure]) -> None:
    of_few = [structure for structure in of_three if len(structure.indices) <= 6]
    for factors, every in ((2, list(structures(2))), (3, of_few)):
        classes = {frozenset((s, s.transpose().canonical())) for s in every}
        kept = set(structures(factors, 7 if factors == 2 else 6, up_to_transpose=True))
        assert kept <= set(every)
        assert all(len(kept & pair) == 1 for pair in classes)


def test_structures_of_as_many_indices_are_not_isomorphic(of_three: list[Structure]) -> None:
    rng = random.Random(0)
    for m in range(4, 17):
        sample = rng.sample([s for s in of_three if len(s.indices) == m], 12)
        graphs = [incidence(structure) for structure in sample]
        assert not any(isomorphic(a, b) for a, b in combinations(graphs, 2))
        new_name = tuple(rng.sample(range(3), 3))
        assert isomorphic(graphs[0], incidence(sample[0].renamed(new_name)))


def incidence(structure: Structure) -> nx.Graph:
    """Vertices and indices as coloured nodes, joined where a vertex carries an index."""
    found = nx.Graph()
    found.add_nodes_from((vertex, {"kind": vertex}) for vertex in "xy")
    found.add_nodes_from((factor, {"kind": "factor"}) for factor in range(structure.factors))
    for index in structure.indices:
        found.add_node(index, kind="index")
        found.add_edges_from((index, vertex) for vertex in (*index.factors, *"x" * index.in_x, *"y" * index.in_y))
    return found


def isomorphic(a: nx.Graph, b: nx.Graph) -> bool:
    return nx.is_isomorphic(a, b, node_match=lambda m, n: m["kind"] == n["kind"])


def test_the_number_of_sets_of_kinds() -> None:
    assert supports(1) == 1
    assert supports(2) == sum(1 for _ in every_set(2)) == 98
    assert supports(2, 3) == sum(len(s.indices) <= 3 for s in every_set(2))
    assert supports(3) == 258_064
    assert supports(4, 2) == comb(15, 1) ** 2


@pytest.mark.parametrize(
    ("factors", "max_indices", "message"),
    [
        (0, None, "factors is 0; a structure has at least one factor"),
        (-3, 5, "factors is -3; a structure has at least one factor"),
        (7, 2, "factors is 7; structures of at most 6 factors are enumerated"),
        (10**9, None, "factors is 1000000000; structures of at most 6 factors are enumerated"),
        (2, 1, "at most 1 indices: a structure has at least 2, one of x and one of y"),
        (
            4,
            None,
            "4 factors have about 9.2e+10 structures; enumeration ends at 2e+07; give at most 9 indices "
            "(--max-indices 9)",
        ),
        (
            5,
            8,
            "5 factors and at most 8 indices have about 5.6e+08 structures; enumeration ends at 4e+06; "
            "give at most 5 indices (--max-indices 5)",
        ),
    ],
)
def test_what_cannot_finish_is_refused(factors: int, max_indices: int | None, message: str) -> None:
    for ask in (
        lambda: require_enumerable(factors, max_indices),
        lambda: count_structures(factors, max_indices),
        lambda: next(structures(factors, max_indices)),
    ):
        with pytest.raises(EinsearchError) as error:
            ask()
        assert str(error.value) == message


def test_the_number_of_indices_that_a_refusal_names_is_accepted() -> None:
    for factors, most in ((4, 9), (5, 5), (6, 4)):
        require_enumerable(factors, most)
        with pytest.raises(EinsearchError, match=f"--max-indices {most}"):
            require_enumerable(factors, most + 1)


def test_memory_does_not_grow_with_what_has_been_found() -> None:
    """Four factors with nine indices are fifteen million: the first come at once."""
    first = [len(s.indices) for s, _ in zip(structures(4, 9), range(100), strict=False)]
    assert first == [4] * 70 + [5] * 30
    assert supports(4, 9) < MOST_COMPARISONS
