"""omega, psi and nu against the closed forms, hand-written values, all orders and an independent minimum cut."""

import math
from fractions import Fraction
from itertools import combinations, pairwise, permutations

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsearch.errors import EinsearchError
from einsearch.space.einsum import Einsum
from einsearch.space.families import kronecker
from einsearch.space.parse import parse
from einsearch.space.space_file import load_space
from einsearch.space.structure import Structure
from einsearch.space.taxonomy import Taxonomy, cheapest_order, taxonomy, taxonomy_arrays

SIDES = st.tuples(*[st.integers(0, 6)] * 3).filter(any)


def thirds(weights: tuple[int, ...]) -> list[Fraction]:
    return [Fraction(weight, sum(weights)) for weight in weights]


@given(SIDES, SIDES, st.fractions(0, 1, max_denominator=12))
def test_two_factors_have_the_closed_forms(x: tuple[int, ...], y: tuple[int, ...], rho: Fraction) -> None:
    alpha, beta, gamma = thirds(x)
    delta, epsilon, phi = thirds(y)
    assume(min(alpha, epsilon) >= min(beta, delta))  # A is contracted first
    found = taxonomy(parse("|".join(map(str, (alpha, beta, gamma, delta, epsilon, phi, rho)))))
    assert found.omega == min(alpha + delta, beta + epsilon) - min(alpha, epsilon)
    assert found.psi == 1 + min(0, 1 + rho - alpha - epsilon)
    assert found.nu == 1 + rho - min(alpha, epsilon)
    assert found.parameters == 2 + rho - min(alpha + delta, beta + epsilon)
    assert found.macs == found.nu + 1


@pytest.mark.parametrize(
    ("text", "omega", "psi", "nu"),
    [
        ("dense", "0", "1", "1"),
        ("low-rank(1/2)", "0", "1/2", "1/2"),
        ("low-rank(3/4)", "0", "3/4", "3/4"),
        ("kronecker", "1/2", "1", "1/2"),
        ("tensor-train(1/4)", "1/2", "1", "3/4"),
        ("monarch", "0", "1", "1/2"),
        ("btt(1/4)", "0", "1", "3/4"),
        # BTT is of full rank exactly where alpha + epsilon <= 1 + rho.
        ("(.75|0|.25|0|.5|.5|.25)", "0", "1", "3/4"),
        ("(.75|0|.25|0|.75|.25|.25)", "0", "3/4", "1/2"),
    ],
)
def test_rows_of_the_table_of_families(text: str, omega: str, psi: str, nu: str) -> None:
    found = taxonomy(parse(text))
    assert (found.omega, found.psi, found.nu) == (Fraction(omega), Fraction(psi), Fraction(nu))


PAPER = {
    "(.5|0|.5|0|.5|.5|0)": ("0", "1", ".5"),
    "(.33|0|.67|0|.67|.33|0)": ("0", "1", ".67"),
    "(.25|0|.75|0|.75|.25|0)": ("0", "1", ".75"),
    "(.67|0|.33|0|.33|.67|0)": ("0", "1", ".67"),
    "(.75|0|.25|0|.25|.75|0)": ("0", "1", ".75"),
    # Listed with the others, yet rank-deficient: alpha + epsilon > 1.
    "(.67|0|.33|0|.67|.33|0)": ("0", ".66", ".33"),
    "(.33|0|.67|0|.33|.67|0)": ("0", "1", ".67"),
    "(.75|0|.25|0|.75|.25|0)": ("0", ".5", ".25"),
    "(.25|0|.75|0|.25|.75|0)": ("0", "1", ".75"),
    "(.5|0|.5|0|.5|.5|.25)": ("0", "1", ".75"),
    "(.5|0|.5|0|.5|.5|.33)": ("0", "1", ".83"),
    "(.33|0|.67|0|.67|.33|.25)": ("0", "1", ".92"),
    "(.67|0|.33|0|.33|.67|.25)": ("0", "1", ".92"),
    "(.67|0|.33|0|.67|.33|.25)": ("0", ".91", ".58"),
    "(.33|0|.67|0|.33|.67|.25)": ("0", "1", ".92"),
    "(.5|.5|0|.5|.5|0|0)": (".5", "1", ".5"),
    "(.5|.5|0|.5|.5|0|.25)": (".5", "1", ".75"),
    "(.33|.67|0|.33|.67|0|0)": (".33", "1", ".67"),
    "(.33|.67|0|.33|.67|0|.25)": (".33", "1", ".92"),
    "(1|0|0|0|1|0|.75)": ("0", ".75", ".75"),
    "(1|0|0|0|1|0|.5)": ("0", ".5", ".5"),
    "(.5|.25|.25|.25|.5|.25|0)": (".25", "1", ".5"),
    "(.5|.25|.25|.25|.5|.25|.25)": (".25", "1", ".75"),
}


