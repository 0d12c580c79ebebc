"""The atlas: exact points, every structure, the named families where theory has them, and nothing out of reach."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from einsearch.draw.atlas import (
    DEAREST,
    FEWEST,
    MOST,
    SAMPLES,
    UNIT,
    Atlas,
    Sample,
    fair_shares,
    landmarks,
    sample_atlas,
)
from einsearch.errors import EinsearchError
from einsearch.space.enumeration import structures
from einsearch.space.notation import from_theta
from einsearch.space.taxonomy import taxonomy

HALF = Fraction(1, 2)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return sample_atlas()


@pytest.fixture(scope="module")
def few() -> Atlas:
    return sample_atlas(FEWEST)


def reachable(omega: Fraction, psi: Fraction, nu: Fraction) -> bool:
    return 0 <= omega <= HALF and min(1, omega + nu) <= psi <= min(1, 2 * nu)


def test_every_point_is_exact(atlas):
    for sample in atlas.samples:
        einsum = sample.einsum()
        found = taxonomy(einsum)
        place = [Fraction(n, UNIT) for n in (sample.omega, sample.psi, sample.nu)]
        assert [found.omega, found.psi, found.nu] == place, sample
        assert sum(sample.theta[:3]) == sum(sample.theta[3:6]) == UNIT
        assert einsum.structure == atlas.structures[sample.structure], "positive on the structure, 0 elsewhere"


def test_that_check_can_fail(atlas):
    sample = atlas.samples[-1]
    wrong = Sample(sample.structure, sample.theta, sample.omega, sample.psi, sample.nu - 1)
    assert taxonomy(wrong.einsum()).nu != Fraction(wrong.nu, UNIT)


def test_every_structure_has_points(atlas, few):
    assert atlas.structures == tuple(structures(2))
    for each in (atlas, few):
        assert {sample.structure for sample in each.samples} == set(range(40))


def test_no_point_is_there_twice(atlas):
    # Only where the two factors can be exchanged are there two namings of one point.
    assert len({(s.structure, s.theta) for s in atlas.samples}) == len(atlas.samples)
    for sample in atlas.samples:
        structure = atlas.structures[sample.structure]
        if structure.renamed((1, 0)) == structure:
            assert sample.einsum() == sample.einsum().canonical()


def test_the_number_of_points_is_what_was_asked_for(atlas, few):
    assert len(atlas.samples) == SAMPLES
    assert len(few.samples) == FEWEST
    assert len(sample_atlas(12_345, seed=1).samples) == 12_345


def test_as_many_places_as_there_is_room_for(atlas):
    by_structure = Counter(sample.structure for sample in atlas.samples)
    places = Counter(s for s, *_ in {(s.structure, s.omega, s.psi, s.nu) for s in atlas.samples})
    for number, structure in enumerate(atlas.structures):
        if len(structure.indices) > 4:
            assert places[number] == by_structure[number] or by_structure[number] < 300, str(structure)
    dearer = sum(sample.nu > UNIT for sample in atlas.samples)
    assert 0 < dearer <= SAMPLES // 8
    assert max(sample.nu for sample in atlas.samples) == DEAREST


def test_a_seed_gives_the_same_points_and_another_seed_others(few):
    assert sample_atlas(FEWEST) == few
    other = sample_atlas(FEWEST, seed=1)
    assert other.structures == few.structures
    assert other.samples != few.samples


def test_nothing_lies_out_of_reach(atlas):
    for sample in atlas.samples:
        assert reachable(*(Fraction(n, UNIT) for n in (sample.omega, sample.psi, sample.nu))), sample


def test_full_rank_costs_at_least_half_of_dense(atlas):
    edge = [sample.nu for sample in atlas.samples if (sample.omega, sample.psi) == (0, UNIT)]
    assert set(range(UNIT // 2, UNIT + 1)) <= set(edge)
    assert min(edge) == UNIT // 2
    assert min(sample.nu for sample in atlas.samples if sample.psi == UNIT) == UNIT // 2


def test_all_that_is_claimed_to_be_in_reach_is_reached(atlas):
    claimed = set()
    for omega, psi, nu in np.ndindex(UNIT + 1, UNIT + 1, UNIT + 1):
        w, p, n = (Fraction(v, UNIT) for v in (omega, psi, nu))
        if not reachable(w, p, n):
            continue
        claimed.add((omega, psi, nu))
        if (w, n) == (0, 1):
            continue  # dense, one factor; of two, low rank with r = 1
        theta = (1 - n, n, 0, w, 1 + n - p, p - w - n, 0) if w + n <= p else (1 - w, w, 0, w, 1 - w, 0, n - w)
        found = taxonomy(from_theta(*map(Fraction, theta)))
        assert (found.omega, found.psi, found.nu) == (w, p, n)
    shown = {(s.omega, s.psi, s.nu) for s in atlas.samples if s.nu <= UNIT}
    assert shown <= claimed
    assert len(shown) > 0.98 * len(claimed)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("Dense", [(0, 1, 1)]),
        ("Kronecker", [(HALF, 1, HALF)]),
        ("Monarch", [(0, 1, HALF)]),
        ("Low rank", [(0, Fraction(n, UNIT), Fraction(n, UNIT)) for n in range(UNIT + 1)]),
        ("BTT", [(0, 1, HALF + Fraction(n, UNIT)) for n in range(UNIT // 2 + 1)]),
        ("Tensor-Train", [(HALF, 1, HALF + Fraction(n, UNIT)) for n in range(UNIT // 2 + 1)]),
    ],
)
def test_the_families_are_where_theory_has_them(name, places):
    (landmark,) = [landmark for landmark in landmarks() if landmark.name == name]
    found = [taxonomy(einsum) for einsum in landmark.einsums]
    assert [(t.omega, t.psi, t.nu) for t in found] == places


def test_shares_are_even_and_within_the_rooms():
    assert fair_shares(10, [1, 9, 9]) == [1, 4, 5]
    assert fair_shares(100, [1, 2, 3]) == [1, 2, 3]
    assert fair_shares(0, [5]) == [0]
    assert sum(fair_shares(1000, [7, 400, 30, 900])) == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": FEWEST - 1}, "samples is 399; give 400 to 50000: fewer hide structures, more make the page slow"),
        ({"samples": MOST + 1}, "samples is 50001; give 400 to 50000: fewer hide structures, more make the page slow"),
        ({"seed": -1}, "seed is -1; give 0 or a positive number"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(EinsearchError) as caught:
        sample_atlas(**arguments)
    assert str(caught.value) == message
