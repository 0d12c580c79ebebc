"""The hypergraph of an einsum: its kinds of index, its rules, its transpose and its letters."""

import random
from itertools import chain, combinations, permutations

import networkx as nx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.families import kronecker
from einsearch.space.parse import parse, parse_structure
from einsearch.space.structure import GREEK, Index, Structure, factor_name, index_kinds, reducible_because

X, Y, INNER = (True, False), (False, True), (False, False)


def index(side: tuple[bool, bool], *factors: int) -> Index:
    return Index(side[0], factors, side[1])


@pytest.mark.parametrize(("factors", "count"), [(1, 2), (2, 7), (3, 18), (4, 41), (5, 88)])
def test_index_kinds_are_all_valid_sets_of_vertices(factors: int, count: int) -> None:
    vertices = ["x", "y", *range(factors)]
    subsets = chain.from_iterable(combinations(vertices, n) for n in range(2, len(vertices) + 1))
    valid = {
        Index("x" in s, tuple(v for v in s if isinstance(v, int)), "y" in s)
        for s in subsets
        if not {"x", "y"} <= set(s)
    }
    kinds = index_kinds(factors)
    assert len(kinds) == len(set(kinds)) == count == 3 * (2**factors - 1) - factors
    assert set(kinds) == valid


def test_two_factors_are_in_the_order_of_the_paper() -> None:
    alpha, beta, gamma = index(X, 0), index(X, 1), index(X, 0, 1)
    delta, epsilon, phi = index(Y, 0), index(Y, 1), index(Y, 0, 1)
    assert index_kinds(2) == (alpha, beta, gamma, delta, epsilon, phi, index(INNER, 0, 1))


@pytest.mark.parametrize(
    ("kind", "side", "mask", "name"),
    [
        (index(X, 0), 0, 0b1, "x.A"),
        (index(X, 0, 2), 0, 0b101, "x.AC"),
        (index(Y, 1), 1, 0b10, "y.B"),
        (index(INNER, 1, 2, 3), 2, 0b1110, "BCD"),
    ],
)
def test_an_index_says_what_carries_it(kind: Index, side: int, mask: int, name: str) -> None:
    assert (kind.side, kind.factor_mask, kind.name) == (side, mask, name)


