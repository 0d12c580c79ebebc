"""Mixtures in search spaces: what samplers propose, what comes of it, what files may say."""

import json
from itertools import islice, product
from math import prod

import numpy as np
import pytest

from einsearch.errors import EinsearchError
from einsearch.space.candidate import Candidate
from einsearch.space.draws import Drawer
from einsearch.space.mixture import Mixture
from einsearch.space.mixture_choices import MixtureChoices
from einsearch.space.parse import parse
from einsearch.space.search_space import Choice, SearchSpace, costs_of
from einsearch.space.space_file import load_space, read_space

FULL = MixtureChoices(
    experts=(8, 4),
    active=(2, 1),
    per=("none", "layer", "ffn"),
    routing=("learned", "random", "hash"),
    balance=("loss", "bias"),
    shared_router=(False, True),
)


def listed(**fields: object) -> SearchSpace:
    structures = (parse("dense"), parse("btt"))
    return SearchSpace(name="moe", structures=structures, head_size=8, **({"widths": (64,)} | fields))  # type: ignore[arg-type]


def test_every_mixture_once() -> None:
    found = FULL.all()
    routings = [("learned", "loss"), ("learned", "bias"), ("random", "none"), ("hash", "none")]
    expected = {
        Mixture(experts=experts, active=active, routing=routing, balance=balance, **place)  # type: ignore[arg-type]
        for experts, active, (routing, balance), place in product(
            (8, 4), (2, 1), routings, ({"per": "ffn"}, {"shared_router": False}, {"shared_router": True})
        )
    }
    assert len(found) == len(set(found)) == 1 + 2 * 2 * 4 * 3
    assert set(found) == {None} | expected


def test_only_what_has_options_is_a_parameter() -> None:
    assert FULL.parameters() == {
        "experts": 2,
        "active": 2,
        "per": 3,
        "routing": 3,
        "balance": 2,
        "shared_router": 2,
    }
    one = MixtureChoices(experts=(8,), active=(2,))
    assert one.parameters() == {}
    assert one.mixture({}) == Mixture(experts=8, active=2)
    assert one.all() == (Mixture(experts=8, active=2),)


def test_options_that_say_nothing_beside_others_are_left_out() -> None:
    numbers = {"experts": 0, "active": 0, "routing": 1, "balance": 1, "shared_router": 1}
    assert FULL.mixture({"per": 0} | numbers) is None
    assert FULL.mixture({"per": 1} | numbers) == Mixture(experts=8, active=2, routing="random", shared_router=True)
    assert FULL.mixture({"per": 2} | numbers) == Mixture(experts=8, active=2, routing="random", per="ffn")
    some = MixtureChoices(experts=(4,), active=(1,), per=("layer", "ffn"), layers=("o", "down"))
    assert some.mixture({"per": 0}) == Mixture(experts=4, active=1, layers=("o", "down"))
    assert some.mixture({"per": 1}) == Mixture(experts=4, active=1, per="ffn")


def test_the_usual_mixtures_take_the_first_options() -> None:
    assert [FULL.mixture(chosen) for chosen in FULL.usual()] == [
        None,
        Mixture(experts=8, active=2),
        Mixture(experts=8, active=2, per="ffn"),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"experts": ()}, "experts has no options; give at least one"),
        ({"active": (2, 1, 2)}, "active has the option 2 twice; leave one out"),
        ({"per": ("none",)}, "per has no option but none; add layer or ffn"),
        ({"active": (2, 5)}, "a mixture of 4 experts has 5 active; give at least as many experts as active"),
        ({"routing": ("learned", "best")}, "routing of a mixture is 'best'; choose one of learned, random, hash"),
        ({"per": ("layer", "block")}, "per of a mixture is 'block'; choose one of layer, ffn"),
        (
            {"per": ("none", "ffn"), "layers": ("q",)},
            "layers are of mixtures per layer, but per is none, ffn; leave layers out",
        ),
        (
            {"shared_router": (False, True), "layers": ("q", "o")},
            "shared_router serves q, k and v, but k, v of this mixture per layer hold no experts; "
            "leave shared_router out",
        ),
    ],
)
def test_choices_that_are_no_mixtures_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        MixtureChoices(**({"experts": (8, 4), "active": (2,)} | fields))  # type: ignore[arg-type]
    assert str(error.value) == message


