"""The hypergraph of an einsum: its kinds of index, canonical form, transpose and rules."""

import random
from fractions import Fraction
from itertools import chain, combinations, permutations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum, Index, index_kinds, reducible_because
from einsearch.space.notation import parse

HALF = Fraction(1, 2)
X, Y, INNER = (True, False), (False, True), (False, False)


def index(side: tuple[bool, bool], *factors: int) -> Index:
    return Index(side[0], factors, side[1])


@pytest.mark.parametrize(("factors", "count"), [(1, 2), (2, 7), (3, 18), (4, 41)])
def test_index_kinds_are_all_valid_sets_of_vertices(factors: int, count: int) -> None:
    vertices = ["x", "y", *range(factors)]
    subsets = chain.from_iterable(combinations(vertices, n) for n in range(2, len(vertices) + 1))
    valid = {
        Index("x" in s, tuple(v for v in s if isinstance(v, int)), "y" in s)
        for s in subsets
        if not {"x", "y"} <= set(s)
    }
    kinds = index_kinds(factors)
    assert len(kinds) == len(set(kinds)) == count
    assert set(kinds) == valid


def test_two_factors_are_in_the_order_of_the_paper() -> None:
    alpha, beta, gamma = index(X, 0), index(X, 1), index(X, 0, 1)
    delta, epsilon, phi = index(Y, 0), index(Y, 1), index(Y, 0, 1)
    assert index_kinds(2) == (alpha, beta, gamma, delta, epsilon, phi, index(INNER, 0, 1))


@given(einsum=..., data=st.data())
def test_canonical_form_does_not_see_the_names_of_the_factors(einsum: Einsum, data: st.DataObject) -> None:
    new_name = data.draw(st.permutations(range(einsum.factors)))
    renamed = {Index(i.in_x, tuple(sorted(new_name[f] for f in i.factors)), i.in_y): v for i, v in einsum.exponents}
    canonical = einsum.canonical()
    assert Einsum.of(einsum.factors, renamed).canonical() == canonical
    assert canonical.canonical() == canonical
    assert sorted(v for _, v in canonical.exponents) == sorted(v for _, v in einsum.exponents)


def graph(einsum: Einsum) -> nx.Graph:
    """Vertices and indices as nodes, joined where a vertex carries an index."""
    found = nx.Graph()
    found.add_nodes_from((vertex, {"kind": vertex}) for vertex in "xy")
    found.add_nodes_from((factor, {"kind": "factor"}) for factor in range(einsum.factors))
    for i, exponent in einsum.exponents:
        found.add_node(i, kind=exponent)
        carriers = [*i.factors, *("x" * i.in_x), *("y" * i.in_y)]
        found.add_edges_from((i, vertex) for vertex in carriers)
    return found


@pytest.mark.parametrize("factors", [2, 3])
def test_canonical_forms_are_equal_exactly_for_isomorphic_graphs(factors: int) -> None:
    rng = random.Random(factors)
    kinds = index_kinds(factors)
    sides = [[i for i in kinds if i.in_x], [i for i in kinds if i.in_y]]
    inner = [i for i in kinds if not (i.in_x or i.in_y)]
    structures = []
    for _ in range(15):
        chosen = [i for side in sides for i in rng.sample(side, 2)] + rng.sample(inner, 1)
        einsum = Einsum.of(factors, dict.fromkeys(chosen, HALF))
        new_name = tuple(rng.sample(range(factors), factors))
        structures += [einsum, Einsum.of(factors, {i.renamed(new_name): HALF for i in chosen})]
    graphs = [graph(einsum) for einsum in structures]
    isomorphic = 0
    for a, b in combinations(range(len(structures)), 2):
        same = nx.is_isomorphic(graphs[a], graphs[b], node_match=lambda m, n: m["kind"] == n["kind"])
        assert (structures[a].canonical() == structures[b].canonical()) == same
        isomorphic += same
    assert 15 <= isomorphic < len(structures) * (len(structures) - 1) // 2


@given(...)
def test_transpose_is_an_involution_that_exchanges_x_and_y(einsum: Einsum) -> None:
    transposed = einsum.transpose()
    assert transposed.transpose() == einsum
    for i, exponent in einsum.exponents:
        assert dict(transposed.exponents)[Index(i.in_y, i.factors, i.in_x)] == exponent


def test_transpose_of_two_factors() -> None:
    assert str(parse("(.5|.25|.25|.1|.2|.7|.3)").transpose()) == "(0.1|0.2|0.7|0.5|0.25|0.25|0.3)"


