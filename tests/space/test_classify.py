"""What operators are called and why, against independent statements of the families."""

from fractions import Fraction
from itertools import permutations, product

import networkx as nx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsearch.space.classify import Classification, Family, Membership, Trait, classify, families_of, label
from einsearch.space.einsum import Einsum
from einsearch.space.parse import parse, parse_structure
from einsearch.space.structure import Index, Structure, index_kinds
from einsearch.space.taxonomy import taxonomy

IN_ORDER = "in the order A B C, x's indices are carried by prefixes, y's by suffixes, the rest by neighbours"
EACH = "every factor has an index of x and one of y of its own"
NONE_OF_THREE = (
    "no named family: in no order of the 3 factors are x's indices on prefixes, y's on suffixes and the rest on "
    "neighbours, and the factors are not cores with one index of x and one of y each"
)
RING = "abc,adgi,begh,cfhi->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3, g=1/8, h=1/8, i=1/8"

FAMILIES = [
    ("dense", Family.DENSE, "Dense", "one factor that carries all of x and y"),
    ("low-rank", Family.LOW_RANK, "Low rank d^0.5", "alpha = epsilon = 1: A maps x to rho, B maps rho to y"),
    ("(0|1|0|1|0|0|1/3)", Family.LOW_RANK, "Low rank d^1/3", "alpha = epsilon = 1: A maps x to rho, B maps rho to y"),
    (
        "low-rank(0)",
        Family.LOW_RANK,
        "Low rank d^0",
        "alpha = epsilon = 1, rho = 0: A maps x to one number, B maps it to y",
    ),
    ("kronecker", Family.KRONECKER, "Kronecker", "gamma = phi = rho = 0: A and B share no index"),
    ("(.25|.75|0|.5|.5|0|0)", Family.KRONECKER, "Kronecker", "gamma = phi = rho = 0: A and B share no index"),
    (
        "tensor-train",
        Family.TENSOR_TRAIN,
        "Tensor-Train rank d^0.25",
        "gamma = phi = 0, rho > 0: cores joined by rho alone",
    ),
    ("monarch", Family.MONARCH, "BTT rank 1", "beta = delta = rho = 0: two block-diagonal factors"),
    ("(0|.5|.5|.5|0|.5|0)", Family.MONARCH, "BTT rank 1", "beta = delta = rho = 0: two block-diagonal factors"),
    ("btt(.1)", Family.BTT, "BTT rank d^0.1", "beta = delta = 0, rho > 0: block Tensor-Train of that rank"),
    ("(.5|.25|.25|.25|.5|.25|0)", Family.GENERIC, "Generic", "no named family: beta or delta is not 0"),
    ("(.5|.5|0|0|1|0|.5)", Family.GENERIC, "Generic", "no named family: one of alpha, beta, delta, epsilon is 0"),
    (
        "a,ab,bc,cd->d; a=1, b=.5, c=.5, d=1",
        Family.LOW_RANK,
        "Low rank d^0.5, 3 factors",
        "a product of full matrices A C B, joined one to the next",  # the ends come first in the canonical form
    ),
    (
        "a,ab,cd,bc->d; a=1, b=.5, c=.25, d=1",
        Family.LOW_RANK,
        "Low rank d^mixed, 3 factors",
        "a product of full matrices A C B, joined one to the next",
    ),
    ("kronecker(factors=3)", Family.KRONECKER, "Kronecker, 3 factors", f"{EACH}, and none is shared"),
    (
        "tensor-train(1/8, factors=3)",
        Family.TENSOR_TRAIN,
        "Tensor-Train rank d^0.125, 3 factors",
        f"{EACH}; cores joined in a line",
    ),
    ("monarch(factors=3)", Family.MONARCH, "BTT rank 1, 3 factors", f"{IN_ORDER}; no inner index"),
    ("btt(1/8, factors=3)", Family.BTT, "BTT rank d^0.125, 3 factors", IN_ORDER),
    # Cores joined in a ring, and by one index of all three: neither is a line.
    (RING, Family.GENERIC, "Generic, 3 factors", NONE_OF_THREE),
    (
        "abc,adg,beg,cfg->def; a=1/3, b=1/3, c=1/3, d=1/3, e=1/3, f=1/3, g=1/8",
        Family.GENERIC,
        "Generic, 3 factors",
        NONE_OF_THREE,
    ),
]


@pytest.mark.parametrize(("text", "family", "shown", "reason"), FAMILIES)
def test_families(text: str, family: Family, shown: str, reason: str) -> None:
    found = classify(parse(text))
    assert found.family is family
    assert found.has(family)
    assert found.reason == reason
    assert label(parse(text)) == shown


