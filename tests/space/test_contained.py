"""The families that a structure holds, against looking at all of its parts."""

import random
from itertools import combinations

import pytest

from einsearch.space.classify import Family, families_of
from einsearch.space.contained import contained_families
from einsearch.space.enumeration import structures
from einsearch.space.lattice import lattice
from einsearch.space.parse import parse_structure
from einsearch.space.structure import Index, Structure, index_kinds


def parts(structure: Structure) -> set[Family]:
    """Families of the irreducible subsets of the indices in which x and y are joined: no cut is empty."""
    found: set[Family] = set()
    for m in range(2, len(structure.indices) + 1):
        for chosen in combinations(structure.indices, m):
            if {0, 1} <= {index.side for index in chosen}:
                part = Structure.of(structure.factors, chosen)
                if part.reducible_because is None and all(lattice(part).live):
                    found |= {membership.kind for membership in families_of(part)}  # type: ignore[misc]
    return found - {Family.GENERIC}


def check(structure: Structure) -> tuple[Family, ...]:
    found = contained_families(structure)
    assert set(found) == parts(structure), str(structure)
    assert list(found) == [family for family in Family if family in found]
    return found


def test_one_factor_is_dense() -> None:
    assert [contained_families(structure) for structure in structures(1)] == [(Family.DENSE,)]


def test_all_structures_of_two_factors() -> None:
    found = {check(structure) for structure in structures(2)}
    assert len(found) == 8


def test_a_sample_of_three_factors() -> None:
    """Random sets of kinds, and such sets around the cores of a Kronecker product, which few hold by chance."""
    rng = random.Random(0)
    kinds = index_kinds(3)
    cores = [kind for kind in kinds if len(kind.factors) == 1]
    links = [kind for kind in kinds if kind.side == 2]
    found: set[Family] = set()
    checked = 0
    while checked < 40:
        chosen = rng.sample(kinds, rng.randint(4, 10))
        if checked >= 30:
            chosen = [*cores, *rng.sample(links, 2), *chosen[:3]]
        if {0, 1} <= {kind.side for kind in chosen}:
            structure = Structure.of(3, chosen)
            if structure.reducible_because is None:
                found |= set(check(structure))
                checked += 1
    assert found == set(Family) - {Family.DENSE, Family.GENERIC}


@pytest.mark.parametrize("factors", [2, 3, 4])
def test_all_kinds_together_hold_every_family(factors: int) -> None:
    everything = Structure.of(factors, index_kinds(factors))
    assert contained_families(everything) == tuple(f for f in Family if f not in (Family.DENSE, Family.GENERIC))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("btt", [Family.MONARCH, Family.BTT]),
        ("btt(1/4)", [Family.LOW_RANK, Family.MONARCH, Family.BTT]),
        ("low-rank", [Family.LOW_RANK, Family.BTT]),
        ("kronecker", [Family.KRONECKER]),
        ("tensor-train", [Family.LOW_RANK, Family.KRONECKER, Family.TENSOR_TRAIN, Family.BTT]),
        ("monarch(factors=3)", [Family.MONARCH, Family.BTT]),
        ("tensor-train(1/4, factors=4)", [Family.LOW_RANK, Family.KRONECKER, Family.TENSOR_TRAIN, Family.BTT]),
        ("a,ac,bc->b", [Family.LOW_RANK, Family.BTT]),
    ],
)
def test_what_families_hold(text: str, held: list[Family]) -> None:
    assert list(contained_families(parse_structure(text))) == held


def test_products_of_vectors_do_not_count() -> None:
    """x . a times e: classified as of low rank, but held by nearly everything."""
    vectors = Structure.of(2, [Index(True, (0,), False), Index(False, (1,), True)])
    assert next(families_of(vectors)).kind is Family.LOW_RANK
    assert contained_families(vectors) == ()


def test_the_names_of_the_factors_do_not_matter() -> None:
    rng = random.Random(1)
    for text in ("btt(1/4, factors=4)", "tensor-train(1/4, factors=4)", "low-rank(1/4, factors=4)"):
        structure = parse_structure(text)
        for _ in range(4):
            renamed = structure.renamed(tuple(rng.sample(range(4), 4)))
            assert contained_families(renamed) == contained_families(structure)