def test_the_table_covers_the_structures_of_the_paper() -> None:
    assert [parse(theta) for theta in PAPER] == list(load_space("paper").structures)


@pytest.mark.parametrize("theta", PAPER)
def test_the_structures_of_the_paper(theta: str) -> None:
    found = taxonomy(parse(theta))
    assert (found.omega, found.psi, found.nu) == tuple(Fraction(value) for value in PAPER[theta])


@given(...)
def test_rank_is_the_minimum_cut_of_the_hypergraph(einsum: Einsum) -> None:
    """A hyperedge is a pair of nodes joined with its capacity; cutting it once cuts it for all its vertices."""
    network = nx.DiGraph()
    unit = math.lcm(*range(1, 13))  # every denominator that is drawn divides it
    for index, exponent in einsum.exponents:
        enter, leave = (index, "enter"), (index, "leave")
        capacity = exponent * unit
        assert capacity.denominator == 1
        network.add_edge(enter, leave, capacity=int(capacity))
        for vertex in [*index.factors, *("x" * index.in_x), *("y" * index.in_y)]:
            network.add_edge(vertex, enter)
            network.add_edge(leave, vertex)
    assert taxonomy(einsum).psi == min(Fraction(nx.maximum_flow_value(network, "x", "y"), unit), 1)


def dearest_step(einsum: Einsum, order: tuple[int, ...]) -> Fraction:
    """Operand by operand, as the einsum string says: keep what a later operand or y still has."""
    letters = einsum.structure.letters()
    exponent = {letters[index]: value for index, value in einsum.exponents}
    left, y_term = einsum.structure.equation().split("->")
    x_term, *terms = left.split(",")
    found, live = Fraction(0), set(x_term)
    for n, f in enumerate(order):
        touched = live | set(terms[f])
        found = max(found, sum((exponent[name] for name in touched), Fraction(0)))
        live = touched & set(y_term).union(*(terms[g] for g in order[n + 1 :]))
    assert live == set(y_term)
    return found


def by_brute_force(einsum: Einsum) -> Taxonomy:
    """All k! orders and all 2^k cuts, with sets."""
    value = dict(einsum.exponents)
    factors = range(einsum.factors)
    macs = min(dearest_step(einsum, order) for order in permutations(factors))
    parameters = max(sum((value[i] for i in value if f in i.factors), Fraction(0)) for f in factors)
    cuts = []
    for near in (set(s) | {"x"} for n in range(einsum.factors + 1) for s in combinations(factors, n)):
        vertices = {i: {*i.factors, *("x" * i.in_x), *("y" * i.in_y)} for i in value}
        cuts.append(sum((value[i] for i in value if vertices[i] & near and vertices[i] - near), Fraction(0)))
    return Taxonomy(omega=macs - parameters, psi=min(cuts), nu=macs - 1, parameters=parameters, macs=macs)


@given(...)
def test_taxonomy_is_the_best_of_all_orders_and_the_least_of_all_cuts(einsum: Einsum) -> None:
    assert taxonomy(einsum) == by_brute_force(einsum)


@given(...)
def test_the_cheapest_order_is_the_first_that_attains_the_compute(einsum: Einsum) -> None:
    cost = {order: dearest_step(einsum, order) for order in permutations(range(einsum.factors))}
    least = min(cost.values())
    assert taxonomy(einsum).macs == least
    assert cheapest_order(einsum) == min(order for order in cost if cost[order] == least)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("dense", (0,)),
        ("monarch", (0, 1)),
        ("(0|.5|.5|.5|0|.5|0)", (1, 0)),
        ("low-rank(1/2, factors=4)", (0, 1, 2, 3)),
        ("a,bc,cd,ad->b; a=1, b=1, c=1/4, d=1/4", (2, 1, 0)),
        ("kronecker(factors=4)", (0, 1, 2, 3)),
    ],
)
def test_cheapest_orders_worked_by_hand(text: str, order: tuple[int, ...]) -> None:
    assert cheapest_order(parse(text)) == order