def test_zeros_are_no_indices_but_part_of_theta() -> None:
    einsum = parse("(.5|0|.5|0|.5|.5|0)")
    alpha, beta, gamma, _, epsilon, phi, _ = index_kinds(2)
    assert einsum.indices == (alpha, gamma, epsilon, phi)
    assert einsum.theta == (HALF, 0, HALF, 0, HALF, HALF, 0)
    assert einsum.of_factor(0) == {alpha, gamma, phi}
    assert beta not in einsum.indices


@pytest.mark.parametrize("x_side", [s for n in range(3) for s in combinations(range(2), n)])
def test_an_index_crosses_a_cut_that_separates_its_vertices(x_side: tuple[int, ...]) -> None:
    for i in index_kinds(2):
        sides = {f in x_side for f in i.factors} | ({True} if i.in_x else set()) | ({False} if i.in_y else set())
        assert i.crosses(frozenset(x_side)) == (sides == {True, False})


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        ((True, (0,), True), "an index joins x and y; an index may touch x or y, never both"),
        ((True, (), False), "index over factors () touches fewer than two vertices or no factor; "),
        ((False, (1,), False), "index over factors (1,) touches fewer than two vertices or no factor; "),
    ],
)
def test_an_index_that_is_none_is_refused(vertices: tuple[bool, tuple[int, ...], bool], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        Index(*vertices)
    assert str(error.value).startswith(message)


DENSE = ((index(X, 0), Fraction(1)), (index(Y, 0), Fraction(1)))


@pytest.mark.parametrize(
    ("factors", "exponents", "message"),
    [
        (0, DENSE, "an einsum has at least one factor, not 0"),
        (1, DENSE[::-1], "the indices of an einsum are each given once, in the order of index_kinds"),
        (1, (DENSE[0], *DENSE), "the indices of an einsum are each given once, in the order of index_kinds"),
        (1, ((index(X, 0), Fraction(0)), DENSE[1]), "exponent 0 is not positive; leave out indices of size 1"),
        (1, (DENSE[0], (index(Y, 1), Fraction(1))), "index over factors (1,), but there are 1 factors"),
        (1, DENSE[:1], "exponents of y sum to 0, not 1: (); raise or lower the exponents of y"),
        (
            2,
            ((index(X, 0), HALF), (index(X, 1), Fraction(2, 5)), (index(Y, 0), Fraction(1))),
            "exponents of x sum to 0.9, not 1: (0.5, 0.4); raise or lower alpha, beta or gamma",
        ),
    ],
)
def test_an_einsum_that_is_none_is_refused(
    factors: int, exponents: tuple[tuple[Index, Fraction], ...], message: str
) -> None:
    with pytest.raises(EinsearchError) as error:
        Einsum(factors, exponents)
    assert str(error.value) == message


def test_a_negative_exponent_is_refused() -> None:
    with pytest.raises(EinsearchError, match=r"^exponent -0\.5 is negative; exponents lie between 0 and 1$"):
        Einsum.of(1, {index(X, 0): Fraction(3, 2), index(Y, 0): -HALF})


@pytest.mark.parametrize(
    ("equation", "reason"),
    [
        ("a,a,ab->b", "factor A is absorbed by B: all its indices are B's too"),
        ("a,ab,->b", "factor B carries no index"),
        ("a,abc,b,c->b", "factor B is absorbed by A: all its indices are A's too"),
        ("a,ab,cd,cd->b", "factor B is absorbed by C: all its indices are C's too"),
        ("a,ab,cd,ce,de->b", "factor B is connected neither to x nor to y"),
        ("a,ar,re->e", None),
        ("ag,agf,gef->ef", None),
        ("a,ab,bc,cd->d", None),
    ],
)
def test_reducible_structures_say_why(equation: str, reason: str | None) -> None:
    left, right = equation.split("->")
    x_term, *terms = left.split(",")
    letters = set("".join((x_term, right, *terms)))
    indices = {
        Index(name in x_term, tuple(f for f, t in enumerate(terms) if name in t), name in right) for name in letters
    }
    assert reducible_because(frozenset(indices), len(terms)) == reason


@given(...)
def test_reducibility_does_not_see_the_names_of_the_factors(einsum: Einsum) -> None:
    verdicts = {
        reducible_because(frozenset(i.renamed(name) for i in einsum.indices), einsum.factors) is None
        for name in permutations(range(einsum.factors))
    }
    assert len(verdicts) == 1
