"""Random valid candidates: thousands of points at once decide as the exact path does for each."""

from itertools import islice

import numpy as np
import pytest

from einsearch.errors import EinsearchError
from einsearch.space import draws
from einsearch.space.candidate import Candidate
from einsearch.space.constraint import Constraint
from einsearch.space.draws import Drawer, require_valid
from einsearch.space.parse import parse
from einsearch.space.search_space import TAXONOMY_NAMES, Params, SearchSpace, costs_of
from einsearch.space.space_file import load_space, shipped
from einsearch.space.taxonomy import taxonomy

EMPTY = "omega == 0 and psi == 1 and nu < 1/2"
"""What no einsum of two factors is."""


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def passes_exactly(space: SearchSpace, row: np.ndarray) -> bool:
    """The structure that a candidate would have, alone: irreducible, not dearer than dense, as the conditions say."""
    params = {f"all.{name}": float(u) for name, u in zip(space.coordinates, row, strict=True)}
    einsum = space.candidate({"width": 0} | params).by_layer["q"]
    found = taxonomy(einsum)
    values = {"omega": found.omega, "psi": found.psi, "nu": found.nu}
    return (
        einsum.structure.reducible_because is None
        and found.nu <= 1
        and all(Constraint.parse(text, TAXONOMY_NAMES).holds(values) for text in space.where)
    )


@pytest.mark.parametrize("factors", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_indices": 5},
        {"where": ("psi == 1", "nu < 0.9 or omega > 1/10")},
        {"where": ("3 * psi - omega >= 2.9 * nu",), "max_indices": 7},
    ],
    ids=["all", "few indices", "conditions", "both"],
)
def test_points_pass_as_they_do_one_by_one(factors: int, fields: dict[str, object]) -> None:
    space = SearchSpace(name="s", factors=factors, widths=(64,), **fields)  # type: ignore[arg-type]
    # With more coordinates on than half of them more structures are irreducible, with fewer more are cheap.
    coordinates = generator(factors).random((180, len(space.coordinates)))
    coordinates **= np.tile([0.7, 1, 2], 60)[:, None]
    found = Drawer(space, generator()).passes(coordinates)
    assert found.tolist() == [passes_exactly(space, row) for row in coordinates]
    assert factors == 1 or 0 < found.sum() < len(found)


def test_coordinates_under_zero_are_left_out() -> None:
    space = SearchSpace(name="b", zero=("beta", "delta"), where=("psi >= 1/2",), max_indices=5, widths=(64,))
    coordinates = generator().random((500, 5))
    found = Drawer(space, generator()).passes(coordinates)
    assert found.tolist() == [passes_exactly(space, row) for row in coordinates]
    assert 0 < found.sum() < 400


def test_the_comparison_can_fail() -> None:
    space = SearchSpace(name="s", widths=(64,))
    narrower = SearchSpace(name="s", widths=(64,), where=("psi == 1",))
    coordinates = generator().random((300, 7))
    found = Drawer(space, generator()).passes(coordinates)
    assert found.tolist() != [passes_exactly(narrower, row) for row in coordinates]


def drawn(space: SearchSpace, count: int, seed: int = 0) -> list[tuple[Params, Candidate]]:
    return list(islice(Drawer(space, generator(seed)).valid(), count))


SPACES = {
    **{name: load_space(name).with_widths((32, 64)) for name in shipped()},
    "four": SearchSpace(name="four", factors=4, widths=(64,)),
    "separate": SearchSpace(name="separate", sites="separate", where=("omega == 0",), widths=(32, 64)),
    "fixed": SearchSpace(name="fixed", sites="separate", fixed=(("ffn", parse("dense")),), widths=(64,)),
    "small": SearchSpace(name="small", where=("params <= 0.5 * dense_params", "psi >= 3/4"), widths=(64,)),
    "list": SearchSpace(name="list", structures=(parse("btt"), parse("kronecker")), sites="each", widths=(64,)),
}


