"""The lattice of contracted sets against its definition and against contracting step by step."""

from itertools import permutations

import pytest
from hypothesis import given, settings

from einsearch.errors import EinsearchError
from einsearch.space.families import btt, kronecker
from einsearch.space.lattice import MOST_FACTORS, Lattice, lattice
from einsearch.space.structure import Index, Structure


def sets_of(table: Lattice) -> dict[int, set[int]]:
    """The factors of every bit mask."""
    k = table.structure.factors
    return {mask: {f for f in range(k) if mask >> f & 1} for mask in range(1 << k)}


def named(table: Lattice, mask: int) -> str:
    letter = table.structure.letters()
    return "".join(letter[index] for index in table.indices(mask))


@settings(max_examples=50)
@given(...)
def test_masks_are_the_indices_of_every_vertex(structure: Structure) -> None:
    table = lattice(structure)
    assert table.structure == structure
    assert set(table.indices(table.x)) == {i for i in structure.indices if i.in_x}
    assert set(table.indices(table.y)) == {i for i in structure.indices if i.in_y}
    assert set(table.indices(table.inner)) == {i for i in structure.indices if not (i.in_x or i.in_y)}
    assert [set(table.indices(mask)) for mask in table.factor] == [
        structure.of_factor(f) for f in range(structure.factors)
    ]
    assert table.indices(table.x | table.y | table.inner) == structure.indices
    assert table.indices(0) == ()


@given(...)
def test_live_indices_are_those_that_cross_the_cut(structure: Structure) -> None:
    """x and the contracted factors on one side, y and the others on the other."""

    def crosses(index: Index, near: set[object]) -> bool:
        vertices = {*index.factors, *("x" * index.in_x), *("y" * index.in_y)}
        return bool(vertices & near) and not vertices <= near

    table = lattice(structure)
    assert len(table.live) == 2**structure.factors
    for mask, contracted in sets_of(table).items():
        expected = {index for index in structure.indices if crosses(index, {"x", *contracted})}
        assert set(table.indices(table.live[mask])) == expected


@settings(max_examples=50)
@given(...)
def test_the_ends_of_the_lattice_are_x_and_y(structure: Structure) -> None:
    table = lattice(structure)
    assert table.live[0] == table.x
    assert table.live[-1] == table.y


@given(...)
def test_every_order_walks_through_the_lattice(structure: Structure) -> None:
    """Contract operand by operand, as the einsum string says: keep what a later operand or y still has."""
    table = lattice(structure)
    left, y_term = structure.equation().split("->")
    x_term, *terms = left.split(",")
    for order in permutations(range(structure.factors)):
        live, contracted = set(x_term), 0
        for n, f in enumerate(order):
            assert set(named(table, table.live[contracted])) == live
            touched = live | set(terms[f])
            assert set(named(table, table.step(contracted, f))) == touched
            later = set(y_term).union(*(terms[g] for g in order[n + 1 :]))
            live, contracted = touched & later, contracted | 1 << f
        assert set(named(table, table.live[contracted])) == live == set(y_term)


@settings(max_examples=50)
@given(...)
def test_steps_to_a_set_are_those_of_its_factors(structure: Structure) -> None:
    table = lattice(structure)
    for mask, contracted in sets_of(table).items():
        steps = dict(table.steps_to(mask))
        assert list(steps) == sorted(contracted)
        assert steps == {f: table.step(mask - (1 << f), f) for f in contracted}


def test_the_lattice_of_monarch_worked_by_hand() -> None:
    table = lattice(btt().structure)  # ag,agf,gef->ef
    assert [named(table, mask) for mask in table.live] == ["ag", "gf", "agef", "ef"]
    assert [named(table, mask) for mask in table.factor] == ["agf", "gef"]
    assert [(f, named(table, touched)) for f, touched in table.steps_to(0b11)] == [(0, "agef"), (1, "gef")]


def test_the_lattice_of_kronecker_worked_by_hand() -> None:
    table = lattice(kronecker().structure)  # ab,ad,be->de
    assert [named(table, mask) for mask in table.live] == ["ab", "bd", "ae", "de"]
    assert [named(table, table.step(0, f)) for f in (0, 1)] == ["abd", "abe"]


def test_more_factors_than_can_be_analysed_are_refused() -> None:
    assert MOST_FACTORS == 16
    with pytest.raises(EinsearchError) as error:
        lattice(kronecker(17).structure)
    assert str(error.value) == "17 factors have 2^17 sets of contracted factors; at most 16 factors are analysed"
