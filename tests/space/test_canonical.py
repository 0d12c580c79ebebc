"""Canonical labelling against all k! renamings and against graph isomorphism."""

import random
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations, permutations
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsearch.space.canonical import canonical_naming, twins
from einsearch.space.einsum import Einsum
from einsearch.space.families import btt, kronecker, low_rank, tensor_train
from einsearch.space.structure import Index, Structure, index_kinds

Weighted = dict[Index, int]


def hypergraphs(factors: int) -> st.SearchStrategy[Weighted]:
    """A few indices with weights, many of them equal; x or y may carry none."""
    return st.dictionaries(st.sampled_from(index_kinds(factors)), st.integers(1, 2), min_size=1, max_size=9)


def canonical(weights: Weighted, factors: int) -> Weighted:
    keyed = {(i.side, i.factor_mask): weight for i, weight in weights.items()}
    return renamed(weights, canonical_naming(factors, keyed, 0))


def renamed(weights: Weighted, new_name: tuple[int, ...]) -> Weighted:
    return {i.renamed(new_name): weight for i, weight in weights.items()}


def read_out(weights: Mapping[Index, Any], factors: int) -> list[Any]:
    """Weights factor by factor; of each x, y and inner; of these by the earlier factors as a binary number."""

    def place(kind: Index) -> tuple[int, int, list[bool]]:
        return max(kind.factors), kind.side, [f in kind.factors for f in reversed(range(factors))]

    return [weights.get(kind, 0) for kind in sorted(index_kinds(factors), key=place)]


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@settings(max_examples=40)
@given(data=st.data())
def test_canonical_is_the_greatest_of_all_renamings(factors: int, data: st.DataObject) -> None:
    weights = data.draw(hypergraphs(factors))
    greatest = max(
        (renamed(weights, name) for name in permutations(range(factors))),
        key=lambda found: read_out(found, factors),
    )
    assert canonical(weights, factors) == greatest


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@settings(max_examples=40)
@given(data=st.data())
def test_all_renamings_have_one_canonical_form(factors: int, data: st.DataObject) -> None:
    weights = data.draw(hypergraphs(factors))
    expected = canonical(weights, factors)
    assert all(canonical(renamed(weights, name), factors) == expected for name in permutations(range(factors)))


@settings(max_examples=10)
@given(hypergraphs(5))
def test_all_renamings_of_five_factors_have_one_canonical_form(weights: Weighted) -> None:
    expected = canonical(weights, 5)
    assert read_out(expected, 5) == max(read_out(renamed(weights, name), 5) for name in permutations(range(5)))
    assert all(canonical(renamed(weights, name), 5) == expected for name in permutations(range(5)))


@settings(max_examples=50)
@given(einsum=..., data=st.data())
def test_canonical_einsum_does_not_see_the_names_of_the_factors(einsum: Einsum, data: st.DataObject) -> None:
    new_name = tuple(data.draw(st.permutations(range(einsum.factors))))
    expected = einsum.canonical()
    assert einsum.renamed(new_name).canonical() == expected
    assert expected.canonical() == expected
    assert expected in [einsum.renamed(name) for name in permutations(range(einsum.factors))]


@settings(max_examples=50)
@given(structure=..., data=st.data())
def test_canonical_structure_does_not_see_the_names_of_the_factors(structure: Structure, data: st.DataObject) -> None:
    new_name = tuple(data.draw(st.permutations(range(structure.factors))))
    expected = structure.canonical()
    assert structure.renamed(new_name).canonical() == expected
    assert expected.canonical() == expected
    assert expected in [structure.renamed(name) for name in permutations(range(structure.factors))]


def test_two_factors_take_the_greater_theta() -> None:
    for theta in ("0.5|0|0.5|0|0.5|0.5|0", "0.25|0.75|0|0.5|0.5|0|0.125", "0.5|0.5|0|0.25|0.75|0|0"):
        values = [Fraction(value) for value in theta.split("|")]
        einsum = Einsum.of(2, dict(zip(index_kinds(2), values, strict=True)))
        assert einsum.canonical().theta == max(einsum.theta, einsum.renamed((1, 0)).theta)


def test_all_structures_of_two_factors_have_58_classes() -> None:
    """Burnside: 7 * 7 * 2 structures, of which 3 * 3 * 2 stay the same when the factors are exchanged."""
    sides = [[kind for kind in index_kinds(2) if kind.side == side] for side in range(3)]
    x_sets, y_sets, inner_sets = ([s for n in range(len(side) + 1) for s in combinations(side, n)] for side in sides)
    structures = [Structure.of(2, x + y + inner) for x in x_sets[1:] for y in y_sets[1:] for inner in inner_sets]
    assert len(structures) == 98
    assert len({structure.canonical() for structure in structures}) == (98 + 18) // 2


def incidence(weights: Mapping[Index, Any], factors: int) -> nx.Graph:
    """Vertices and indices as coloured nodes, joined where a vertex carries an index."""
    found = nx.Graph()
    found.add_nodes_from((vertex, {"kind": vertex}) for vertex in "xy")
    found.add_nodes_from((factor, {"kind": "factor"}) for factor in range(factors))
    for i, weight in weights.items():
        found.add_node(i, kind=weight)
        carriers = [*i.factors, *("x" * i.in_x), *("y" * i.in_y)]
        found.add_edges_from((i, vertex) for vertex in carriers)
    return found