@pytest.mark.parametrize("name", SPACES)
def test_what_is_drawn_is_valid_and_is_what_its_parameters_say(name: str) -> None:
    space = SPACES[name]
    found = drawn(space, 16)
    assert len(found) == 16
    for params, candidate in found:
        assert space.refuses(candidate) is None
        assert candidate.invalid_because() is None
        assert set(params) == set(space.parameters())
        assert space.candidate(params) == candidate
    assert {candidate.shape.width for _, candidate in found} == set(space.widths)
    assert len({candidate.key for _, candidate in found}) > 8


@pytest.mark.parametrize("name", ["two-factor", "all-sites", "list"])
def test_draws_follow_from_the_generator_alone(name: str) -> None:
    assert drawn(SPACES[name], 6) == drawn(SPACES[name], 6)
    assert drawn(SPACES[name], 6) != drawn(SPACES[name], 6, seed=1)


def test_each_of_six_sites_meets_the_conditions() -> None:
    space = SPACES["all-sites"]
    for _, candidate in drawn(space, 10):
        assert len(set(candidate.einsums)) == 6
        for einsum in candidate.einsums:
            found = taxonomy(einsum)
            assert (found.omega, found.psi) == (0, 1)
        costs = costs_of(candidate)
        assert costs["flops"] < costs["dense_flops"]


def test_conditions_on_costs_are_met() -> None:
    for _, candidate in drawn(SPACES["small"], 10):
        costs = costs_of(candidate)
        assert 2 * costs["params"] <= costs["dense_params"]
        assert taxonomy(candidate.by_layer["q"]).psi >= 3 / 4


def test_fixed_sites_stay_as_they_are() -> None:
    for _, candidate in drawn(SPACES["fixed"], 5):
        assert candidate.by_layer["up"] == candidate.by_layer["down"] == parse("dense")
        assert candidate.by_layer["q"].factors == 2


def test_drawing_ends() -> None:
    space = SearchSpace(name="empty", where=(EMPTY,), widths=(64,))
    drawer = Drawer(space, generator())
    assert list(drawer.valid(5000)) == []
    assert (drawer.survey.points, drawer.survey.passed, drawer.survey.candidates) == (5000, 0, 0)
    assert (drawer.survey.structure_fraction, drawer.survey.candidate_fraction) == (0.0, 0.0)


def test_the_survey_counts() -> None:
    drawer = Drawer(SPACES["small"], generator())
    assert len(list(islice(drawer.valid(), 40))) == 40
    survey = drawer.survey
    assert survey.points % draws.BATCH == 0
    assert 0 < survey.passed < survey.points
    assert 40 == survey.valid < survey.candidates <= survey.passed
    assert survey.structure_fraction == survey.passed / survey.points
    assert survey.candidate_fraction == 40 / survey.candidates
    # Sizes differ from one to the next, but the kind of reason is the same.
    assert len(survey.reasons) <= 2
    assert {reason.split(" ")[0] for reason in survey.reasons} <= {"layer", "condition"}


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(EinsearchError) as error:
        require_valid(SearchSpace(name="none", where=(EMPTY,), widths=(32, 64)))
    assert str(error.value) == (
        "search space none is empty: none of 400,000 random structures is valid at widths 32, 64 "
        f"(condition {EMPTY!r}); relax its conditions or its indices"
    )


def test_three_factors_may_be_cheaper_than_two() -> None:
    require_valid(SearchSpace(name="some", factors=3, where=(EMPTY,), widths=(64,)))