def test_the_families_above_are_all() -> None:
    assert {family for _, family, _, _ in FAMILIES} == set(Family)


@pytest.mark.parametrize(
    ("text", "families"),
    [
        ("low-rank", [Family.LOW_RANK, Family.BTT]),
        ("low-rank(factors=3)", [Family.LOW_RANK, Family.BTT]),
        ("monarch", [Family.MONARCH, Family.BTT]),
        ("monarch(factors=4)", [Family.MONARCH, Family.BTT]),
        ("btt(1/4)", [Family.BTT]),
        ("kronecker", [Family.KRONECKER]),
        ("tensor-train(factors=3)", [Family.TENSOR_TRAIN]),
        (RING, [Family.GENERIC]),
    ],
)
def test_the_most_special_family_comes_first(text: str, families: list[Family]) -> None:
    assert [membership.kind for membership in classify(parse(text)).families] == families


@given(...)
def test_families_are_each_given_once_in_order_of_specialty(structure: Structure) -> None:
    found = [membership.kind for membership in families_of(structure)]
    places = [list(Family).index(kind) for kind in found]  # type: ignore[arg-type]
    assert places == sorted(set(places))
    assert found == [Family.GENERIC] or (found and Family.GENERIC not in found)


@settings(max_examples=30)
@given(...)
def test_classification_does_not_see_the_names_of_the_factors(einsum: Einsum) -> None:
    found = {classify(einsum.renamed(name)) for name in permutations(range(einsum.factors))}
    assert len(found) == 1
    assert len({label(einsum.renamed(name)) for name in permutations(range(einsum.factors))}) == 1


@settings(max_examples=50)
@given(...)
def test_families_do_not_see_the_names_of_the_factors(structure: Structure) -> None:
    found = {
        tuple(membership.kind for membership in families_of(structure.renamed(name)))
        for name in permutations(range(structure.factors))
    }
    assert len(found) == 1


def test_reasons_of_a_structure_as_it_stands_name_its_own_factors() -> None:
    """`classify` speaks of the canonical form, `families_of` of what it is given."""
    for equation, reason in [
        ("bg,gdf,bgf->df", "alpha = epsilon = rho = 0: two block-diagonal factors"),
        ("b,dr,br->d", "beta = delta = 1: B maps x to rho, A maps rho to y"),
        ("b,d,b->d", "beta = delta = 1, rho = 0: B maps x to one number, A maps it to y"),
    ]:
        assert next(families_of(parse_structure(equation))).reason == reason
    assert [m.reason for m in families_of(parse_structure("bg,gdfr,bgfr->df"))] == [
        "alpha = epsilon = 0, rho > 0: block Tensor-Train of that rank"
    ]


@given(st.tuples(*[st.booleans()] * 7).filter(lambda s: any(s[:3]) and any(s[3:6])))
def test_two_factors_are_btt_exactly_where_beta_and_delta_are_zero(support: tuple[bool, ...]) -> None:
    """Or alpha and epsilon, with the factors exchanged; the canonical form of both has beta = delta = 0."""
    alpha, beta, _, delta, epsilon, _, _ = support
    structure = Structure.of(2, (kind for kind, there in zip(index_kinds(2), support, strict=True) if there))
    is_btt = any(m.kind is Family.BTT for m in families_of(structure))
    assert is_btt == (not (beta or delta) or not (alpha or epsilon))
    if structure.reducible_because is None:
        canonical = {index.name for index in structure.canonical().indices}
        assert is_btt == (not canonical & {"x.B", "y.A"})


def test_all_supports_of_two_factors_have_the_family_that_they_should() -> None:
    """The table of families once more, for whichever factor is called A."""
    kinds = index_kinds(2)
    for support in product((False, True), repeat=7):
        if not any(support[:3]) or not any(support[3:6]):
            continue
        structure = Structure.of(2, (kind for kind, there in zip(kinds, support, strict=True) if there))
        if structure.reducible_because:
            continue
        there = {index.name for index in structure.canonical().indices}
        if there <= {"x.A", "y.B", "AB"}:
            expected = Family.LOW_RANK
        elif there & {"x.B", "y.A"}:
            cores = {"x.A", "x.B", "y.A", "y.B"}
            expected = {frozenset(cores): Family.KRONECKER, frozenset({*cores, "AB"}): Family.TENSOR_TRAIN}.get(
                frozenset(there), Family.GENERIC
            )
        else:
            expected = Family.BTT if "AB" in there else Family.MONARCH
        assert next(families_of(structure)).kind is expected