def isomorphic(a: nx.Graph, b: nx.Graph) -> bool:
    return nx.is_isomorphic(a, b, node_match=lambda m, n: m["kind"] == n["kind"])


@pytest.mark.parametrize("factors", [2, 3, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_canonical_forms_are_equal_exactly_for_isomorphic_graphs(factors: int, weighted: bool) -> None:
    """Random structures of few indices, so that many are alike, each beside one of its renamings."""
    rng = random.Random(factors)
    pairs_of_factors = list(combinations(range(factors), 2))
    einsums = []
    for _ in range(14):
        half = Fraction(1, 2)
        sides = [
            {Index(in_x, held, not in_x): half for held in rng.sample([*((f,) for f in range(factors)), (0, 1)], 2)}
            for in_x in (True, False)
        ]
        inner = {
            Index(False, held, False): rng.choice((half, half / 2)) if weighted else half
            for held in rng.sample(pairs_of_factors, min(2, len(pairs_of_factors)))
        }
        einsum = Einsum.of(factors, sides[0] | sides[1] | inner)
        einsums += [einsum, einsum.renamed(tuple(rng.sample(range(factors), factors)))]
    forms = [einsum.canonical() if weighted else einsum.structure.canonical() for einsum in einsums]
    graphs = [incidence(dict(einsum.exponents), factors) for einsum in einsums]
    found = {(a, b): isomorphic(graphs[a], graphs[b]) for a, b in combinations(range(len(einsums)), 2)}
    assert {pair: forms[pair[0]] == forms[pair[1]] for pair in found} == found
    assert all(found[n, n + 1] for n in range(0, len(einsums), 2))
    assert 14 <= sum(found.values()) < len(found)


def test_weights_tell_apart_what_the_structure_does_not() -> None:
    halves = tensor_train(Fraction(1, 2), factors=3)
    quarters = tensor_train(Fraction(1, 4), factors=3)
    assert halves.structure.canonical() == quarters.structure.canonical()
    assert halves.canonical() != quarters.canonical()


def test_transposes_are_told_apart() -> None:
    """A feeds B and C: its transpose is B and C feeding A."""
    fork = Einsum.of(
        3,
        {
            Index(True, (0,), False): Fraction(1),
            Index(False, (1,), True): Fraction(1, 2),
            Index(False, (2,), True): Fraction(1, 2),
            Index(False, (0, 1), False): Fraction(1, 4),
            Index(False, (0, 2), False): Fraction(1, 4),
        },
    )
    assert fork.canonical() != fork.transpose().canonical()
    assert fork.canonical() == fork.transpose().transpose().canonical()
    assert btt(factors=3).canonical() == btt(factors=3).transpose().canonical()


def keyed(einsum: Einsum) -> dict[tuple[int, int], Fraction]:
    return {(i.side, i.factor_mask): value for i, value in einsum.exponents}


def ring(factors: int) -> Einsum:
    """Cores of one size, each joined with the next and the last with the first."""
    links = [tuple(sorted((f, (f + 1) % factors))) for f in range(factors)]
    joined = {Index(False, held, False): Fraction(1, 8) for held in links}
    return Einsum.of(factors, dict(kronecker(factors).exponents) | joined)


@settings(max_examples=50)
@given(...)
def test_twins_may_be_exchanged_without_any_change(einsum: Einsum) -> None:
    for second, least in enumerate(twins(einsum.factors, keyed(einsum))):
        alike = []
        for first in range(einsum.factors):
            exchanged = list(range(einsum.factors))
            exchanged[first], exchanged[second] = second, first
            if einsum.renamed(tuple(exchanged)) == einsum:
                alike.append(first)
        assert least == alike[0]


def test_twins_of_families() -> None:
    assert twins(8, keyed(kronecker(8))) == [0] * 8
    assert twins(8, keyed(ring(8))) == twins(8, keyed(btt(factors=8))) == list(range(8))
    # In a ring of four, opposite cores have the same neighbours.
    assert twins(4, keyed(ring(4))) == [0, 1, 0, 1]
    assert twins(3, keyed(ring(3))) == [0, 0, 0]
    uneven = {Index(True, (0,), False): Fraction(1, 4), Index(True, (1,), False): Fraction(3, 4)}
    assert twins(2, keyed(kronecker())) == [0, 0]
    assert twins(2, keyed(Einsum.of(2, uneven | dict(kronecker().exponents[2:])))) == [0, 1]


SYMMETRIC = {
    "kronecker": kronecker(8),
    "ring": ring(8),
    "monarch": btt(factors=8),
    "tensor-train": tensor_train(Fraction(1, 8), factors=8),
    "low-rank": low_rank(factors=8),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_eight_factors_have_one_canonical_form(name: str) -> None:
    rng = random.Random(0)
    einsum = SYMMETRIC[name]
    forms = {einsum.renamed(tuple(rng.sample(range(8), 8))).canonical() for _ in range(10)}
    assert forms == {einsum.canonical()}
    assert {einsum.renamed(tuple(rng.sample(range(8), 8))).structure.canonical() for _ in range(10)} == {
        einsum.structure.canonical()
    }


def test_the_forms_of_different_eights_differ() -> None:
    assert len({einsum.canonical() for einsum in SYMMETRIC.values()}) == len(SYMMETRIC)
