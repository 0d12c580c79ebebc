"""Search spaces: what they propose, what they promise and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate, ModelShape
from einsearch.space.families import Family, classify
from einsearch.space.notation import parse
from einsearch.space.search_space import Choice, Coordinate, SearchSpace, shipped
from einsearch.space.taxonomy import taxonomy


def proposals(space: SearchSpace, count: int) -> list[dict[str, float | int]]:
    """Uniform ones, as a sampler that knows nothing would make them."""
    rng = np.random.default_rng(0)
    return [
        {
            name: int(rng.integers(kind.options)) if isinstance(kind, Choice) else float(rng.random())
            for name, kind in space.parameters().items()
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_space_proposes_valid_candidates(name: str) -> None:
    space = SearchSpace.load(name).with_widths((32, 64))
    known = list(space.known_first())
    assert len({candidate.key for _, candidate in known}) >= 2
    for params, candidate in known:
        assert candidate.invalid_because() is None
        assert set(params) == set(space.parameters())
        assert space.candidate(params).key == candidate.key
    found = [space.candidate(params) for params in proposals(space, 200)]
    assert {candidate.shape.width for candidate in found} == {32, 64}
    assert sum(candidate.invalid_because() is None for candidate in found) > 20


def test_the_space_of_the_paper() -> None:
    space = SearchSpace.load("paper")
    assert len(space.structures) == len(set(space.structures)) == 23
    assert not space.continuous
    assert space.widths == ()
    assert space.parameters() == {"width": Choice(0), "all.structure": Choice(23)}
    assert space.with_widths((256,)).count() == 23
    assert [c.attention for _, c in space.with_widths((256,)).known_first()] == list(space.structures)


def test_two_factor_reaches_every_family_of_two_factors() -> None:
    space = SearchSpace.load("two-factor").with_widths((64,))
    assert space.parameters() == {"width": Choice(1)} | {
        f"all.{name}": Coordinate() for name in ("alpha", "beta", "gamma", "delta", "epsilon", "phi", "rho")
    }
    found = [space.candidate(params) for params in proposals(space, 500)]
    assert {classify(c.attention).family for c in found} == set(Family) - {Family.DENSE}
    assert all(c.attention.factors == 2 and c.attention == c.ffn for c in found)
    assert {classify(c.attention).family for _, c in space.known_first()} == {
        Family.MONARCH,
        Family.LOW_RANK,
        Family.KRONECKER,
        Family.BTT,
        Family.TENSOR_TRAIN,
    }


def test_btt_never_shares_parameters() -> None:
    space = SearchSpace.load("btt").with_widths((64,))
    assert "all.beta" not in space.parameters()
    found = [space.candidate(params) for params in proposals(space, 300)]
    found += [candidate for _, candidate in space.known_first()]
    for candidate in found:
        _, beta, _, delta, *_ = candidate.attention.theta
        assert beta == delta == 0
        assert taxonomy(candidate.attention).omega == 0


def test_a_proposal_for_what_is_fixed_to_zero_cannot_be_made() -> None:
    space = SearchSpace.load("btt").with_widths((64,))
    assert set(space.parameters()) == {"width", "all.alpha", "all.gamma", "all.epsilon", "all.phi", "all.rho"}


def test_sites_may_choose_separately() -> None:
    structures = (parse("btt"), parse("kronecker"))
    space = SearchSpace(name="two", structures=structures, separate_sites=True, widths=(64,), head_size=8)
    params = {"width": 0, "attention.structure": 0, "ffn.structure": 1}
    assert set(space.parameters()) == set(params)
    assert space.candidate(params) == Candidate(
        attention=structures[0], ffn=structures[1], shape=ModelShape(width=64, head_size=8)
    )
    assert space.count() == 4
    continuous = SearchSpace(name="c", separate_sites=True, widths=(64,))
    assert len(continuous.parameters()) == 1 + 2 * 7
    assert continuous.count() is None
    mixed = continuous.candidate(
        {"width": 0, "attention.alpha": 0.9, "attention.epsilon": 0.9, "ffn.beta": 0.9, "ffn.delta": 0.9}
    )
    assert (mixed.attention.theta[0], mixed.ffn.theta[1]) == (1, 1)


def test_what_rounds_to_one_operator_counts_once() -> None:
    structures = (parse("btt"), parse("(.49|0|.51|0|.5|.5|0)"), parse("btt(.6)"))  # the last is dearer than dense
    assert SearchSpace(name="s", structures=structures, widths=(64,)).count() == 1
    assert SearchSpace(name="s", structures=structures, widths=(64, 256)).count() == 2


def test_a_space_of_three_factors_has_nothing_named_to_start_from() -> None:
    space = SearchSpace(name="three", factors=3, widths=(64,))
    assert list(space.known_first()) == []
    assert len(space.parameters()) == 1 + 18
    assert space.candidate(proposals(space, 1)[0]).attention.factors == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"zero": ("omega",)},
            "unknown exponent 'omega' under zero; known: alpha, beta, gamma, delta, epsilon, phi, rho",
        ),
        (
            {"zero": ("delta", "phi", "epsilon")},
            "every exponent of y is under zero (delta, epsilon, phi), but they sum to 1; leave one out",
        ),
        (
            {"widths": (64, 60), "head_size": 8},
            "width 60 is not divisible by head size 8; use width 56 or 64, or another head size",
        ),
    ],
)
def test_a_space_that_proposes_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        SearchSpace(name="s", **fields)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize("name", shipped())
def test_json_is_read_back(name: str) -> None:
    space = SearchSpace.load(name).with_widths((32, 64))
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_loading(tmp_path: Path) -> None:
    assert shipped() == ["btt", "paper", "two-factor"]
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstructures: {list: [{family: btt}]}\n", encoding="utf-8")
    assert SearchSpace.load(path) == SearchSpace.load(str(path))
    assert SearchSpace.load(path).structures == (parse("btt"),)
    with pytest.raises(EinsearchError, match=r"^no search space file at .*none\.yaml; shipped spaces: btt, paper, t"):
        SearchSpace.load(tmp_path / "none.yaml")
    with pytest.raises(EinsearchError) as error:
        SearchSpace.load("papper")
    assert str(error.value) == (
        "unknown search space 'papper'; shipped: btt, paper, two-factor; or give the path of a .yaml file"
    )
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(EinsearchError, match=r"^cannot read search space .*mine\.yaml: .*; give a UTF-8 text file$"):
        SearchSpace.load(path)