def test_a_renamed_index_keeps_its_factors_in_order() -> None:
    assert index(X, 0, 2).renamed((2, 1, 0)) == index(X, 0, 2)
    assert index(INNER, 0, 1).renamed((2, 0, 1)) == index(INNER, 0, 2)


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        ((True, (0,), True), "an index joins x and y; an index may touch x or y, never both"),
        (
            (True, (), False),
            "index over factors () touches fewer than two vertices or no factor; "
            "an index joins a factor with x, y or another factor",
        ),
        (
            (False, (1,), False),
            "index over factors (1,) touches fewer than two vertices or no factor; "
            "an index joins a factor with x, y or another factor",
        ),
    ],
)
def test_an_index_that_is_none_is_refused(vertices: tuple[bool, tuple[int, ...], bool], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        Index(*vertices)
    assert str(error.value) == message


DENSE = (index(X, 0), index(Y, 0))


@pytest.mark.parametrize(
    ("factors", "indices", "message"),
    [
        (0, DENSE, "an einsum has at least one factor, not 0"),
        (1, DENSE[::-1], "the indices of an einsum are each given once, in the order of index_kinds"),
        (1, (DENSE[0], *DENSE), "the indices of an einsum are each given once, in the order of index_kinds"),
        (1, (DENSE[0], index(Y, 1)), "index over factors (1,), but there are 1 factors"),
        (1, DENSE[:1], "y carries no index; give it one that a factor carries too"),
        (2, (index(Y, 0), index(INNER, 0, 1)), "x carries no index; give it one that a factor carries too"),
    ],
)
def test_a_structure_that_is_none_is_refused(factors: int, indices: tuple[Index, ...], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        Structure(factors, indices)
    assert str(error.value) == message


@settings(max_examples=50)
@given(structure=..., data=st.data())
def test_the_order_of_the_indices_does_not_count(structure: Structure, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(structure.indices))
    assert Structure.of(structure.factors, [*shuffled, shuffled[0]]) == structure
    places = [index_kinds(structure.factors).index(i) for i in structure.indices]
    assert places == sorted(places)


@settings(max_examples=50)
@given(...)
def test_every_index_is_of_the_factors_that_carry_it(structure: Structure) -> None:
    for f in range(structure.factors):
        for i in structure.indices:
            assert (i in structure.of_factor(f)) == (f in i.factors)


@settings(max_examples=50)
@given(structure=..., data=st.data())
def test_renaming_back_restores_the_structure(structure: Structure, data: st.DataObject) -> None:
    new_name = data.draw(st.permutations(range(structure.factors)))
    old_name = tuple(new_name.index(f) for f in range(structure.factors))
    renamed = structure.renamed(tuple(new_name))
    assert renamed.renamed(old_name) == structure
    for f in range(structure.factors):
        assert renamed.of_factor(new_name[f]) == {i.renamed(tuple(new_name)) for i in structure.of_factor(f)}


@settings(max_examples=50)
@given(...)
def test_transpose_is_an_involution_that_exchanges_x_and_y(structure: Structure) -> None:
    transposed = structure.transpose()
    assert transposed.transpose() == structure
    assert set(transposed.indices) == {Index(i.in_y, i.factors, i.in_x) for i in structure.indices}
    assert transposed.canonical() == structure.canonical().transpose().canonical()


@pytest.mark.parametrize(
    ("equation", "reason"),
    [
        ("a,a,ab->b", "factor A is absorbed by B: all its indices are B's too"),
        ("a,ab,->b", "factor B carries no index"),
        ("a,abc,b,c->b", "factor B is absorbed by A: all its indices are A's too"),
        # Two factors on the same indices, which an einsum string may not say.
        ("a,ab,cd,cd->b", "factor B is absorbed by C: all its indices are C's too"),
        ("a,ab,cd,ce,de->b", "factor B is connected neither to x nor to y"),
        ("a,ab,bc,cd,ce,de->b", None),
        ("a,ar,re->e", None),
        ("ag,agf,gef->ef", None),
        ("a,ab,bc,cd->d", None),
        ("a,ab->b", None),
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
    assert Structure.of(len(terms), indices).reducible_because == reason


@given(...)
def test_a_reason_is_given_exactly_for_what_is_reducible(structure: Structure) -> None:
    """The three rules once more, by NetworkX where it has them."""
    carried = [structure.of_factor(f) for f in range(structure.factors)]
    graph = nx.Graph()
    graph.add_nodes_from(range(structure.factors))
    for i in structure.indices:
        nx.add_star(graph, [i, *i.factors, *(["outside"] if i.side < 2 else [])])
    outside = nx.node_connected_component(graph, "outside")
    reducible = (
        not all(carried)
        or any(a <= b for a, b in permutations(carried, 2))
        or any(f not in outside for f in range(structure.factors))
    )
    assert (structure.reducible_because is not None) == reducible


@given(...)
def test_reducibility_does_not_see_the_names_of_the_factors(structure: Structure) -> None:
    verdicts = {structure.renamed(name).reducible_because is None for name in permutations(range(structure.factors))}
    assert len(verdicts) == 1


@settings(max_examples=50)
@given(structure=..., data=st.data())
def test_more_indices_keep_a_structure_irreducible(structure: Structure, data: st.DataObject) -> None:
    assume(structure.reducible_because is None)
    more = data.draw(st.sets(st.sampled_from(index_kinds(structure.factors))))
    assert Structure.of(structure.factors, {*structure.indices, *more}).reducible_because is None


def test_two_factors_have_the_letters_of_the_paper() -> None:
    structure = Structure.of(2, index_kinds(2))
    assert [structure.letters()[kind] for kind in index_kinds(2)] == [
        "f" if name == "phi" else name[0] for name in GREEK
    ]
    assert structure.equation() == str(structure) == "abg,agdfr,bgefr->def"
    assert parse("btt").structure.equation() == "ag,agf,gef->ef"


def test_other_numbers_of_factors_count_their_letters() -> None:
    assert parse("dense").structure.equation() == "a,ab->b"
    assert parse("low-rank(factors=3)").structure.equation() == "a,ac,cd,bd->b"
    assert kronecker(3).structure.equation() == "abc,ad,be,cf->def"


@given(...)
def test_an_equation_is_read_back(structure: Structure) -> None:
    carried = [structure.of_factor(f) for f in range(structure.factors)]
    assume(not any(a and a == b for a, b in combinations(carried, 2)))  # refused: the two are one factor
    assert parse_structure(structure.equation()) == structure
    letters = structure.letters()
    assert list(letters) == list(structure.indices)
    assert len(set(letters.values())) == len(letters)


def test_more_indices_than_letters_are_refused() -> None:
    kinds = index_kinds(5)
    fewer = Structure.of(5, random.Random(0).sample(kinds, 52))
    assert len(set(fewer.letters().values())) == 52
    with pytest.raises(EinsearchError) as error:
        Structure.of(5, kinds).letters()
    assert str(error.value) == "88 indices are more than the 52 letters; use fewer indices"


def test_factors_are_named_by_capitals() -> None:
    assert [factor_name(f) for f in range(4)] == ["A", "B", "C", "D"]