def test_chance_finds_what_no_known_structure_is() -> None:
    space = SearchSpace(name="rare", factors=3, where=("omega == 0 and psi == 1", "0.45 < nu < 0.55"), widths=(64,))
    assert list(space.known_first()) == []
    require_valid(space)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"factors": 3, "max_indices": 2},
            "none of 20,000 random structures is valid at widths 64; relax its conditions or its indices",
        ),
        (
            {"where": ("params < dense_params / 1e6",), "structures": (parse("btt"),), "sites": "separate"},
            "none of 500 random candidates is valid at widths 64 "
            "(condition 'params < dense_params / 1e6' does not hold); relax its conditions or its indices",
        ),
        (
            {"where": ("psi == 1", "flops * 20 < dense_flops")},
            "random candidates is valid at widths 64 (condition 'flops * 20 < dense_flops' does not hold); "
            "relax its conditions or its indices",
        ),
        (
            {"structures": (parse("btt(.6)"), parse("btt(.7)"))},
            "search space s is empty: none of 500 random candidates is valid at widths 64 "
            "(attention: dearer than dense: nu = 1.2 > 1); relax its conditions or its indices",
        ),
    ],
)
def test_an_empty_space_says_why(fields: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "MOST_POINTS", 20_000)
    monkeypatch.setattr(draws, "MOST_REFUSED", 500)
    with pytest.raises(EinsearchError) as error:
        require_valid(SearchSpace(name="s", widths=(64,), **fields))  # type: ignore[arg-type]
    assert str(error.value).endswith(message)
    assert "\n" not in str(error.value)


def test_a_proposal_that_does_not_pass_takes_the_nearest_structure() -> None:
    space = SearchSpace(name="s", sites="separate", where=("omega == 0 and psi == 1",), widths=(64,))
    passing = drawn(space, 1)[0][0]
    proposal = dict(passing) | {f"ffn.{name}": 0.9 for name in space.coordinates}
    assert space.refuses(space.candidate(proposal)) is not None
    mended = Drawer(space, generator(1)).mended(proposal)
    assert mended is not None
    kept = [name for name in proposal if not name.startswith("ffn.")]
    assert [mended[name] for name in kept] == [proposal[name] for name in kept]

    def distance(params: Params, site: str) -> float:
        return sum((float(params[f"{site}.{name}"]) - 0.9) ** 2 for name in space.coordinates)

    # The pool is what a generator of the same seed draws: its first batches, until there are enough.
    rng = generator(1)
    others = Drawer(space, rng)
    rows = np.empty((0, len(space.coordinates)))
    while len(rows) < draws.POOL:
        batch = rng.random((draws.BATCH, len(space.coordinates)))
        rows = np.vstack([rows, batch[others.passes(batch)]])
    assert distance(mended, "ffn") == pytest.approx(((rows - 0.9) ** 2).sum(axis=1).min())
    assert [mended[f"ffn.{name}"] for name in space.coordinates] in rows.tolist()


def test_what_passes_is_not_mended() -> None:
    space = SPACES["separate"]
    for params, _ in drawn(space, 5):
        drawer = Drawer(space, generator())
        assert drawer.mended(params) == params
        assert drawer.survey.points == 0


def test_any_proposal_is_mended() -> None:
    space = SPACES["all-sites"]
    drawer = Drawer(space, generator())
    rng = generator(1)
    for _ in range(5):
        proposal: Params = {name: float(rng.random()) for name in space.parameters()} | {"width": 1}
        mended = drawer.mended(proposal)
        assert mended is not None
        assert set(mended) == set(space.parameters())
        candidate = space.candidate(mended)
        assert candidate.shape.width == 64
        assert all((found := taxonomy(einsum)).omega == 0 and found.psi == 1 for einsum in candidate.einsums)
        # Drawn again, with other structures.
        assert drawer.mended(proposal) not in (mended, None)


def test_nothing_is_mended_where_nothing_passes() -> None:
    space = SearchSpace(name="empty", where=(EMPTY,), widths=(64,))
    proposal: Params = dict.fromkeys(space.parameters(), 0.9) | {"width": 0}
    drawer = Drawer(space, generator())
    assert drawer.mended(proposal, 5000) is None
    assert drawer.survey.points == 5000
