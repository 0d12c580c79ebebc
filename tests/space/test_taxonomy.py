"""omega, psi and nu against the closed forms, hand-written values and an independent minimum cut."""

import math
from fractions import Fraction
from itertools import permutations

import networkx as nx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from einsearch.space.einsum import Einsum
from einsearch.space.notation import equation, letters, parse
from einsearch.space.search_space import SearchSpace
from einsearch.space.taxonomy import taxonomy

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
    assert [parse(theta) for theta in PAPER] == list(SearchSpace.load("paper").structures)


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


@given(...)
def test_compute_is_that_of_contracting_the_string(einsum: Einsum) -> None:
    exponent = {name: dict(einsum.exponents)[index] for index, name in letters(einsum).items()}
    left, y_term = equation(einsum).split("->")
    x_term, *factors = left.split(",")

    def dearest_step(order: tuple[str, ...]) -> Fraction:
        found, live = Fraction(0), set(x_term)
        for n, term in enumerate(order):
            touched = live | set(term)
            found = max(found, sum((exponent[name] for name in touched), Fraction(0)))
            live = touched & set("".join(order[n + 1 :]) + y_term)
        assert live == set(y_term)
        return found

    macs = min(map(dearest_step, permutations(factors)))
    parameters = max(sum((exponent[name] for name in term), Fraction(0)) for term in factors)
    found = taxonomy(einsum)
    assert (found.macs, found.parameters) == (macs, parameters)
    assert (found.nu, found.omega) == (macs - 1, macs - parameters)


@given(...)
def test_transposing_keeps_rank_and_parameters(einsum: Einsum) -> None:
    found, transposed = taxonomy(einsum), taxonomy(einsum.transpose())
    assert (found.psi, found.parameters) == (transposed.psi, transposed.parameters)