@st.composite
def trains(draw: st.DrawFn) -> Einsum:
    """Block Tensor-Trains with any sizes: x on prefixes, y on suffixes, neighbours joined; factors named at random."""
    k = draw(st.integers(2, 4))
    weights = st.lists(st.integers(0, 3), min_size=k, max_size=k).filter(any)
    x, y = draw(weights), draw(weights)
    links = draw(st.lists(st.integers(0, 4), min_size=k - 1, max_size=k - 1))
    everyone = tuple(range(k))
    exponents = {Index(True, everyone[: f + 1], False): Fraction(x[f], sum(x)) for f in range(k)}
    exponents |= {Index(False, everyone[f:], True): Fraction(y[f], sum(y)) for f in range(k)}
    exponents |= {Index(False, (f, f + 1), False): Fraction(n, 8) for f, n in enumerate(links)}
    return Einsum.of(k, exponents).renamed(tuple(draw(st.permutations(range(k)))))


@settings(max_examples=50)
@given(trains())
def test_block_tensor_trains_share_no_parameters(einsum: Einsum) -> None:
    found = classify(einsum)
    assert found.has(Family.BTT)
    assert found.has(Trait.NO_SHARING)
    assert taxonomy(einsum).omega == 0


def is_train(structure: Structure, order: tuple[int, ...]) -> bool:
    k = structure.factors
    prefixes = [set(order[: n + 1]) for n in range(k)]
    suffixes = [set(order[n:]) for n in range(k)]
    neighbours = [set(order[n : n + 2]) for n in range(k - 1)]
    return all(set(i.factors) in (prefixes, suffixes, neighbours)[i.side] for i in structure.indices)


@given(st.one_of(st.from_type(Structure), trains().map(lambda einsum: einsum.structure)))
def test_the_families_by_their_definitions(structure: Structure) -> None:
    assume(structure.factors > 1)
    k = structure.factors
    found = {membership.kind for membership in families_of(structure)}
    orders = [order for order in permutations(range(k)) if is_train(structure, order)]
    outer = [i for i in structure.indices if i.side < 2]
    inner = [i.factors for i in structure.indices if i.side == 2]
    assert (Family.BTT in found) == bool(orders)
    assert (Family.MONARCH in found) == (bool(orders) and not inner)
    assert (Family.LOW_RANK in found) == any(
        {i.name for i in outer} == {Index(True, order[:1], False).name, Index(False, order[-1:], True).name}
        for order in orders
    )
    cores = {(i.side, i.factors) for i in outer} == {(side, (f,)) for side in (0, 1) for f in range(k)}
    assert (Family.KRONECKER in found) == (cores and not inner)
    line = False
    if cores and all(len(held) == 2 for held in inner):
        graph = nx.Graph(inner)
        line = len(graph) == k and nx.is_isomorphic(graph, nx.path_graph(k))
    assert (Family.TENSOR_TRAIN in found) == line
    assert (Family.GENERIC in found) == (len(found) == 1 and not orders and not line and not (cores and not inner))


@pytest.mark.parametrize(
    ("links", "family"),
    [
        ([(0, 1), (1, 2), (2, 3)], Family.TENSOR_TRAIN),
        ([(1, 3), (0, 3), (0, 2)], Family.TENSOR_TRAIN),
        ([(0, 1), (0, 2), (0, 3)], Family.GENERIC),  # a star
        ([(0, 1), (1, 2), (0, 2)], Family.GENERIC),  # a ring of three and a core alone
        ([(0, 1), (2, 3)], Family.GENERIC),  # two lines
        ([(0, 1), (1, 2), (2, 3), (0, 3)], Family.GENERIC),  # a ring
        ([(0, 1), (1, 2, 3)], Family.GENERIC),
        ([], Family.KRONECKER),
    ],
)
def test_four_cores_are_a_tensor_train_where_they_are_joined_in_a_line(
    links: list[tuple[int, ...]], family: Family
) -> None:
    sides = [Index(in_x, (f,), not in_x) for in_x in (True, False) for f in range(4)]
    structure = Structure.of(4, sides + [Index(False, held, False) for held in links])
    assert next(families_of(structure)).kind is family