def test_parameters_of_a_space() -> None:
    space = listed(mixture=FULL)
    assert space.parameters() == {"width": Choice(1), "all.structure": Choice(2)} | {
        f"mixture.{name}": Choice(options) for name, options in FULL.parameters().items()
    }
    params = {"width": 0, "all.structure": 1} | dict.fromkeys(space.mixture_options(), 1)
    assert space.candidate(params) == Candidate.of(
        parse("btt"), space.shape(64), Mixture(experts=4, active=1, routing="random", shared_router=True)
    )
    continuous = SearchSpace(name="c", widths=(64,), mixture=FULL)
    assert len(continuous.parameters()) == 1 + 7 + 6
    assert continuous.mixture_options() == space.mixture_options()
    assert listed().mixture_options() == {}


def test_each_structure_comes_first_with_the_usual_mixtures() -> None:
    space = listed(mixture=FULL, widths=(64, 96))
    known = list(space.known_first())
    assert [(candidate.shape.width, candidate.label) for _, candidate in known[:6]] == [
        (64, "Dense"),
        (64, "Dense-MoE 2/8"),
        (64, "Standard MoE 2/8"),
        (64, "BTT rank 1"),
        (64, "BTT-MoE 2/8"),
        (64, "BTT-MoE 2/8 per FFN"),
    ]
    assert len(known) == 12
    for params, candidate in known:
        assert set(params) == set(space.parameters())
        assert space.candidate(params) == candidate
    continuous = SearchSpace(name="c", widths=(64,), mixture=FULL)
    assert len(list(continuous.known_first())) == 3 * 5


def test_a_list_is_counted_with_its_mixtures() -> None:
    assert listed(mixture=FULL).count() == 2 * len(FULL.all())
    assert listed(mixture=FULL, sites="separate").count() == 4 * len(FULL.all())
    assert listed().count() == 2
    keys = {
        listed(mixture=FULL).candidate({"width": 0, "all.structure": s} | dict(zip(own, numbers, strict=True))).key
        for own in [listed(mixture=FULL).mixture_options()]
        for s in range(2)
        for numbers in product(*map(range, own.values()))
    }
    assert len(keys) == listed(mixture=FULL).count()
    assert SearchSpace(name="c", widths=(64,), mixture=FULL).count() is None


@pytest.mark.parametrize(
    "space",
    [listed(mixture=FULL), SearchSpace(name="c", sites="separate", widths=(64,), mixture=FULL)],
    ids=["list", "continuous"],
)
def test_draws_take_every_option(space: SearchSpace) -> None:
    found = list(islice(Drawer(space, np.random.default_rng(0)).valid(), 60))
    for params, candidate in found:
        assert space.refuses(candidate) is None
        assert set(params) == set(space.parameters())
        assert space.candidate(params) == candidate
    for name, options in space.mixture_options().items():
        assert {params[name] for params, _ in found} == set(range(options))
    assert [p for p, _ in islice(Drawer(space, np.random.default_rng(0)).valid(), 5)] == [p for p, _ in found[:5]]


def test_mending_leaves_the_mixture_alone() -> None:
    space = SearchSpace(name="c", where=("omega == 0 and psi == 1",), widths=(64,), mixture=FULL)
    proposal = dict.fromkeys(space.parameters(), 0.9) | {"width": 0} | dict.fromkeys(space.mixture_options(), 1)
    mended = Drawer(space, np.random.default_rng(0)).mended(proposal)
    assert mended is not None
    assert {name: mended[name] for name in space.mixture_options()} == dict.fromkeys(space.mixture_options(), 1)
    assert space.candidate(mended).mixture == space.candidate(proposal).mixture


def test_draws_without_mixtures_are_what_they_were() -> None:
    """The stream of a generator is part of how a study repeats itself."""
    space = SearchSpace(name="two", widths=(32, 64))
    params, _ = next(Drawer(space, np.random.default_rng(7)).valid())
    rng = np.random.default_rng(7)
    rng.random((4096, 7))
    assert params["width"] == rng.integers(2)


def test_costs_count_active_experts_and_routers() -> None:
    """Width 64, two blocks, BTT: 4 * 1,024 and 2 * 3,072 a block, routers of (5 * 64 + 256) * 8."""
    shape = listed().shape(64)
    costs = costs_of(Candidate.of(parse("btt"), shape, Mixture(experts=8, active=2)))
    layers, routers, dense = 2 * 10_240, 2 * 4_608, 2 * (4 * 4_096 + 2 * 16_384)
    assert costs == {
        "params": 8 * layers + routers,
        "active_params": 2 * layers + routers,
        "flops": 6 * (2 * layers + routers),
        "dense_params": dense,
        "dense_flops": 6 * dense,
    }