def test_many_factors_are_analysed() -> None:
    found = taxonomy(kronecker(12))
    assert (found.omega, found.psi, found.nu) == (Fraction(11, 12), 1, Fraction(1, 12))
    assert cheapest_order(kronecker(12)) == tuple(range(12))


@st.composite
def thetas(draw: st.DrawFn, structure: Structure, unit: int) -> list[Fraction]:
    """Multiples of 1/unit in the order of the structure's indices, zeros included; x's and y's sum to 1."""
    theta = []
    for side in range(3):
        count = sum(i.side == side for i in structure.indices)
        drawn = draw(st.lists(st.integers(0, unit), min_size=count, max_size=count))
        parts = [b - a for a, b in pairwise([0, *sorted(drawn[1:]), unit])] if side < 2 else drawn
        theta += [Fraction(n, unit) for n in parts]
    return theta


def rows(structure: Structure, points: list[list[Fraction]]) -> list[Taxonomy]:
    return [
        taxonomy(Einsum.of(structure.factors, dict(zip(structure.indices, point, strict=True)))) for point in points
    ]


FIELDS = ("omega", "psi", "nu", "parameters", "macs")


@settings(max_examples=60)
@given(structure=..., data=st.data())
def test_arrays_are_exact_at_dyadic_exponents(structure: Structure, data: st.DataObject) -> None:
    points = data.draw(st.lists(thetas(structure, 16), min_size=1, max_size=4))
    found = taxonomy_arrays(structure, [[float(value) for value in point] for point in points])
    for name in FIELDS:
        assert getattr(found, name).tolist() == [float(getattr(row, name)) for row in rows(structure, points)]


@settings(max_examples=60)
@given(structure=..., data=st.data())
def test_arrays_are_those_of_the_exact_taxonomy_to_rounding(structure: Structure, data: st.DataObject) -> None:
    points = data.draw(st.lists(thetas(structure, 21), min_size=1, max_size=4))
    found = taxonomy_arrays(structure, np.array(points, dtype=np.float64))
    for name in FIELDS:
        expected = [float(getattr(row, name)) for row in rows(structure, points)]
        np.testing.assert_allclose(getattr(found, name), expected, rtol=0, atol=1e-12)


def test_arrays_of_the_structures_of_the_paper() -> None:
    full = Structure.of(2, parse("(.5|.25|.25|.25|.5|.25|.25)").indices)
    found = taxonomy_arrays(full, [[float(value) for value in parse(theta).theta] for theta in PAPER])
    expected = np.array([[float(value) for value in row] for row in PAPER.values()])
    np.testing.assert_allclose(np.stack([found.omega, found.psi, found.nu], axis=1), expected, rtol=0, atol=1e-12)


def test_arrays_may_be_empty() -> None:
    found = taxonomy_arrays(parse("btt").structure, np.empty((0, 4)))
    assert [getattr(found, name).shape for name in FIELDS] == [(0,)] * 5


@pytest.mark.parametrize("shape", [(4,), (3, 7), (0,), (2, 3, 4)])
def test_arrays_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EinsearchError) as error:
        taxonomy_arrays(parse("btt").structure, np.zeros(shape))
    assert str(error.value) == (f"theta has shape {shape}; give (points, 4), one column an index of ag,agf,gef->ef")


@given(...)
def test_transposing_keeps_rank_and_parameters(einsum: Einsum) -> None:
    found, transposed = taxonomy(einsum), taxonomy(einsum.transpose())
    assert (found.psi, found.parameters) == (transposed.psi, transposed.parameters)


@settings(max_examples=50)
@given(einsum=..., data=st.data())
def test_taxonomy_does_not_see_the_names_of_the_factors(einsum: Einsum, data: st.DataObject) -> None:
    new_name = tuple(data.draw(st.permutations(range(einsum.factors))))
    assert taxonomy(einsum.renamed(new_name)) == taxonomy(einsum)