TRAITS = [
    (
        "monarch",
        {
            Trait.BLOCK: "factors are block-diagonal over what they share with x or y: g (x.AB), f (y.AB)",
            Trait.NO_SHARING: "omega = F - N = 1.5 - 1.5 = 0",
            Trait.FULL_RANK: "psi = 1: no cut between x and y is below 1",
        },
    ),
    (
        "kronecker",
        {
            Trait.PARAMETER_SHARING: "omega = F - N = 1.5 - 1 = 0.5 > 0",
            Trait.FULL_RANK: "psi = 1: no cut between x and y is below 1",
        },
    ),
    (
        "low-rank(1/3)",
        {
            Trait.NO_SHARING: "omega = F - N = 4/3 - 4/3 = 0",
            Trait.RANK_DEFICIENT: "psi = 1/3 < 1: the minimum cut",
        },
    ),
    (
        "dense",
        {
            Trait.NO_SHARING: "omega = F - N = 2 - 2 = 0",
            Trait.FULL_RANK: "psi = 1: no cut between x and y is below 1",
            Trait.DENSE_EQUIVALENT: "omega = 0, psi = nu = 1: the parameters, compute and rank of dense",
        },
    ),
    (
        "btt(3/4)",
        {
            Trait.BLOCK: "factors are block-diagonal over what they share with x or y: g (x.AB), f (y.AB)",
            Trait.NO_SHARING: "omega = F - N = 2.25 - 2.25 = 0",
            Trait.FULL_RANK: "psi = 1: no cut between x and y is below 1",
            Trait.DEARER_THAN_DENSE: "nu = F - 1 = 1.25 > 1",
        },
    ),
    (
        # B is within A; the letters are those of the canonical form, of three factors.
        "a,ab,bc,cd,->d; a=1, b=1/2, c=1/2, d=1",
        {
            Trait.REDUCIBLE: "factor D carries no index",
            Trait.NO_SHARING: "omega = F - N = 1.5 - 1.5 = 0",
            Trait.RANK_DEFICIENT: "psi = 0.5 < 1: the minimum cut",
        },
    ),
    (
        "ab,a,ab c->c; a=1/2, b=1/2, c=1",
        {
            Trait.REDUCIBLE: "factor B is absorbed by A: all its indices are A's too",
            Trait.BLOCK: "factors are block-diagonal over what they share with x or y: g (x.AB)",
            Trait.NO_SHARING: "omega = F - N = 2 - 2 = 0",
            Trait.FULL_RANK: "psi = 1: no cut between x and y is below 1",
            Trait.DENSE_EQUIVALENT: "omega = 0, psi = nu = 1: the parameters, compute and rank of dense",
        },
    ),
]


@pytest.mark.parametrize(("text", "traits"), TRAITS)
def test_traits(text: str, traits: dict[Trait, str]) -> None:
    found = classify(parse(text))
    assert {membership.kind: membership.reason for membership in found.traits} == traits
    for trait in Trait:
        assert found.has(trait) == (trait in traits)


def test_the_traits_above_are_all() -> None:
    assert {trait for _, traits in TRAITS for trait in traits} == set(Trait)


@given(...)
def test_traits_are_what_structure_and_taxonomy_say(einsum: Einsum) -> None:
    found, numbers = classify(einsum), taxonomy(einsum)
    assert found.has(Trait.REDUCIBLE) == (einsum.structure.reducible_because is not None)
    assert found.has(Trait.BLOCK) == any(i.side < 2 and len(i.factors) > 1 for i in einsum.indices)
    assert found.has(Trait.NO_SHARING) == (numbers.omega == 0)
    assert found.has(Trait.PARAMETER_SHARING) == (numbers.omega > 0)
    assert found.has(Trait.FULL_RANK) == (numbers.psi == 1)
    assert found.has(Trait.RANK_DEFICIENT) == (numbers.psi < 1)
    assert found.has(Trait.DEARER_THAN_DENSE) == (numbers.nu > 1)
    assert found.has(Trait.DENSE_EQUIVALENT) == ((numbers.omega, numbers.psi, numbers.nu) == (0, 1, 1))
    assert len({membership.kind for membership in found.traits}) == len(found.traits)


def test_a_classification_has_what_it_lists_and_nothing_else() -> None:
    found = Classification(
        families=(Membership(Family.MONARCH, "first"), Membership(Family.BTT, "second")),
        traits=(Membership(Trait.FULL_RANK, "third"),),
    )
    assert (found.family, found.reason) == (Family.MONARCH, "first")
    assert [kind for kind in (*Family, *Trait) if found.has(kind)] == [Family.MONARCH, Family.BTT, Trait.FULL_RANK]