def test_conditions_on_mixtures() -> None:
    space = listed(mixture=FULL, where=("active_params < dense_params", "flops <= dense_flops"))
    shape = space.shape(64)
    assert space.refuses(Candidate.of(parse("btt"), shape, Mixture(experts=8, active=2))) is None
    assert space.refuses(Candidate.of(parse("dense"), shape, Mixture(experts=8, active=2))) == (
        "condition 'active_params < dense_params' does not hold"
    )
    assert {candidate.label for _, candidate in space.known_first()} == {
        "BTT rank 1",
        "BTT-MoE 2/8",
        "BTT-MoE 2/8 per FFN",
    }


ONE = MixtureChoices(experts=(4,), active=(3,), per=("ffn",))


@pytest.mark.parametrize("space", [listed(), listed(mixture=FULL), listed(mixture=ONE)])
def test_nothing_is_dearer_than_the_dearest(space: SearchSpace) -> None:
    most = costs_of(space.dearest(64))["flops"]
    drawn = [candidate for _, candidate in islice(Drawer(space, np.random.default_rng(0)).valid(), 30)]
    assert max(costs_of(candidate)["flops"] for candidate in drawn) <= most
    assert space.dearest(64).invalid_because() is None


@pytest.mark.parametrize("mixture", [FULL, MixtureChoices(experts=(4,), active=(2,), layers=("o",)), None])
def test_a_space_with_mixtures_survives_json(mixture: MixtureChoices | None) -> None:
    space = listed(mixture=mixture)
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_a_space_that_was_stored_before_mixtures_is_read() -> None:
    data = {name: value for name, value in listed().to_json().items() if name != "mixture"}
    assert SearchSpace.from_json(data) == listed()


def test_the_shipped_space() -> None:
    space = load_space("moe")
    assert space.mixture is not None
    assert set(space.mixture.experts) == {4, 8, 16, 32}
    assert set(space.mixture.active) == {1, 2, 3, 4}
    assert set(space.mixture.routing) == {"learned", "random", "hash"}
    labels = [candidate.label for _, candidate in space.with_widths((64,)).known_first()]
    assert {"Dense", "Dense-MoE 2/8", "Standard MoE 2/8", "BTT rank 1", "BTT-MoE 2/8"} <= set(labels)
    assert "Low rank d^0.5, MoE 2/8" in labels
    choices = space.mixture.parameters()
    assert prod(choices.values()) > len(space.mixture.all()) == 1 + 4 * 4 * 4 * 3


BTT = "name: mine\nstructures: {list: [{family: btt}]}\n"


def test_every_field_of_a_file() -> None:
    text = f"""{BTT}mixture:
  per: [none, layer, ffn]
  experts: [8, 4]
  active: [2, 1]
  routing: [learned, random, hash]
  balance: [loss, bias]
  shared_router: [false, true]
"""
    assert read_space(text, "m.yaml").mixture == FULL
    one = read_space(f"{BTT}mixture: {{experts: 8, active: 2, layers: [o, up, down]}}\n", "m.yaml")
    assert one.mixture == MixtureChoices(experts=(8,), active=(2,), layers=("o", "up", "down"))
    alone = read_space(f"{BTT}mixture: {{experts: 8, active: 2, per: ffn, routing: hash}}\n", "m.yaml").mixture
    assert alone is not None
    assert alone.all() == (Mixture(experts=8, active=2, per="ffn", routing="hash"),)


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ("\n  experts: 8", ".active", "missing; add it"),
        (
            "{experts: 8, active: 2, expert: 3}",
            ".expert",
            "unknown field; known here: experts, active, per, routing, balance, shared_router, layers",
        ),
        ("{experts: [8, many], active: 2}", ".experts.1", "Input should be a valid integer"),
        ("{experts: {8: 2}, active: 2}", ".experts", "Input should be a valid list"),
        (
            "{experts: 8, active: 9}",
            "",
            "a mixture of 8 experts has 9 active; give at least as many experts as active",
        ),
        (
            "{experts: 8, active: 2, routing: best}",
            "",
            "routing of a mixture is 'best'; choose one of learned, random, hash",
        ),
        (
            "{experts: 8, active: 2, per: [layer, block]}",
            "",
            "per of a mixture is 'block'; choose one of layer, ffn",
        ),
        ("{experts: 8, active: 2, shared_router: 1}", ".shared_router.0", "Input should be a valid boolean"),
        ("{experts: [], active: 2}", "", "experts has no options; give at least one"),
        (
            "{experts: 8, active: 2, layers: x}",
            "",
            "layers of a mixture per layer are some of q, k, v, o, up, down, not 'x'",
        ),
    ],
)
def test_an_error_names_file_line_field_and_fix(fields: str, place: str, message: str) -> None:
    with pytest.raises(EinsearchError) as error:
        read_space(f"{BTT}mixture: {fields}\n", "mine.yaml")
    assert str(error.value) == f"mine.yaml line 3, field mixture{place}: {message}"
